import { Bytes } from "./bytes";
import { Parser } from "./jsonparser";
import { write } from "./jsonwriter";

// Values that are neither array nor object share these.
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
 * A JSON value. Objects keep the order of their keys, and numbers their text, so that what is read and written again is
 * the same.
 */
export class Json {
  /** The text of a string, without its escapes, or of a number as JSON writes it. */
  text: string = "";
  /** The values of an array, or of an object in the order of its keys. To change, only by the methods. */
  items: Json[];
  /** The keys of an object, in order. To change, only by the methods. */
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
   * Reads one value, which may be nested to 64 levels. Half a surrogate pair becomes U+FFFD. What is not JSON ends the
   * call.
   */
  static parse(text: string): Json {
    const bytes = String.UTF8.encode(text);
    return Json.decode(changetype<usize>(bytes), bytes.byteLength);
  }

  /** As parse, but null when the text is not JSON. */
  static tryParse(text: string): Json | null {
    const bytes = String.UTF8.encode(text);
    return new Parser(changetype<usize>(bytes), bytes.byteLength).parse();
  }

  /** As parse, of UTF-8. */
  static decode(ptr: usize, length: usize): Json {
    const parser = new Parser(ptr, length);
    const json = parser.parse();
    assert(json !== null, "JSON, byte " + parser.offset.toString() + ": " + parser.error);
    return json!;
  }

  get isNull(): bool {
    return this.kind == JsonKind.Null;
  }

  /** The value of `true` and `false`; false of all else. */
  get asBool(): bool {
    return this.truth;
  }

  /** The text of a string; empty for all else. */
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

  /** A number as a float, with the loss that this may mean; NaN for all else. */
  get asFloat(): f64 {
    return this.kind == JsonKind.Number ? F64.parseFloat(this.text) : NaN;
  }

  /** The value of a key of an object; null when it is not there or this is no object. */
  get(key: string): Json | null {
    const at = this.keys.indexOf(key);
    return at < 0 ? null : this.items[at];
  }

  /** Gives a key of an object a value and returns the object. A key that is not there is added at the end. */
  set(key: string, value: Json): Json {
    const at = this.keys.indexOf(key);
    if (at >= 0) {
      this.items[at] = value;
      return this;
    }
    return this.add(key, value);
  }

  /** As set, for a key that is not there yet: faster when an object has many keys. */
  add(key: string, value: Json): Json {
    assert(this.kind == JsonKind.Object, "Json.set: this is no object");
    this.keys.push(key);
    this.items.push(value);
    return this;
  }

  /** Takes a key out of an object. It need not be there. */
  remove(key: string): void {
    const at = this.keys.indexOf(key);
    if (at < 0) return;
    this.keys.splice(at, 1);
    this.items.splice(at, 1);
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
