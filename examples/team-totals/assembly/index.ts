// Answers /message/users by team, with totals, instead of by channel. A user's team comes from the domain of the e-mail
// address or from the name of the channel, as the Caddyfile says.

import { Answer, Config, Endpoint, Json, JsonKind, onConfigure, onShape } from "./rollcall";
import { Teams } from "./teams";

export { rollcall_abi_v1, rollcall_buffer, rollcall_configure, rollcall_shape } from "./rollcall";

let byEmail = false;
let separator = "-";
let otherTeam = "other";
const namesOfDomains = new Map<string, string>();

onConfigure((config: Config): void => {
  const block = config.block;
  block.only(["team_from", "separator", "other", "teams"]);
  const from = block.string("team_from", "channel");
  if (from != "channel" && from != "email") block.fail("team_from", "want channel or email, got " + from);
  byEmail = from == "email";
  separator = block.string("separator", separator);
  if (separator == "") block.fail("separator", "want at least one character");
  otherTeam = block.string("other", otherTeam);

  const teams = block.block("teams");
  const names = teams.names;
  if (names.length > 0 && !byEmail) block.fail("teams", "needs team_from email: it names teams by e-mail domain");
  for (let i = 0; i < names.length; i++) {
    const domains = teams.strings(names[i]);
    for (let j = 0; j < domains.length; j++) namesOfDomains.set(domains[j].toLowerCase(), names[i]);
  }
});

onShape((answer: Answer): Json | null => {
  if (answer.endpoint != Endpoint.Users) return null;
  const teams = new Teams();
  const channels = answer.json;
  const alone: Json[] = []; // users in private channels, who may be in no other
  for (let i = 0; i < channels.items.length; i++) {
    const name = channels.keys[i];
    const value = channels.items[i];
    if (value.kind == JsonKind.Object) {
      alone.push(value);
    } else if (value.kind == JsonKind.Array) {
      for (let j = 0; j < value.items.length; j++) teams.addUser(teamOf(name, value.items[j]), name, value.items[j]);
    } else if (!name.startsWith("tab|")) {
      teams.addCount(byEmail ? otherTeam : teamOfChannel(name), name, value.asInteger);
    }
  }
  for (let i = 0; i < alone.length; i++) {
    if (!teams.has(alone[i])) teams.addUser(byEmail ? teamOf("", alone[i]) : otherTeam, null, alone[i]);
  }
  return teams.toJson();
});

function teamOf(channel: string, user: Json): string {
  if (!byEmail) return teamOfChannel(channel);
  const email = user.get("email");
  return teamOfEmail(email !== null ? email.asString : "");
}

/** The part of the name before the separator: sales for sales-emea. */
function teamOfChannel(name: string): string {
  const at = name.indexOf(separator);
  return at > 0 ? name.slice(0, at) : otherTeam;
}

/** The team that the Caddyfile assigns to the domain of the address, or else the domain. */
function teamOfEmail(email: string): string {
  const domain = email.slice(email.lastIndexOf("@") + 1).toLowerCase();
  if (domain == "" || !email.includes("@")) return otherTeam;
  return namesOfDomains.has(domain) ? namesOfDomains.get(domain) : domain;
}
