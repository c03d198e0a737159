import { Bytes } from "./bytes";
import { Parser } from "./jsonparser";
import { write } from "./jsonwriter";

// Shared by all values that are neither array nor object.
const noItems: Json[] = [];
const noKeys: string[] = [];

/** The kinds of JSON values. */
export enum JsonKind {
  Null,
  Bool,
  Number,
  String,
  Array,
  Object,
}

/**
 * A JSON value. Objects keep the order of their keys, and numbers their text, so reading and writing a value does
 * not change it.
 */
export class Json {
  /** The text of a string, without its escapes, or of a number as JSON writes it. */
  text: string = "";
  /** The values of an array, or of an object in the order of its keys. Change it only with the methods. */
  items: Json[];
  /** The keys of an object, in order. Change it only with the methods. */
  keys: string[];
  private truth: bool = false;

  private constructor(readonly kind: JsonKind) {
    this.items = kind >= JsonKind.Array ? [] : noItems;
    this.keys = kind == JsonKind.Object ? [] : noKeys;
  }

  static null(): Json {
    return new Json(JsonKind.Null);
  }

  static bool(value: bool): Json {
    const json = new Json(JsonKind.Bool);
    json.truth = value;
    return json;
  }

  static integer(value: i64): Json {
    return Json.number(value.toString());
  }

  /** A number by its text. */
  static number(text: string): Json {
    const json = new Json(JsonKind.Number);
    json.text = text;
    return json;
  }

  static string(text: string): Json {
    const json = new Json(JsonKind.String);
    json.text = text;
    return json;
  }

  /** An empty array. */
  static array(): Json {
    return new Json(JsonKind.Array);
  }

  /** An empty object. */
  static object(): Json {
    return new Json(JsonKind.Object);
  }

  /**
   * Reads one value, which may be nested to 64 levels. Half a surrogate pair becomes U+FFFD. A text that is not JSON
   * ends the call.
   */
  static parse(text: string): Json {
    const bytes = String.UTF8.encode(text);
    return Json.decode(changetype<usize>(bytes), bytes.byteLength);
  }

  /** Like parse, but null if the text is not JSON. */
  static tryParse(text: string): Json | null {
    const bytes = String.UTF8.encode(text);
    return new Parser(changetype<usize>(bytes), bytes.byteLength).parse();
  }

  /** Like parse, for UTF-8. */
  static decode(ptr: usize, length: usize): Json {
    const parser = new Parser(ptr, length);
    const json = parser.parse();
    assert(json !== null, "JSON, byte " + parser.offset.toString() + ": " + parser.error);
    return json!;
  }

  get isNull(): bool {
    return this.kind == JsonKind.Null;
  }

  /** The value of `true` and `false`; false for anything else. */
  get asBool(): bool {
    return this.truth;
  }

  /** The text of a string; empty for anything else. */
  get asString(): string {
    return this.kind == JsonKind.String ? this.text : "";
  }

  /** Whether the value is a number without fraction and exponent that fits into 64 bits. */
  get isInteger(): bool {
    return this.kind == JsonKind.Number && this.text != "-0" && this.asInteger.toString() == this.text;
  }

  /** The value of an integer; see isInteger. */
  get asInteger(): i64 {
    return this.kind == JsonKind.Number ? I64.parseInt(this.text) : 0;
  }

  /** A number as a float, possibly with a loss of precision; NaN for anything else. */
  get asFloat(): f64 {
    return this.kind == JsonKind.Number ? F64.parseFloat(this.text) : NaN;
  }

  /**
   * The value of a key of an object; null if there is none, or if this is not an object. Of a key that is repeated, it
   * is the last, which browsers take too.
   */
  get(key: string): Json | null {
    const at = this.keys.lastIndexOf(key);
    return at < 0 ? null : this.items[at];
  }

  /** Sets the value of a key of an object and returns the object. A new key is added at the end. */
  set(key: string, value: Json): Json {
    const at = this.keys.indexOf(key);
    if (at < 0) return this.add(key, value);
    this.items[at] = value;
    this.removeFrom(key, at + 1);
    return this;
  }

  /** Like set, for a new key only: faster if an object has many keys. */
  add(key: string, value: Json): Json {
    assert(this.kind == JsonKind.Object, "Json.set: this is no object");
    this.keys.push(key);
    this.items.push(value);
    return this;
  }

  /** Removes a key from an object, if it is there. */
  remove(key: string): void {
    this.removeFrom(key, 0);
  }

  private removeFrom(key: string, start: i32): void {
    for (let at = this.keys.indexOf(key, start); at >= 0; at = this.keys.indexOf(key, at)) {
      this.keys.splice(at, 1);
      this.items.splice(at, 1);
    }
  }

  /** Appends a value to an array and returns the array. */
  push(value: Json): Json {
    assert(this.kind == JsonKind.Array, "Json.push: this is no array");
    this.items.push(value);
    return this;
  }

  /** Appends the value as JSON in UTF-8. */
  write(out: Bytes): void {
    write(this, out);
  }

  /** The value as JSON. */
  toString(): string {
    text.clear();
    write(this, text);
    return String.UTF8.decodeUnsafe(text.ptr, text.length);
  }
}

const text = new Bytes();
