// PLUGIN_NAME is a plugin of the Rollcall presence gateway.
//
// Its options, in the plugin block of the Caddyfile:
//
//     config {
//         open  lobby- help   # anonymous connections may join channels with these prefixes
//         badge guest         # badge of each listed user; none by default
//     }

import { Config, Decision, Member, onClassify, onConfigure, onMembers, Request } from "./rollcall";

// The exports that the host calls: the first two always, and one for each hook.
export {
  rollcall_abi_v1, rollcall_buffer, rollcall_classify, rollcall_configure, rollcall_members,
  rollcall_members_live,
} from "./rollcall";

// Options.
let open: string[] = [];
let badge = "";

onConfigure((config: Config): void => {
  config.block.only(["open", "badge"]);
  open = config.block.strings("open");
  badge = config.block.string("badge");
});

// Decides the kind of a channel.
onClassify((request: Request): Decision => {
  for (let i = 0; i < open.length; i++) {
    if (request.channelStartsWith(open[i])) return Decision.ANONYMOUS;
  }
  return Decision.NO_OPINION;
});

// Changes what an answer shows of a user.
onMembers((member: Member): void => {
  if (badge != "") member.set("badge", badge);
});
