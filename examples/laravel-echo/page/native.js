// The same room by Rollcall's own client. A message from Pusher's side is {event, data}, and one with
// an event that begins with "client-" is a whisper there.
import { Rollcall } from "/message/client.js";
import { ask, log, onSay, showMembers, showState } from "./view.js";

const rollcall = new Rollcall({ getToken: () => ask("/token") });
rollcall.on("state", ({ state }) => state !== "open" && showState(state));
rollcall.on("message", ({ event, data }) => event === "announcement" && log(`the backend, to you alone: ${data.text}`));

const room = rollcall.join("presence-room", { presence: "list" });
room.on("sync", () => showState("here"));
const names = new Map(); // of everybody who has been here: who leaves comes with an id alone
room.on("change", () => {
  const users = [...room.members.values()].map(({ id, info }) => ({ id, name: info?.name ?? id }));
  for (const { id, name } of users) names.set(id, name);
  showMembers(users);
});
room.on("join", (user) => log(`${user.info?.name ?? user.id} came`));
room.on("leave", (user) => log(`${names.get(user.id) ?? user.id} went`));
room.on("error", (e) => showState(e.message));
room.on("message", ({ event, data }, from, backend) => {
  if (backend && event === "announcement") log(`the backend, for ${data.by}: ${data.text}`);
  if (event === "client-say") log(`${from?.id}: ${data.text}`);
});

onSay((text) => room.send({ event: "client-say", data: { text } }, { echo: false }));
