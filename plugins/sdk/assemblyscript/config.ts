import { Json, JsonKind } from "./json";

/** The input of onConfigure: the host that the plugin works for, and its block of the Caddyfile. */
export class Config {
  /** The host; empty for an instance that several hosts share. */
  readonly host: string;
  /** The name of the plugin: that of its file, unless the Caddyfile gives another. */
  readonly plugin: string;
  /** The block `config` of the plugin; empty if there is none. */
  readonly block: Block;
  /** The reason to refuse the plugin: the first mistake found. */
  error: string | null = null;

  /** Reads the JSON that the host sends to rollcall_configure. */
  constructor(json: Json) {
    const host = json.get("host");
    const plugin = json.get("plugin");
    this.host = host !== null ? host.asString : "";
    this.plugin = plugin !== null ? plugin.asString : "";
    this.block = new Block("config", Json.object(), null);
    this.block.config = this;
    const block = json.get("config");
    if (block !== null && block.kind == JsonKind.Object) {
      this.block.json = block;
    } else if (block !== null && !block.isNull) {
      this.fail("config: want a block in braces");
    }
  }

  /** Refuses the plugin, with a reason for the log. The first reason counts. */
  fail(reason: string): void {
    if (this.error === null) this.error = reason;
  }
}

/**
 * A block of the Caddyfile: names with a word, with several words, with a block, or alone. If a name has
 * another form than a method reads, the plugin is refused with a clear error, and the method returns what it returns
 * for an absent name.
 */
export class Block {
  constructor(
    /** The path, such as `config.colours`. */
    readonly path: string,
    /** The block as JSON: an object. */
    public json: Json,
    public config: Config | null,
  ) {}

  /** The names in the block, in order. */
  get names(): string[] {
    return this.json.keys;
  }

  /** Refuses names that are not known, and so misspelt ones. */
  only(known: string[]): void {
    const names = this.names;
    for (let i = 0; i < names.length; i++) {
      if (!known.includes(names[i])) this.fail(names[i], "unknown; known are " + known.join(", "));
    }
  }

  /** Whether the block has the name. */
  has(name: string): bool {
    return this.json.get(name) !== null;
  }

  /** The one word of a name; the other text if the name is absent. */
  string(name: string, otherwise: string = ""): string {
    const value = this.json.get(name);
    if (value === null) return otherwise;
    if (isWord(value)) return value.text;
    this.want(name, "one word", value);
    return otherwise;
  }

  /** The words of a name, one or more; none if the name is absent. */
  strings(name: string): string[] {
    const words: string[] = [];
    const value = this.json.get(name);
    if (value === null) return words;
    const values = value.kind == JsonKind.Array ? value.items : [value];
    for (let i = 0; i < values.length; i++) {
      if (isWord(values[i])) {
        words.push(values[i].text);
      } else {
        this.want(name, "one or more words", values[i]);
      }
    }
    return words;
  }

  /** Whether the block has the name, alone or with `true`; `false` turns it off. */
  bool(name: string): bool {
    const value = this.json.get(name);
    if (value === null) return false;
    if (value.kind == JsonKind.Bool) return value.asBool;
    if (value.kind == JsonKind.String && value.text == "true") return true;
    if (value.kind == JsonKind.String && value.text == "false") return false;
    this.want(name, "nothing, true or false", value);
    return false;
  }

  /** The integer of a name; the other number if the name is absent. */
  integer(name: string, otherwise: i64 = 0): i64 {
    const text = this.string(name);
    if (!this.has(name)) return otherwise;
    const json = Json.tryParse(text);
    if (json !== null && json.isInteger) return json.asInteger;
    this.fail(name, 'want an integer, got "' + text + '"');
    return otherwise;
  }

  /** The block of a name; an empty one if the name is absent. */
  block(name: string): Block {
    const value = this.json.get(name);
    const path = this.path + "." + name;
    if (value !== null && value.kind == JsonKind.Object) return new Block(path, value, this.config);
    if (value !== null) this.want(name, "a block in braces", value);
    return new Block(path, Json.object(), this.config);
  }

  /** Refuses the plugin because of a name of this block. */
  fail(name: string, reason: string): void {
    this.config!.fail(this.path + "." + name + ": " + reason);
  }

  private want(name: string, want: string, got: Json): void {
    let text = "nothing";
    if (isWord(got)) text = "a word";
    if (got.kind == JsonKind.Array) text = "several words";
    if (got.kind == JsonKind.Object) text = "a block";
    this.fail(name, "want " + want + ", got " + text);
  }
}

function isWord(value: Json): bool {
  return value.kind == JsonKind.String || value.kind == JsonKind.Number;
}
