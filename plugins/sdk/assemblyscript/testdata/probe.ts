// The plugin of package guest's tests: it does what its input says.

import {
  Access, Answer, Config, count, Decision, Entry, Json, kv, Level, log, Login, Member, Message, onAuthorize, onClassify,
  onConfigure, onConnect, onMembers, onMessage, onShape, Request, requestBody, Verdict,
} from "./rollcall";

export {
  rollcall_abi_v1, rollcall_authorize, rollcall_buffer, rollcall_classify, rollcall_configure, rollcall_connect,
  rollcall_members, rollcall_members_live, rollcall_message, rollcall_shape,
} from "./rollcall";

onConfigure((config: Config): void => {
  const block = config.block;
  block.only(["word", "words", "flag", "number", "inner"]);
  const line = [
    config.host, config.plugin, block.string("word", "none"), block.strings("words").join("+"),
    block.bool("flag").toString(), block.integer("number", -1).toString(), block.block("inner").string("deep", "none"),
  ];
  if (config.error === null) log(Level.Info, line.join("|"));
});

onClassify((request: Request): Decision => {
  const words = request.channel.split("+");
  let decision = Decision.NO_OPINION;
  if (words[0] == "authenticated") decision = Decision.AUTHENTICATED;
  if (words[0] == "anonymous") decision = Decision.ANONYMOUS;
  if (request.channelStartsWith("denied")) decision = Decision.DENIED;
  if (words[0] == "fail") throw new Error("asked to fail");
  if (words[0] == "tell") log(Level.Debug, tell(request));
  if (words.includes("hidden")) decision = decision.hidden();
  if (words.includes("count")) decision = decision.countOnly();
  if (words.includes("grant")) decision = decision.needGrant();
  if (words[0] == "flag" && request.needsGrant) decision = decision.hidden();
  return decision;
});

onAuthorize((request: Request): Access => {
  log(Level.Warn, tell(request));
  return request.userId == "eve" ? Access.Denied : Access.NoObjection;
});

function tell(request: Request): string {
  return [
    request.host, request.channel, (<i32>request.kind).toString(), request.isAnonymous ? "anonymous" : "known",
    request.userId, request.email,
  ].join("|");
}

onConnect((login: Login): Entry => {
  const info = login.info;
  const claim = login.claim("role");
  const role = claim !== null ? claim.asString : "";
  log(Level.Info, [
    login.host, login.connection, login.isAnonymous ? "anonymous" : "known", login.userId, login.email,
    info !== null ? info.toString() : "", role,
  ].join("|"));
  const channels = Json.array().push(Json.string("news-*")).push(Json.string('a"b'));
  if (login.userId == "eve") return Entry.refuse();
  if (login.userId == "info") return Entry.accept().withInfo(Json.object().set("role", Json.string(role)));
  if (login.userId == "null") return Entry.accept().withInfo(Json.null());
  if (login.userId == "open") return Entry.accept().withChannels(channels);
  if (login.userId == "both") {
    return Entry.accept().withInfo(Json.object().set("role", Json.string(role))).withChannels(channels);
  }
  return Entry.accept();
});

onMessage((message: Message): Verdict => {
  const json = message.json;
  const field = json.get("text");
  const text = field !== null ? field.asString : "";
  const sender = message.sender;
  const channel = sender.channel;
  if (channel == "get") {
    const value = kv.get(text);
    log(Level.Info, value !== null ? value : "none");
  } else if (channel == "set") {
    log(Level.Info, kv.set(text, text + "!", 1500).toString());
  } else if (channel == "short") {
    kv.set(text, "short", 0);
  } else if (channel == "delete") {
    kv.remove(text);
  } else if (channel == "add") {
    log(Level.Info, kv.add(text, 1, kv.MINUTE).toString());
  } else if (channel == "count") {
    count(text, 2);
  } else if (channel == "replace") {
    return Verdict.replace(json.set("text", Json.string(text + "!")));
  } else {
    log(Level.Warn, [
      sender.host, channel, (<i32>sender.kind).toString(),
      sender.isAnonymous ? "anonymous" : sender.isBackend ? "backend" : "known", sender.userId, sender.email,
      sender.connection, text,
    ].join("|"));
  }
  return channel == "refuse" ? Verdict.REFUSE : Verdict.SEND;
});

onMembers((member: Member): void => {
  const id = member.id;
  if (id == "tell") log(Level.Info, [(<i32>member.endpoint).toString(), text(member.info), text(member.status)].join("|"));
  else if (id == "hide") member.hide();
  else if (id == "mask") member.set("email", "***");
  else if (id == "rename") member.rename("email", "mail");
  else if (id == "remove") member.remove("email");
  else if (id == "add") member.setJson("level", Json.parse("[3,null]"));
  else if (id == "swap") member.rename("email", "id");
  else if (id == "long") member.set("k".repeat(256), "value");
  else {
    member.remove("none");
    member.rename("none", "other");
  }
});

function text(value: string | null): string {
  return value !== null ? value : "";
}

onShape((answer: Answer): Json | null => {
  const body = answer.body;
  if (body == '"unchanged"') return null;
  if (body == '"request"') return Json.string(requestBody());
  if (body == '"endpoint"') return Json.integer(answer.endpoint);
  return answer.json;
});
