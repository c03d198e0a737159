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

// @ts-ignore: decorator
@external("rollcall", "kv_get")
declare function hostKvGet(key: usize, keyLength: usize, ptr: usize, cap: usize): i64;

// @ts-ignore: decorator
@external("rollcall", "kv_set")
declare function hostKvSet(key: usize, keyLength: usize, ptr: usize, length: usize, ttlMs: i64): i32;

// @ts-ignore: decorator
@external("rollcall", "kv_add")
declare function hostKvAdd(key: usize, keyLength: usize, delta: i64, ttlMs: i64): i64;

// @ts-ignore: decorator
@external("rollcall", "count")
declare function hostCount(name: usize, length: usize, delta: i64): void;

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

/** The longest value of the store, in bytes. */
const MAX_VALUE: usize = 4096;

const keyBytes = new Bytes();
const valueBytes = new Bytes();

function putKey(key: string): void {
  keyBytes.clear();
  keyBytes.putText(key);
}

/**
 * The plugin's store: texts by key, each for a time in milliseconds. It belongs to the plugin and the host on one pod, is
 * the same for all instances, survives another file of the plugin, and is empty after a restart. It works in connect,
 * authorize and message. A call elsewhere, a key that is not 1 to 128 bytes long, a value of more than 4 KiB, and a time
 * that is not 1 to 86,400,000 ends the call.
 */
export namespace kv {
  /** What add returns if the store is full. */
  export const FULL: i64 = i64.MAX_VALUE;
  export const SECOND: i64 = 1000;
  export const MINUTE: i64 = 60 * SECOND;
  export const HOUR: i64 = 60 * MINUTE;

  /** The value of a key; null if there is none. */
  export function get(key: string): string | null {
    putKey(key);
    valueBytes.clear();
    valueBytes.reserve(MAX_VALUE);
    const length = hostKvGet(keyBytes.ptr, keyBytes.length, valueBytes.ptr, MAX_VALUE);
    return length < 0 ? null : String.UTF8.decodeUnsafe(valueBytes.ptr, <usize>length);
  }

  /** Stores a value, and returns whether it could: if the store is full, the old value stays. */
  export function set(key: string, value: string, ttlMs: i64): bool {
    putKey(key);
    valueBytes.clear();
    valueBytes.putText(value);
    const time: i64 = ttlMs > 0 ? ttlMs : -1; // the host refuses -1; 0 would remove the value
    return hostKvSet(keyBytes.ptr, keyBytes.length, valueBytes.ptr, valueBytes.length, time) == 0;
  }

  /** Removes a value. */
  export function remove(key: string): void {
    putKey(key);
    hostKvSet(keyBytes.ptr, keyBytes.length, 0, 0, 0);
  }

  /**
   * Adds to a counter and returns the sum. A counter that is not there begins at 0 and stays for the time; further calls
   * do not change its end. If the store is full, or the value is no counter, the sum is FULL: write a limit as
   * `kv.add(...) > n`, and it holds.
   */
  export function add(key: string, delta: i64, ttlMs: i64): i64 {
    putKey(key);
    return hostKvAdd(keyBytes.ptr, keyBytes.length, delta, ttlMs);
  }
}

/**
 * Adds to the metric caddy_rollcall_plugin_counter_total with the name. A name has 1 to 40 characters of a to z, 0 to 9
 * and _; a plugin has at most 32. delta is 0 or more. It works in all hooks; anything else ends the call.
 */
export function count(name: string, delta: i64 = 1): void {
  putKey(name);
  hostCount(keyBytes.ptr, keyBytes.length, delta);
}
