import { Bytes } from "./bytes";
import { Json } from "./json";
import { Endpoint } from "./request";

const TEXT: u8 = 1;
const JSON: u8 = 2;

/** A key of a member and its value, as the host sent it until the plugin changes it. */
class Field {
  value: string | null = null;

  constructor(public key: string, public kind: u8, public ptr: usize, public length: usize) {}

  get text(): string {
    const value = this.value;
    return value !== null ? value : String.UTF8.decodeUnsafe(this.ptr, this.length);
  }

  write(out: Bytes): void {
    const start = out.length;
    out.putByte(0);
    out.putText(this.key);
    store<u8>(out.ptr + start, <u8>(out.length - start - 1)); // Member ensures at most 255 bytes
    out.putByte(this.kind);
    const value = this.value;
    if (value === null) {
      out.putU32(<u32>this.length);
      out.putBytes(this.ptr, this.length);
      return;
    }
    const at = out.length;
    out.putU32(0);
    out.putText(value);
    store<u32>(out.ptr + at, <u32>(out.length - at - 4));
  }
}

/**
 * A user that an answer is about to list, or that browsers are about to see: keys and values, of which the host sends
 * `id` and `email`, and `info` and `status` where there are any. The fields that are left when the hook returns are
 * shown, in this order. It is valid until the hook returns.
 */
export class Member {
  private fields: Field[] = [];
  private isHidden: bool = false;
  /** What shows the user. */
  endpoint: Endpoint = Endpoint.Users;
  /** Whether anything was changed, for the SDK. */
  changed: bool = false;

  /** The ID of the user; empty if an earlier plugin removed it. */
  get id(): string {
    const value = this.get("id");
    return value !== null ? value : "";
  }

  /** The e-mail address of the user; empty if it is not known or an earlier plugin removed it. */
  get email(): string {
    const value = this.get("email");
    return value !== null ? value : "";
  }

  /** The information about the user, as JSON; null if there is none, or if the answer does not show it. */
  get info(): string | null {
    return this.getJson("info");
  }

  /** The status of the user, as JSON; null if there is none, or if the answer does not show it. */
  get status(): string | null {
    return this.getJson("status");
  }

  /** The text of a key; null if there is none, or if it is JSON other than a string. */
  get(key: string): string | null {
    return this.value(key, TEXT);
  }

  /** The JSON of a key; null if there is none, or if it is a text. */
  getJson(key: string): string | null {
    return this.value(key, JSON);
  }

  /** Sets a key to a text. A new key is added at the end. A key has at most 255 bytes. */
  set(key: string, text: string): void {
    this.put(key, TEXT, text);
  }

  /** Sets a key to a number, an object, or any other JSON. A key has at most 255 bytes. */
  setJson(key: string, value: Json): void {
    this.put(key, JSON, value.toString());
  }

  /** Removes a key, if it is there. */
  remove(key: string): void {
    const at = this.position(key);
    if (at < 0) return;
    this.fields.splice(at, 1);
    this.changed = true;
  }

  /** Renames a key. If the new key had a value, it is lost; without the old key nothing happens. */
  rename(from: string, to: string): void {
    checkKey(to);
    if (from == to || this.position(from) < 0) return;
    this.remove(to);
    this.fields[this.position(from)].key = to;
    this.changed = true;
  }

  /** Leaves the user out of the answer, counts included. */
  hide(): void {
    this.isHidden = true;
    this.changed = true;
  }

  /** Reads the record that the host wrote. */
  decode(ptr: usize, length: usize): void {
    this.fields.length = 0;
    this.isHidden = false;
    this.changed = false;
    const end = ptr + length;
    while (ptr < end) {
      const keyLength = <usize>load<u8>(ptr);
      assert(keyLength + 6 <= end - ptr, "a record ends too early");
      const key = keyText(ptr + 1, keyLength);
      ptr += 1 + keyLength;
      const kind = load<u8>(ptr);
      assert(kind == TEXT || kind == JSON, "a record has a value of an unknown type");
      const valueLength = <usize>load<u32>(ptr, 1);
      ptr += 5;
      assert(valueLength <= end - ptr, "a record ends too early");
      this.fields.push(new Field(key, kind, ptr, valueLength));
      ptr += valueLength;
    }
  }

  /** Writes the record to send back, an empty one for a hidden user. */
  write(out: Bytes): void {
    if (this.isHidden) return;
    for (let i = 0; i < this.fields.length; i++) {
      this.fields[i].write(out);
    }
  }

  private position(key: string): i32 {
    for (let i = 0; i < this.fields.length; i++) {
      if (this.fields[i].key == key) return i;
    }
    return -1;
  }

  private value(key: string, kind: u8): string | null {
    const at = this.position(key);
    return at < 0 || this.fields[at].kind != kind ? null : this.fields[at].text;
  }

  private put(key: string, kind: u8, value: string): void {
    let at = this.position(key);
    if (at < 0) {
      checkKey(key);
      at = this.fields.push(new Field(key, kind, 0, 0)) - 1;
    }
    this.fields[at].kind = kind;
    this.fields[at].value = value;
    this.changed = true;
  }
}

function checkKey(key: string): void {
  assert(String.UTF8.byteLength(key) <= 255, "a key of a member has at most 255 bytes");
}

/** The keys that the host sends need no new string. */
function keyText(ptr: usize, length: usize): string {
  if (length == 2 && load<u16>(ptr) == 0x6469) return "id";
  if (length == 5 && load<u32>(ptr) == 0x69616d65 && load<u8>(ptr, 4) == 0x6c) return "email";
  return String.UTF8.decodeUnsafe(ptr, length);
}

/**
 * Calls the hook for each record of a batch. If it changed one, writes the new batch to `out` and returns true.
 *
 *     batch  = { u32 record length, record }*
 *     record = { u8 key length, key, u8 type, u32 value length, value }*
 */
export function rewrite(
  ptr: usize, length: usize, endpoint: Endpoint, out: Bytes, hook: (member: Member) => void,
): bool {
  const member = new Member();
  member.endpoint = endpoint;
  const start = ptr;
  const end = ptr + length;
  let changed = false;
  out.clear();
  while (ptr < end) {
    assert(end - ptr >= 4, "a batch of records ends too early");
    const recordLength = <usize>load<u32>(ptr);
    assert(recordLength <= end - ptr - 4, "a batch of records ends too early");
    member.decode(ptr + 4, recordLength);
    hook(member);
    if (member.changed && !changed) {
      out.putBytes(start, ptr - start);
      changed = true;
    }
    if (changed) {
      const at = out.length;
      out.putU32(0);
      member.write(out);
      store<u32>(out.ptr + at, <u32>(out.length - at - 4));
    }
    ptr += 4 + recordLength;
  }
  return changed;
}
