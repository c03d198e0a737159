import { Json } from "./json";
import { Request } from "./request";

/** A message to one channel, and who sends it: the input of the hook message. It is valid until the hook returns. */
export class Message {
  constructor(
    /** The channel and the sender. The user is empty for an anonymous connection and for the backend. */
    readonly sender: Request,
    private ptr: usize,
    private length: usize,
  ) {}

  /** The message as it was sent: an object as JSON. */
  get body(): string {
    return String.UTF8.decodeUnsafe(this.ptr, this.length);
  }

  /** The message as a value. A message that is nested more than 64 deep ends the call. */
  get json(): Json {
    return Json.decode(this.ptr, this.length);
  }
}

/** What becomes of a message. */
export class Verdict {
  /** It is sent as it is. */
  static readonly SEND: Verdict = new Verdict(0);
  /** It is refused, for all of its channels. */
  static readonly REFUSE: Verdict = new Verdict(1);

  private constructor(
    /** The result of rollcall_message without a replacement. */
    readonly bits: u32,
    /** The object that is sent instead. */
    readonly json: Json | null = null,
  ) {}

  /** Another object is sent to this channel. */
  static replace(json: Json): Verdict {
    return new Verdict(0, json);
  }
}
