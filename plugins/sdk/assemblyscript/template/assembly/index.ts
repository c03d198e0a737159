// PLUGIN_NAME is a plugin of the Rollcall presence gateway.
//
// Its options, in the plugin block of the Caddyfile:
//
//     config {
// [hook classify]
//         open  lobby- help   # anonymous connections may join channels with these prefixes
// [end]
// [hook authorize]
//         staff example.com   # channels that begin with staff- are for e-mail addresses at this domain
// [end]
// [hook connect]
//         ban   mallory       # users who may not log in
// [end]
// [hook message]
//         words darn heck     # messages whose text contains one of these are refused
//         limit 100           # messages of a user in a minute
// [end]
// [hook members]
//         badge guest         # badge of each listed user; none by default
// [end]
// [hook shape]
//         wrap  channels      # key of an object that answers are wrapped in
// [end]
//     }

import {
  Config,
  onConfigure,
  // [hook connect]
  Entry,
  Login,
  onConnect,
  // [end]
  // [hook classify]
  Decision,
  onClassify,
  // [end]
  // [hook authorize]
  Access,
  onAuthorize,
  // [end]
  // [hook classify authorize]
  Request,
  // [end]
  // [hook message]
  kv,
  Message,
  onMessage,
  Verdict,
  // [end]
  // [hook members]
  Member,
  onMembers,
  // [end]
  // [hook shape]
  Answer,
  Json,
  onShape,
  // [end]
} from "./rollcall";

// The exports that the host calls: the first three always, and those of each hook.
export {
  rollcall_abi_v1,
  rollcall_buffer,
  rollcall_configure,
  // [hook connect]
  rollcall_connect,
  // [end]
  // [hook classify]
  rollcall_classify,
  // [end]
  // [hook authorize]
  rollcall_authorize,
  // [end]
  // [hook message]
  rollcall_message,
  // [end]
  // [hook members]
  rollcall_members,
  rollcall_members_live,
  // [end]
  // [hook shape]
  rollcall_shape,
  // [end]
} from "./rollcall";

// Options.
// [hook classify]
let open: string[] = [];
// [end]
// [hook authorize]
let staff = "";
// [end]
// [hook connect]
let ban: string[] = [];
// [end]
// [hook message]
let words: string[] = [];
let limit: i64 = 0;
// [end]
// [hook members]
let badge = "";
// [end]
// [hook shape]
let wrap = "";
// [end]

onConfigure((config: Config): void => {
  config.block.only([
    // [hook classify]
    "open",
    // [end]
    // [hook authorize]
    "staff",
    // [end]
    // [hook connect]
    "ban",
    // [end]
    // [hook message]
    "words",
    "limit",
    // [end]
    // [hook members]
    "badge",
    // [end]
    // [hook shape]
    "wrap",
    // [end]
  ]);
  // [hook classify]
  open = config.block.strings("open");
  // [end]
  // [hook authorize]
  staff = config.block.string("staff");
  // [end]
  // [hook connect]
  ban = config.block.strings("ban");
  // [end]
  // [hook message]
  words = config.block.strings("words");
  limit = config.block.integer("limit");
  // [end]
  // [hook members]
  badge = config.block.string("badge");
  // [end]
  // [hook shape]
  wrap = config.block.string("wrap");
  // [end]
});

// [hook connect]
// Decides whether a login is accepted.
onConnect((login: Login): Entry => {
  return !login.isAnonymous && ban.includes(login.userId) ? Entry.refuse() : Entry.accept();
});

// [end]
// [hook classify]
// Decides the kind of a channel.
onClassify((request: Request): Decision => {
  for (let i = 0; i < open.length; i++) {
    if (request.channelStartsWith(open[i])) return Decision.ANONYMOUS;
  }
  return Decision.NO_OPINION;
});

// [end]
// [hook authorize]
// Decides whether a connection may join a channel.
onAuthorize((request: Request): Access => {
  if (staff == "" || !request.channelStartsWith("staff-")) return Access.NoObjection;
  return request.email.endsWith("@" + staff) ? Access.NoObjection : Access.Denied;
});

// [end]
// [hook message]
// Decides whether a message is sent.
onMessage((message: Message): Verdict => {
  const json = message.json.get("text");
  const text = json === null ? "" : json.asString;
  for (let i = 0; i < words.length; i++) {
    if (text.includes(words[i])) return Verdict.REFUSE;
  }
  const user = message.sender.userId.substring(0, 42); // a key has at most 128 bytes
  if (limit > 0 && user != "" && kv.add(user, 1, kv.MINUTE) > limit) return Verdict.REFUSE;
  return Verdict.SEND;
});

// [end]
// [hook members]
// Changes what an answer shows of a user.
onMembers((member: Member): void => {
  if (badge != "") member.set("badge", badge);
});

// [end]
// [hook shape]
// Changes a whole answer.
onShape((answer: Answer): Json | null => {
  return wrap == "" ? null : Json.object().set(wrap, answer.json);
});
// [end]
