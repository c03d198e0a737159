/** The kind of a channel by the site's own rules. */
export enum Kind {
  /** A connection needs a user to join. */
  Authenticated = 1,
  /** Anyone may join. */
  Anonymous = 2,
}

/** The kind of the answer. Any other number is an endpoint newer than this SDK. */
export enum Endpoint {
  /** /message/users */
  Users = 1,
  /** /message/allusers */
  AllUsers = 2,
  /** /message/channels */
  Channels = 3,
  /** What browsers see of each other, for members alone. */
  Live = 4,
  /** What events show of a user, for members alone. */
  Events = 5,
}

const HEADER: usize = 16;

/** The tag of the extension with the ID of the sender's connection. */
const CONNECTION: u16 = 1;

/**
 * A channel to classify or, for the hook authorize, a connection that wants to join one. It is valid until the
 * hook returns.
 */
export class Request {
  private ptr: usize = 0;
  private channelText: string | null = null;

  /** Reads the bytes that the host wrote. */
  decode(ptr: usize, length: usize): void {
    assert(length >= HEADER, "the request is shorter than its header");
    assert(load<u8>(ptr) == 1, "the request is of a version other than 1");
    const kind = load<u8>(ptr, 1);
    assert(kind == Kind.Authenticated || kind == Kind.Anonymous, "the request has an unknown kind");
    const texts: u64 = <u64>load<u16>(ptr, 4) + load<u16>(ptr, 6) + load<u16>(ptr, 8) + load<u16>(ptr, 10);
    assert(HEADER + texts + load<u32>(ptr, 12) <= length, "the request is shorter than its lengths say");
    this.ptr = ptr;
    this.channelText = null;
  }

  /** The kind by the site's own rules. */
  get kind(): Kind {
    return <Kind>load<u8>(this.ptr, 1);
  }

  /** Whether a backend sends the message. It is false except for message. */
  get isBackend(): bool {
    return (load<u8>(this.ptr, 2) & 2) != 0;
  }

  /** The ID of the connection that sends the message; empty for the backend, and except for message. */
  get connection(): string {
    let at = <usize>load<u16>(this.ptr, 4) + load<u16>(this.ptr, 6) + load<u16>(this.ptr, 8) + load<u16>(this.ptr, 10);
    const end = at + load<u32>(this.ptr, 12);
    while (at + 4 <= end) {
      const length = <usize>load<u16>(this.ptr + HEADER + at, 2);
      if (at + 4 + length > end) break;
      if (load<u16>(this.ptr + HEADER + at) == CONNECTION) return this.text(at + 4, length);
      at += 4 + length;
    }
    return "";
  }

  /** Whether the connection has no user. For classify it is false. */
  get isAnonymous(): bool {
    return (load<u8>(this.ptr, 2) & 1) != 0;
  }

  /** Whether the site's own rules need a grant. Decision.ANONYMOUS is then refused as a failure. */
  get needsGrant(): bool {
    return (load<u8>(this.ptr, 2) & 4) != 0;
  }

  /** The host: lower case, without a port. */
  get host(): string {
    return this.text(0, load<u16>(this.ptr, 4));
  }

  /** The name of the channel. */
  get channel(): string {
    let text = this.channelText;
    if (text === null) {
      text = this.text(load<u16>(this.ptr, 4), load<u16>(this.ptr, 6));
      this.channelText = text;
    }
    return text;
  }

  /** The ID of the user; empty for classify and for an anonymous connection. */
  get userId(): string {
    return this.text(<usize>load<u16>(this.ptr, 4) + load<u16>(this.ptr, 6), load<u16>(this.ptr, 8));
  }

  /** The e-mail address of the user; empty if it is not known, and for classify. */
  get email(): string {
    const before = <usize>load<u16>(this.ptr, 4) + load<u16>(this.ptr, 6) + load<u16>(this.ptr, 8);
    return this.text(before, load<u16>(this.ptr, 10));
  }

  /** Whether the name of the channel starts with a text: like channel.startsWith, without making a string. */
  channelStartsWith(prefix: string): bool {
    const start = this.ptr + HEADER + load<u16>(this.ptr, 4);
    const length = <i32>load<u16>(this.ptr, 6);
    for (let i = 0; i < prefix.length; i++) {
      const unit = prefix.charCodeAt(i);
      if (unit >= 0x80) return this.channel.startsWith(prefix);
      if (i >= length || load<u8>(start + i) != unit) return false;
    }
    return true;
  }

  private text(offset: usize, length: usize): string {
    return String.UTF8.decodeUnsafe(this.ptr + HEADER + offset, length);
  }
}
