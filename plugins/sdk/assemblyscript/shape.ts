import { Json } from "./json";
import { Endpoint } from "./request";

/** The body of an answer, the input of the hook shape. It is valid until the hook returns. */
export class Answer {
  constructor(
    /** The endpoint that answers. */
    readonly endpoint: Endpoint,
    private ptr: usize,
    private length: usize,
  ) {}

  /** The body as text. */
  get body(): string {
    return String.UTF8.decodeUnsafe(this.ptr, this.length);
  }

  /** The body as a JSON value. */
  get json(): Json {
    return Json.decode(this.ptr, this.length);
  }
}
