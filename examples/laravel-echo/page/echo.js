// The room by Laravel Echo, with the options of Laravel's resources/js/echo.js.
/* global Echo */
import { log, me, onSay, showMembers, showState } from "./view.js";

const headers = { "X-User": me }; // Laravel has its session instead
const port = location.port || (location.protocol === "https:" ? 443 : 80);
const echo = new Echo.default({
  broadcaster: "reverb",
  key: "rollcall-demo-app",
  wsHost: location.hostname,
  wsPort: port,
  wssPort: port,
  forceTLS: location.protocol === "https:",
  enabledTransports: ["ws", "wss"],
  auth: { headers },
  userAuthentication: { endpoint: "/broadcasting/user-auth", headers },
});

const members = new Map();
const show = () => showMembers([...members.values()]);
const room = echo.join("room"); // presence-room

room
  .here((users) => {
    members.clear();
    for (const user of users) members.set(user.id, user);
    show();
    showState("here");
  })
  .joining((user) => {
    members.set(user.id, user);
    show();
    log(`${user.name} came`);
  })
  .leaving((user) => {
    members.delete(user.id);
    show();
    log(`${user.name} went`);
  })
  .error((e) => showState(e.error))
  .listen(".announcement", ({ text, by }) => log(`the backend, for ${by}: ${text}`))
  .listenForWhisper("say", ({ text }, { user_id: from }) => log(`${from}: ${text}`));

// Tells the server who this page is, so that the backend can send to the user.
echo.connector.signin();
echo.connector.pusher.connection.bind("error", (e) => log(e.data?.message ?? "an error"));
echo.connector.pusher.user.bind("announcement", ({ text }) => log(`the backend, to you alone: ${text}`));

onSay((text) => room.whisper("say", { text }));
