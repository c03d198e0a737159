import { Bytes } from "./bytes";
import { Config } from "./config";
import { Access, Decision } from "./decision";
import { Level, log } from "./host";
import { Json } from "./json";
import { Member, rewrite } from "./member";
import { Endpoint, Request } from "./request";
import { Answer } from "./shape";

/** Where the host writes. The host keeps the address, so it changes in rollcall_buffer only. */
const input = new Bytes();

/** What the last call returned; the host has copied it when the next call comes. */
const output = new Bytes();

const request = new Request();

let configureHook: ((config: Config) => void) | null = null;
let classifyHook: ((request: Request) => Decision) | null = null;
let authorizeHook: ((request: Request) => Access) | null = null;
let membersHook: ((member: Member) => void) | null = null;
let shapeHook: ((answer: Answer) => Json | null) | null = null;

/**
 * Registers what is called once, before any hook, with the plugin's block of the Caddyfile. Reading what is not there
 * as expected, or Config.fail, refuses the plugin. Export rollcall_configure too.
 */
export function onConfigure(hook: (config: Config) => void): void {
  configureHook = hook;
}

/** Registers what decides the kind of a channel when it becomes active. Export rollcall_classify too. */
export function onClassify(hook: (request: Request) => Decision): void {
  classifyHook = hook;
}

/** Registers what decides whether a connection may join a channel. Export rollcall_authorize too. */
export function onAuthorize(hook: (request: Request) => Access): void {
  authorizeHook = hook;
}

/** Registers what is called for each user that an answer lists. Export rollcall_members too. */
export function onMembers(hook: (member: Member) => void): void {
  membersHook = hook;
}

/** Registers what is called for each answer; null leaves it as it is. Export rollcall_shape too. */
export function onShape(hook: (answer: Answer) => Json | null): void {
  shapeHook = hook;
}

/** The marker of the contract's version. */
export function rollcall_abi_v1(): void {}

export function rollcall_buffer(size: u32): usize {
  if (size >= 0x40000000) return 0; // more than the allocator has
  input.clear();
  input.reserve(max<u32>(size, 1)); // 0 would be a refusal
  return input.ptr;
}

export function rollcall_configure(ptr: usize, length: u32): i32 {
  const hook = configureHook;
  if (hook === null) return missing("rollcall_configure", "onConfigure");
  const config = new Config(Json.decode(ptr, length));
  hook(config);
  const error = config.error;
  if (error === null) return 0;
  log(Level.Error, error);
  return 1;
}

export function rollcall_classify(ptr: usize, length: u32): u64 {
  const hook = classifyHook;
  if (hook === null) return missing("rollcall_classify", "onClassify");
  request.decode(ptr, length);
  return hook(request).bits;
}

export function rollcall_authorize(ptr: usize, length: u32): u64 {
  const hook = authorizeHook;
  if (hook === null) return missing("rollcall_authorize", "onAuthorize");
  request.decode(ptr, length);
  return hook(request);
}

export function rollcall_members(endpoint: i32, ptr: usize, length: u32): u64 {
  const hook = membersHook;
  if (hook === null) return missing("rollcall_members", "onMembers");
  return rewrite(ptr, length, <Endpoint>endpoint, output, hook) ? slice(output) : 0;
}

export function rollcall_shape(endpoint: i32, ptr: usize, length: u32): u64 {
  const hook = shapeHook;
  if (hook === null) return missing("rollcall_shape", "onShape");
  const json = hook(new Answer(<Endpoint>endpoint, ptr, length));
  if (json === null) return 0;
  output.clear();
  json.write(output);
  return slice(output);
}

/** The slice result of a call. */
function slice(bytes: Bytes): u64 {
  return (<u64>bytes.ptr << 32) | <u64>bytes.length;
}

function missing(name: string, register: string): i32 {
  assert(false, name + " is exported, but " + register + " was not called");
  return 1;
}
