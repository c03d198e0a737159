// The AssemblyScript guest: a lobby is anonymous, staff rooms are hidden, e-mail addresses are masked.

import { Answer, Decision, Json, JsonKind, onClassify, onShape, Request } from "./rollcall";

export { rollcall_abi_v1, rollcall_buffer, rollcall_classify, rollcall_shape } from "./rollcall";

onClassify((request: Request): Decision => {
  if (request.channelStartsWith("lobby-")) return Decision.ANONYMOUS;
  if (request.channelStartsWith("staff-")) return Decision.AUTHENTICATED.hidden();
  return Decision.NO_OPINION;
});

onShape((answer: Answer): Json | null => {
  const json = answer.json;
  mask(json);
  return json;
});

function mask(json: Json): void {
  if (json.kind == JsonKind.Object) {
    const email = json.get("email");
    if (email !== null) json.set("email", Json.string(masked(email.asString)));
  }
  for (let i = 0; i < json.items.length; i++) mask(json.items[i]);
}

function masked(email: string): string {
  const at = email.indexOf("@");
  return email.charAt(0) + "***" + (at < 0 ? "" : email.substring(at));
}
