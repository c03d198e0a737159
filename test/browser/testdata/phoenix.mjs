// Random steps of users on three pods. On each pod, one connection watches, with client.js; what it
// receives is also folded with the functions that Phoenix applications use. Both must agree with a
// model. Arguments: client.js, phoenix.mjs, number of steps, seed, and the URLs of the pods.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { isDeepStrictEqual } from "node:util";

const [clientFile, phoenixFile, stepCount, seed, ...pods] = process.argv.slice(2);
const { Rollcall } = await import(`data:text/javascript,${encodeURIComponent(readFileSync(clientFile, "utf8"))}`);
const { Presence } = await import(pathToFileURL(phoenixFile));

const CHANNELS = ["red", "green", "blue", "black"];
const USERS = 20;
const CHECKS = 2;
const PATIENCE = 30_000; // ms

// mulberry32, so that a run can be repeated
let state = Number(seed);
function random(n) {
  state = (state + 0x6d2b79f5) | 0;
  let x = Math.imul(state ^ (state >>> 15), 1 | state);
  x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
  return ((x ^ (x >>> 14)) >>> 0) % n;
}

const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
function sign({ id, email, info }) {
  const text = `${encode({ alg: "HS256", typ: "JWT" })}.${encode({ sub: id, email, info, exp: Math.floor(Date.now() / 1000) + 3600 })}`;
  return `${text}.${createHmac("sha256", "rollcall-demo-secret-0123456789abcdef").update(text).digest("base64url")}`;
}

// Fold applies frames of one channel as a Phoenix application does. A change of a member is another
// meta in place of the old one.
class Fold {
  state = {};
  refs = new Map();

  receive({ type, seq, members, joined = [], left = [], updated = [] }) {
    if (type == "joined") {
      this.seq = seq;
      this.refs.clear();
      this.state = Presence.syncState(this.state, Object.fromEntries(members.map((m) => [m.id, this.come(m)])));
    } else if (seq == this.seq + 1) { // otherwise, the snapshot covers it, or another one is asked for
      this.seq = seq;
      const leaves = Object.fromEntries([...left, ...updated].map((m) => [m.id, { metas: [{ phx_ref: this.refs.get(m.id) }] }]));
      const joins = Object.fromEntries([...joined, ...updated].map((m) => [m.id, this.come(m)]));
      this.state = Presence.syncDiff(this.state, { joins, leaves });
    }
  }

  come(m) {
    const ref = `${this.seq}/${m.id}`;
    this.refs.set(m.id, ref);
    return { metas: [{ phx_ref: ref, ...m }] };
  }

  list() {
    return sorted(Presence.list(this.state, (_, { metas }) => metas).flat().map(({ phx_ref, ...m }) => m));
  }
}
const sorted = (list) => [...list].sort((a, b) => (a.id < b.id ? -1 : 1));

// Actor is a connection that takes part, without client.js.
const Native = WebSocket;
class Actor {
  channels = new Set();
  commands = new Map();
  id = 0;

  static open(pod, user) {
    const actor = new Actor();
    actor.ws = new Native(`${pod.replace("http", "ws")}/message/socket`, "rollcall.v1");
    actor.ws.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      const settle = actor.commands.get(frame.id);
      actor.commands.delete(frame.id);
      if (frame.type == "error") throw new Error(data);
      settle?.(frame);
    };
    return new Promise((done) => { actor.ws.onopen = done; }).then(() => actor.login(user)).then(() => actor);
  }

  command(frame) {
    const id = ++this.id;
    return new Promise((done) => {
      this.commands.set(id, done);
      this.ws.send(JSON.stringify({ ...frame, id }));
    });
  }

  login(user) {
    return this.command({ type: "authenticate", token: sign(user) });
  }
}

// The model: what is known of each user, and the channels of each connection.
const users = Array.from({ length: USERS }, (_, i) => ({ id: `user-${i}`, email: `user-${i}@example.com`, info: { n: 0 } }));
const watcherOf = (pod) => ({ id: `watcher-${pod}`, email: `watcher-${pod}@example.com`, info: { watches: true } });
const expected = (channel) => sorted([
  ...pods.map((_, i) => watcherOf(i)),
  ...users.filter((u) => u.actors.some((a) => a.channels.has(channel))).map(({ actors, ...m }) => m),
]);

const folds = new Map(); // by URL of the socket and channel
globalThis.WebSocket = class extends Native {
  constructor(url, protocol) {
    super(url, protocol);
    this.addEventListener("message", ({ data }) => {
      const frame = JSON.parse(data);
      const fold = folds.get(`${url} ${frame.channel}`);
      if (frame.type == "joined" || frame.type == "presence") fold.receive(frame);
    });
  }
};
const watchers = pods.map((pod, i) => {
  const rc = new Rollcall({ url: `${pod}/message/socket`, getToken: () => sign(watcherOf(i)) });
  return CHANNELS.map((channel) => {
    folds.set(`${rc.url} ${channel}`, new Fold());
    return rc.join(channel, { presence: "list" });
  });
}).flat();
await Promise.all(watchers.map((ch) => ch.ready));
for (const u of users) u.actors = await Promise.all(pods.map((pod) => Actor.open(pod, u)));

const listOf = (ch) => sorted(ch.members.values());
const agrees = (ch) => ch.synced && ch.count == expected(ch.name).length && isDeepStrictEqual(listOf(ch), expected(ch.name));
async function check() {
  const deadline = Date.now() + PATIENCE;
  while (!watchers.every(agrees) && Date.now() < deadline) await new Promise((done) => setTimeout(done, 20));
  for (const ch of watchers) {
    const pod = ch._room.rc.url;
    assert.deepEqual(listOf(ch), expected(ch.name), `client.js, ${pod} ${ch.name}`);
    assert.deepEqual(folds.get(`${pod} ${ch.name}`).list(), expected(ch.name), `phoenix, ${pod} ${ch.name}`);
  }
}

const did = { join: 0, leave: 0, status: 0, info: 0 };
async function step(u) {
  const n = random(100);
  if (n >= 60) return change(u, n < 80);
  const actor = u.actors[random(pods.length)];
  const channel = CHANNELS[random(CHANNELS.length)];
  const type = actor.channels.has(channel) ? "leave" : "join";
  did[type]++;
  actor.channels[type == "join" ? "add" : "delete"](channel);
  await actor.command({ type, channel });
}

// change changes what is known of a user, from a random pod, whether or not the user is in a channel
// there.
async function change(u, status) {
  const actor = u.actors[random(pods.length)];
  if (status) {
    did.status++;
    const status = random(4) ? { at: did.status } : null;
    if (status) u.status = status;
    else delete u.status;
    await actor.command({ type: "status", status });
  } else {
    u.info = { n: ++did.info };
    await actor.login(u);
  }
}

await check();
const batches = Math.ceil(stepCount / USERS);
for (let i = 1; i <= batches; i++) {
  await Promise.all(users.map(step));
  if (i % Math.ceil(batches / CHECKS) && i != batches) continue;
  // In a burst, the clock of a pod may be ahead of time by some milliseconds. These are the last ones.
  await new Promise((done) => setTimeout(done, 200));
  await Promise.all(users.map((u) => change(u, true)));
  await Promise.all(users.map((u) => change(u, false)));
  await check();
}
console.log(JSON.stringify(did));
process.exit(0);
