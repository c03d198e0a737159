import { Bytes } from "./bytes";
import { Json, JsonKind } from "./json";

const NULL = String.UTF8.encode("null");
const TRUE = String.UTF8.encode("true");
const FALSE = String.UTF8.encode("false");

/** Appends a value as JSON in UTF-8. */
export function write(json: Json, out: Bytes): void {
  switch (json.kind) {
    case JsonKind.Null:
      return putWord(NULL, out);
    case JsonKind.Bool:
      return putWord(json.asBool ? TRUE : FALSE, out);
    case JsonKind.Number:
      return out.putText(json.text);
    case JsonKind.String:
      return putString(json.text, out);
  }
  const isObject = json.kind == JsonKind.Object;
  out.putByte(isObject ? 0x7b : 0x5b);
  for (let i = 0; i < json.items.length; i++) {
    if (i > 0) out.putByte(0x2c);
    if (isObject) {
      putString(json.keys[i], out);
      out.putByte(0x3a);
    }
    write(json.items[i], out);
  }
  out.putByte(isObject ? 0x7d : 0x5d);
}

function putWord(word: ArrayBuffer, out: Bytes): void {
  out.putBytes(changetype<usize>(word), word.byteLength);
}

function putString(text: string, out: Bytes): void {
  out.putByte(0x22);
  if (needsEscape(text)) {
    putEscaped(text, out);
  } else {
    out.putText(text);
  }
  out.putByte(0x22);
}

function needsEscape(text: string): bool {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x20 || unit == 0x22 || unit == 0x5c) return true;
  }
  return false;
}

/** Encodes the text after its place. Then moves it there, with escapes, starting at the end of the room that it may need. */
function putEscaped(text: string, out: Bytes): void {
  const start = out.length;
  out.reserve(text.length * 9); // 6 for an escape, 3 for the text
  out.length = start + text.length * 6;
  const from = out.length;
  out.putText(text);
  const end = out.length;
  out.length = start;
  for (let i = from; i < end; i++) {
    const byte = <u32>load<u8>(out.ptr + i);
    if (byte >= 0x20 && byte != 0x22 && byte != 0x5c) {
      out.putByte(byte);
      continue;
    }
    out.putByte(0x5c);
    if (byte >= 0x20) {
      out.putByte(byte);
    } else if (byte == 0x0a) {
      out.putByte(0x6e);
    } else if (byte == 0x0d) {
      out.putByte(0x72);
    } else if (byte == 0x09) {
      out.putByte(0x74);
    } else {
      out.putByte(0x75);
      out.putByte(0x30);
      out.putByte(0x30);
      out.putByte(0x30 + (byte >> 4));
      out.putByte((byte & 15) < 10 ? 0x30 + (byte & 15) : 0x57 + (byte & 15));
    }
  }
}
