import { Json } from "./json";
import { Endpoint } from "./request";

/** The body of an answer, as the hook shape gets it. It is valid until the hook returns. */
export class Answer {
  constructor(
    /** Which endpoint answers. */
    readonly endpoint: Endpoint,
    private ptr: usize,
    private length: usize,
  ) {}

  /** The body as text. */
  get body(): string {
    return String.UTF8.decodeUnsafe(this.ptr, this.length);
  }

  /** The body as a value that can be taken apart. */
  get json(): Json {
    return Json.decode(this.ptr, this.length);
  }
}
