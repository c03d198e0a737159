// Two bots, each with a connection of its own, so that the first tab is in company. They are in one tab of a browser.
import { Rollcall } from "/message/client.js";
import { person, sign } from "./token.js";

const ROOM = "salesRoom";

// Lines of the bots: to those who come, and to those who write.
const WELCOME = (name) => `Hello ${name}. I am a bot: this page runs me, over a websocket of my own.`;
const ANSWERS = [
  "Heard on another connection, within milliseconds.",
  "Open a second tab: we both will see it come.",
  "Your backend can write here too: try the panel at the right.",
  "Press Disconnect, and watch how the server waits before it says that you have left.",
];

// start lets the bots come, and returns a function that lets them go. With the lock of another tab that has bots, it
// waits until that tab is closed.
export function start() {
  const gone = new AbortController();
  const live = () => new Promise((done) => {
    if (gone.signal.aborted) return done();
    const bots = [bot("pip", host), bot("dot", talker)];
    gone.signal.addEventListener("abort", () => {
      for (const rc of bots) rc.close();
      done();
    });
  });
  // Browsers have locks on localhost and over https, as they have what signs tokens.
  navigator.locks?.request("rollcall-demo-bots", { signal: gone.signal }, live).catch(() => {}); // aborted while waiting
  return () => gone.abort();
}

function bot(name, act) {
  const me = person(name);
  const rc = new Rollcall({ getToken: () => sign(me) });
  const room = rc.join(ROOM, { presence: "list" });
  room.on("error", () => {}); // a connection that is lost comes back by itself
  rc.on("error", () => {});
  act(rc, room, me);
  return rc;
}

const send = (room, text) => room.send({ text }).catch(() => {}); // the bot may be offline
const isBot = (room, id) => room.members.get(id)?.info?.bot === true;

// host welcomes those who come, each once, and not more than a room can read.
function host(rc, room, me) {
  const known = new Set();
  const meet = (m) => {
    if (m.id === me.id || isBot(room, m.id) || known.has(m.id) || known.size >= 20) return;
    known.add(m.id);
    send(room, WELCOME(m.info?.name ?? m.id));
  };
  room.on("sync", () => room.members.forEach(meet));
  room.on("join", meet);
  rc.setStatus({ text: "welcomes you" }).catch(() => {});
}

// talker answers the lines of people, at most one in two seconds, and shows by its status what it does.
function talker(rc, room) {
  let turn = 0;
  let until = 0;
  const status = (text) => rc.setStatus({ text }).catch(() => {});
  status("listens");
  room.on("message", (_, from) => {
    if (!from || isBot(room, from.id) || Date.now() < until) return;
    until = Date.now() + 2_000;
    status("writes");
    setTimeout(() => {
      send(room, ANSWERS[turn++ % ANSWERS.length]);
      status("listens");
    }, 900);
  });
}
