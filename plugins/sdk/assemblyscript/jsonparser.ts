import { Bytes } from "./bytes";
import { Json } from "./json";

/** The deepest nesting of a value: each level needs some of the stack, which is small. */
const DEPTH = 64;

const unescaped = new Bytes();

/** Reads one JSON value (RFC 8259) from UTF-8. A method that returns null has set `error`. */
export class Parser {
  error: string = "";
  private at: usize;
  private end: usize;

  constructor(private start: usize, length: usize) {
    this.at = start;
    this.end = start + length;
  }

  /** The place of the parser; after an error, that of the error. */
  get offset(): usize {
    return this.at - this.start;
  }

  parse(): Json | null {
    const json = this.value(DEPTH);
    if (json === null) return null;
    this.space();
    return this.at == this.end ? json : this.fail("more after the value");
  }

  private fail(reason: string): Json | null {
    this.error = reason;
    return null;
  }

  /** The next byte; -1 at the end. */
  private peek(): i32 {
    return this.at < this.end ? <i32>load<u8>(this.at) : -1;
  }

  private space(): void {
    while (this.at < this.end) {
      const byte = load<u8>(this.at);
      if (byte != 0x20 && byte != 0x0a && byte != 0x0d && byte != 0x09) return;
      this.at++;
    }
  }

  /** Skips space, and then the byte if it is next. */
  private take(byte: i32): bool {
    this.space();
    if (this.peek() != byte) return false;
    this.at++;
    return true;
  }

  private value(depth: i32): Json | null {
    this.space();
    const byte = this.peek();
    if (byte == 0x22) {
      const text = this.string();
      return text === null ? null : Json.string(text);
    }
    if (byte == 0x7b || byte == 0x5b) {
      if (depth == 0) return this.fail("nested too deeply");
      return byte == 0x7b ? this.object(depth - 1) : this.array(depth - 1);
    }
    if (byte == 0x2d || isDigit(byte)) return this.number();
    if (this.word("true")) return Json.bool(true);
    if (this.word("false")) return Json.bool(false);
    if (this.word("null")) return Json.null();
    return this.fail(byte < 0 ? "the text ends where a value should be" : "no value starts like this");
  }

  private word(word: string): bool {
    if (this.end - this.at < <usize>word.length) return false;
    for (let i = 0; i < word.length; i++) {
      if (load<u8>(this.at + i) != word.charCodeAt(i)) return false;
    }
    this.at += word.length;
    return true;
  }

  private object(depth: i32): Json | null {
    this.at++;
    const json = Json.object();
    if (this.take(0x7d)) return json;
    while (true) {
      this.space();
      if (this.peek() != 0x22) return this.fail("a key should be here");
      const key = this.string();
      if (key === null) return null;
      if (!this.take(0x3a)) return this.fail("a colon should be here");
      const value = this.value(depth);
      if (value === null) return null;
      json.add(key, value);
      if (this.take(0x7d)) return json;
      if (!this.take(0x2c)) return this.fail("a comma or the end of the object should be here");
    }
  }

  private array(depth: i32): Json | null {
    this.at++;
    const json = Json.array();
    if (this.take(0x5d)) return json;
    while (true) {
      const value = this.value(depth);
      if (value === null) return null;
      json.push(value);
      if (this.take(0x5d)) return json;
      if (!this.take(0x2c)) return this.fail("a comma or the end of the array should be here");
    }
  }

  private digits(): bool {
    const start = this.at;
    while (isDigit(this.peek())) this.at++;
    if (this.at > start) return true;
    this.error = "a digit should be here";
    return false;
  }

  private number(): Json | null {
    const start = this.at;
    if (this.peek() == 0x2d) this.at++;
    if (this.peek() == 0x30) {
      this.at++; // no digit may follow
    } else if (!this.digits()) {
      return null;
    }
    if (this.peek() == 0x2e) {
      this.at++;
      if (!this.digits()) return null;
    }
    if ((this.peek() | 0x20) == 0x65) {
      this.at++;
      if (this.peek() == 0x2b || this.peek() == 0x2d) this.at++;
      if (!this.digits()) return null;
    }
    return Json.number(String.UTF8.decodeUnsafe(start, this.at - start));
  }

  private string(): string | null {
    const start = ++this.at;
    while (this.at < this.end) {
      const byte = load<u8>(this.at);
      if (byte == 0x22) return String.UTF8.decodeUnsafe(start, this.at++ - start);
      if (byte == 0x5c) return this.escapedString(start);
      if (byte < 0x20) break;
      this.at++;
    }
    return this.failString();
  }

  private failString(): string | null {
    this.error = this.at < this.end ? "a control character in a string" : "the text ends within a string";
    return null;
  }

  /** Continues a string at its first escape: collects the text as UTF-8 and makes one string. */
  private escapedString(start: usize): string | null {
    unescaped.clear();
    unescaped.putBytes(start, this.at - start);
    while (this.at < this.end) {
      const byte = load<u8>(this.at);
      if (byte < 0x20) break;
      this.at++;
      if (byte == 0x22) return String.UTF8.decodeUnsafe(unescaped.ptr, unescaped.length);
      if (byte != 0x5c) {
        unescaped.putByte(byte);
      } else if (!this.escape()) {
        return null;
      }
    }
    return this.failString();
  }

  private escape(): bool {
    const byte = this.peek();
    this.at++;
    switch (byte) {
      case 0x22: case 0x5c: case 0x2f: unescaped.putByte(byte); return true;
      case 0x62: unescaped.putByte(0x08); return true;
      case 0x66: unescaped.putByte(0x0c); return true;
      case 0x6e: unescaped.putByte(0x0a); return true;
      case 0x72: unescaped.putByte(0x0d); return true;
      case 0x74: unescaped.putByte(0x09); return true;
      case 0x75: return this.codePoint();
    }
    this.at--;
    this.error = "an unknown escape in a string";
    return false;
  }

  /** Reads the rest of `\u`, and a second `\u` if both form one character (RFC 8259 section 7). */
  private codePoint(): bool {
    let code = this.hex();
    if (code < 0) return false;
    if (code >= 0xd800 && code < 0xdc00 && this.end - this.at >= 2 && load<u16>(this.at) == 0x755c) {
      const afterFirst = this.at;
      this.at += 2;
      const second = this.hex();
      if (second < 0) return false;
      if (second >= 0xdc00 && second < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (second - 0xdc00);
      } else {
        this.at = afterFirst;
      }
    }
    if (code >= 0xd800 && code < 0xe000) code = 0xfffd;
    unescaped.putText(String.fromCodePoint(code));
    return true;
  }

  private hex(): i32 {
    let code = 0;
    for (let i = 0; i < 4; i++) {
      const byte = this.peek();
      const letter = byte | 0x20;
      if (isDigit(byte)) {
        code = (code << 4) | (byte - 0x30);
      } else if (letter >= 0x61 && letter <= 0x66) {
        code = (code << 4) | (letter - 0x57);
      } else {
        this.error = "a hexadecimal digit should be here";
        return -1;
      }
      this.at++;
    }
    return code;
  }
}

function isDigit(byte: i32): bool {
  return byte >= 0x30 && byte <= 0x39;
}
