import { Bytes } from "./bytes";

/** The severity of a log line. */
export enum Level {
  /** Shown only when Caddy logs at its debug level. */
  Debug = 0,
  /** Worth knowing. */
  Info = 1,
  /** Something is wrong, and the plugin continues. */
  Warn = 2,
  /** The plugin cannot do its work. */
  Error = 3,
}

// @ts-ignore: decorator
@external("rollcall", "log")
declare function hostLog(level: i32, ptr: usize, len: usize): void;

// @ts-ignore: decorator
@external("rollcall", "request")
declare function hostRequest(ptr: usize, cap: usize): i32;

const line = new Bytes();
const body = new Bytes();

/**
 * Writes a line to Caddy's log, with the names of the plugin and the host. It is cut at 1 KiB, and a plugin that
 * logs without end loses lines.
 */
export function log(level: Level, text: string): void {
  line.clear();
  line.putText(text);
  hostLog(level, line.ptr, line.length);
}

/**
 * The JSON body of the HTTP request that is being answered, without its key. It works in the hooks members and
 * shape; elsewhere it ends the call.
 */
export function requestBody(): string {
  body.clear();
  body.reserve(512);
  let length = hostRequest(body.ptr, body.capacity);
  assert(length >= 0, "requestBody: only members and shape answer a request");
  if (<usize>length > body.capacity) {
    body.reserve(length);
    length = hostRequest(body.ptr, body.capacity);
  }
  return String.UTF8.decodeUnsafe(body.ptr, length);
}
