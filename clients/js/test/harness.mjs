// Shared by the tests of client.js: a scripted server and a clock. The tests need Node.js 20 or
// later, and no packages: node --test *_test.mjs
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, mock } from "node:test";

const ORIGIN = "https://portal.example.com/message/client.js?v=1";
const source = readFileSync(new URL("../rollcall.js", import.meta.url), "utf8");
let loads = 0;
// load returns the module as if it was loaded from a URL, or from a bundle without one.
export const load = (url, script = source) => import(`data:text/javascript,${encodeURIComponent(
  `//${loads++}\n${script.replaceAll("import.meta.url", JSON.stringify(url) ?? "undefined")}`)}`);
export const { Rollcall, RollcallError } = await load(ORIGIN);

// FakeSocket is the browser's WebSocket; a test plays the server.
export class FakeSocket {
  static all = [];
  static get last() { return FakeSocket.all.at(-1); }
  readyState = 0;
  sent = [];

  constructor(url, protocol) {
    Object.assign(this, { url: String(url), protocol });
    FakeSocket.all.push(this);
  }

  send(text) { this.sent.push(JSON.parse(text)); }
  close() { this.readyState = 3; }

  receive(frame) { this.onmessage({ data: JSON.stringify(frame) }); }
  welcome(more) {
    this.readyState = 1;
    this.receive({ type: "welcome", connection: "C1", channel: "tab|C1", user: null, ping: 25, ...more });
  }
  end(code, reason = "") {
    this.readyState = 3;
    this.onclose({ code, reason });
  }
  find(type, channel) { return this.sent.findLast((f) => f.type == type && (!channel || f.channel == channel)); }
  count(type) { return this.sent.filter((f) => f.type == type).length; }
  // Answers the newest command of a type.
  answer(type, frame, channel) { this.receive({ ...frame, id: this.find(type, channel).id }); }
}

export const ADA = { id: "ada", email: "ada@example.com" };
export const BOB = { id: "bob", email: "bob@example.com" };

// dice.value is what Math.random returns.
export const dice = { value: 0.5 };
let clients;
beforeEach(() => {
  FakeSocket.all = [];
  clients = [];
  dice.value = 0.5;
  globalThis.WebSocket = FakeSocket;
  mock.method(Math, "random", () => dice.value);
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_800_000_000_000 });
});
afterEach(() => {
  clients.forEach((rc) => rc.close());
  mock.timers.reset();
  mock.restoreAll();
});

// settle waits until no promise can make progress; setImmediate is not mocked.
export const settle = async () => {
  for (let i = 0; i < 3; i++) await new Promise((done) => setImmediate(done));
};
export const tick = async (ms) => {
  await settle();
  mock.timers.tick(ms);
  await settle();
};

export function start(options) {
  const rc = new Rollcall(options);
  const states = [];
  rc.on("state", (s) => states.push(s));
  clients.push(rc);
  return { rc, states };
}

export async function open(options, welcome) {
  const started = start(options);
  await settle();
  FakeSocket.last.welcome(welcome);
  await settle();
  return { ...started, ws: FakeSocket.last };
}

export const joined = (channel, seq, members, more) => ({
  type: "joined", channel, kind: "authenticated", seq, members, count: members.length, ...more,
});
export const presence = (channel, seq, more) => ({ type: "presence", channel, seq, joined: [], left: [], count: 0, ...more });

// inRoom returns a client in the channel "room" at seq 7 with Ada.
export async function inRoom(options) {
  const opened = await open(options);
  const ch = opened.rc.join("room", { presence: "list" });
  opened.ws.answer("join", joined("room", 7, [ADA]));
  await settle();
  const events = [];
  for (const event of ["sync", "join", "leave", "update", "error"]) ch.on(event, (v) => events.push([event, v]));
  return { ...opened, ch, events };
}

export const ids = (ch) => [...ch.members.keys()];
