import { Bytes } from "./bytes";
import { Config } from "./config";
import { Access, Decision } from "./decision";
import { Level, log } from "./host";
import { Json } from "./json";
import { Entry, Login } from "./login";
import { Member, rewrite } from "./member";
import { Message, Verdict } from "./message";
import { Endpoint, Request } from "./request";
import { Answer } from "./shape";

/** The buffer that the host writes to. The host keeps its address, so only rollcall_buffer changes it. */
const input = new Bytes();

/** The result of the last call; the host has copied it before the next call. */
const output = new Bytes();

const request = new Request();

let configureHook: ((config: Config) => void) | null = null;
let connectHook: ((login: Login) => Entry) | null = null;
let classifyHook: ((request: Request) => Decision) | null = null;
let authorizeHook: ((request: Request) => Access) | null = null;
let messageHook: ((message: Message) => Verdict) | null = null;
let membersHook: ((member: Member) => void) | null = null;
let shapeHook: ((answer: Answer) => Json | null) | null = null;

/**
 * Registers a function that is called once, before any hook, with the plugin's block of the Caddyfile. Reading an
 * option with a wrong form, or Config.fail, refuses the plugin. Export rollcall_configure too.
 */
export function onConfigure(hook: (config: Config) => void): void {
  configureHook = hook;
}

/** Registers the function that is called at each handshake and each login. Export rollcall_connect too. */
export function onConnect(hook: (login: Login) => Entry): void {
  connectHook = hook;
}

/** Registers the function that decides the kind of a channel when it becomes active. Export rollcall_classify too. */
export function onClassify(hook: (request: Request) => Decision): void {
  classifyHook = hook;
}

/** Registers the function that decides whether a connection may join a channel. Export rollcall_authorize too. */
export function onAuthorize(hook: (request: Request) => Access): void {
  authorizeHook = hook;
}

/** Registers the function that is called for each message and channel. Export rollcall_message too. */
export function onMessage(hook: (message: Message) => Verdict): void {
  messageHook = hook;
}

/**
 * Registers the function that is called for each user in a listing. Export rollcall_members too.
 *
 * With rollcall_members_live exported, it is also called for each user that browsers see. The result is then kept until
 * the user or the configuration changes: it may depend on these alone. Of its keys, the site shows `id` and those in its
 * option members.
 */
export function onMembers(hook: (member: Member) => void): void {
  membersHook = hook;
}

/** Registers the function that is called for each answer; null leaves it unchanged. Export rollcall_shape too. */
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

export function rollcall_connect(ptr: usize, length: u32): u64 {
  const hook = connectHook;
  if (hook === null) return missing("rollcall_connect", "onConnect");
  const entry = hook(new Login(Json.decode(ptr, length)));
  const changes = entry.changes;
  if (entry.isRefused) return 1;
  return changes === null ? 0 : written(changes);
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

export function rollcall_message(ptr: usize, length: u32): u64 {
  const hook = messageHook;
  if (hook === null) return missing("rollcall_message", "onMessage");
  assert(length >= 4 && load<u32>(ptr) <= length - 4, "the message is shorter than its lengths say");
  const size = load<u32>(ptr);
  request.decode(ptr + 4, size);
  const verdict = hook(new Message(request, ptr + 4 + size, length - 4 - size));
  const json = verdict.json;
  return json === null ? verdict.bits : written(json);
}

export function rollcall_members(endpoint: i32, ptr: usize, length: u32): u64 {
  const hook = membersHook;
  if (hook === null) return missing("rollcall_members", "onMembers");
  return rewrite(ptr, length, <Endpoint>endpoint, output, hook) ? slice(output) : 0;
}

/** The marker of members for browsers. */
export function rollcall_members_live(): void {}

export function rollcall_shape(endpoint: i32, ptr: usize, length: u32): u64 {
  const hook = shapeHook;
  if (hook === null) return missing("rollcall_shape", "onShape");
  const json = hook(new Answer(<Endpoint>endpoint, ptr, length));
  return json === null ? 0 : written(json);
}

/** The slice result of a call that answers with a value. */
function written(json: Json): u64 {
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
