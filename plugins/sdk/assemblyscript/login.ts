import { Json, JsonKind } from "./json";

function textOf(json: Json | null): string {
  return json === null ? "" : json.asString;
}

function objectOf(json: Json | null): Json | null {
  return json !== null && json.kind == JsonKind.Object ? json : null;
}

/** A connection that opens or logs in, the input of the hook connect. */
export class Login {
  /** The host: lower case, without a port. */
  readonly host: string;
  /** The ID of the connection. */
  readonly connection: string;
  /** Whether the connection has no user. */
  readonly isAnonymous: bool;
  /** The user; empty for an anonymous connection. */
  readonly userId: string;
  readonly email: string;
  /** The info of the user, an object; null if there is none. */
  readonly info: Json | null;
  /** The payload of the token, an object; null without a token. */
  readonly claims: Json | null;

  constructor(json: Json) {
    const user = objectOf(json.get("user"));
    this.host = textOf(json.get("host"));
    this.connection = textOf(json.get("connection"));
    this.isAnonymous = user === null;
    this.userId = user === null ? "" : textOf(user.get("id"));
    this.email = user === null ? "" : textOf(user.get("email"));
    this.info = user === null ? null : objectOf(user.get("info"));
    this.claims = objectOf(json.get("claims"));
    assert(this.connection.length > 0, "the login has no connection");
  }

  /** A claim of the token; null without a token, or without this claim. */
  claim(name: string): Json | null {
    const claims = this.claims;
    return claims === null ? null : claims.get(name);
  }
}

/** What becomes of a login. */
export class Entry {
  private constructor(
    /** Whether the login is refused. */
    readonly isRefused: bool,
    /** What changes: an object; null if nothing does. */
    public changes: Json | null = null,
  ) {}

  /** The login is accepted as it is. */
  static accept(): Entry {
    return new Entry(false);
  }

  /** The login is refused. */
  static refuse(): Entry {
    return new Entry(true);
  }

  /** Replaces the info of the user by an object of at most 2 KiB, or by Json.null(). */
  withInfo(info: Json): Entry {
    return this.with("info", info);
  }

  /**
   * Lets the user join and use the channels that match: an array of patterns, or another form of the token claim. The
   * plugin block must say grants.
   */
  withChannels(channels: Json): Entry {
    return this.with("channels", channels);
  }

  private with(key: string, value: Json): Entry {
    let changes = this.changes;
    if (changes === null) {
      changes = Json.object();
      this.changes = changes;
    }
    changes.set(key, value);
    return this;
  }
}
