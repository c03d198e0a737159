// Tests of connecting, staying connected, and connecting again.
import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { BOB, FakeSocket, dice, ids, inRoom, joined, load, open, presence, Rollcall, settle, start, tick } from "./harness.mjs";

test("the default URL is the socket next to client.js, with wss for https", () => {
  const { rc } = start();
  assert.equal(FakeSocket.last.url, "wss://portal.example.com/message/socket");
  assert.equal(FakeSocket.last.protocol, "rollcall.v1");
  assert.equal(rc.state, "connecting");
});

test("a URL may be relative, http or ws", () => {
  for (const [url, want] of [
    ["/chat/socket", "wss://portal.example.com/chat/socket"],
    ["http://localhost:8080/message/socket", "ws://localhost:8080/message/socket"],
    ["ws://localhost/s", "ws://localhost/s"],
  ]) {
    start({ url });
    assert.equal(FakeSocket.last.url, want);
  }
});

test("the option WebSocket takes the place of the global one", () => {
  globalThis.WebSocket = undefined; // as in Node.js 20
  assert.throws(() => new Rollcall(), { name: "TypeError", message: /WebSocket/ });
  start({ WebSocket: class extends FakeSocket {} });
  assert.equal(FakeSocket.all.length, 1);
  assert.equal(typeof FakeSocket.last.onerror, "function", "ws ends Node.js after an error without a listener");
});

// Bundlers leave import.meta empty in scripts, and webpack writes the path of the source.
for (const [bundler, base] of [["a script", undefined], ["webpack", "file:///build/node_modules/client.js"],
  ["an ES module", "https://cdn.example.com/assets/app-1a2b.js?x=/client.js"], ["CommonJS", ""],
  ["the npm package", "http://localhost:5173/node_modules/rollcall-client/rollcall.js?v=1a2b"]]) {
  test(`a relative URL in a bundle of ${bundler} is relative to the page`, async (t) => {
    t.after(() => {
      delete globalThis.document;
      delete globalThis.location;
    });
    const connect = async (url) => {
      const rc = new (await load(base)).Rollcall({ url });
      t.after(() => rc.close());
      return FakeSocket.last.url;
    };
    await assert.rejects(connect("/message/socket"), TypeError, "Node.js has no page");
    assert.equal(await connect("wss://other.example.com/message/socket"), "wss://other.example.com/message/socket");
    globalThis.location = { href: "https://worker.example.com/js/worker.js" };
    assert.equal(await connect("/message/socket"), "wss://worker.example.com/message/socket");
    globalThis.document = { baseURI: "http://page.example.com/a/b.html" };
    assert.equal(await connect("/message/socket"), "ws://page.example.com/message/socket");
    assert.equal(await connect("socket"), "ws://page.example.com/a/socket");
    assert.equal(await connect(), "ws://page.example.com/message/socket", "the default");
  });
}

test("an anonymous connection is open at the welcome", async () => {
  const { rc, states } = await open();
  assert.deepEqual(states.map((s) => [s.state, s.reason]), [["open", "welcome"]]);
  assert.deepEqual([rc.connection, rc.tab, rc.user], ["C1", "tab|C1", null]);
  assert.deepEqual(FakeSocket.last.sent, []);
});

test("a lost connection is re-established, and its channels are rejoined", async () => {
  const { rc, ch, ws, states, events } = await inRoom();
  ws.end(1006);
  assert.deepEqual([ids(ch), ch.synced, rc.connection], [["ada"], false, null]);
  await tick(250);
  const next = FakeSocket.last;
  assert.notEqual(next, ws);
  next.welcome({ connection: "C2", channel: "tab|C2" });
  await settle();
  next.answer("join", joined("room", 1, [BOB]));
  await settle();
  assert.deepEqual([ids(ch), ch.synced, rc.connection], [["bob"], true, "C2"]);
  assert.deepEqual(states.map((s) => [s.state, s.reason, s.code, s.delay]), [
    ["open", "welcome", undefined, undefined],
    ["waiting", "lost", 1006, 250],
    ["connecting", "retry", undefined, undefined],
    ["open", "welcome", undefined, undefined],
  ]);
  assert.deepEqual(events.map(([e]) => e), ["sync"]);
});

test("waits grow with full jitter from 0.5 to 30 s", async () => {
  const { states } = start();
  const delays = () => states.filter((s) => s.state == "waiting").map((s) => s.delay);
  dice.value = 1;
  for (let i = 0; i < 9; i++) {
    FakeSocket.last.end(1006);
    await tick(30_000);
  }
  assert.deepEqual(delays(), [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
  dice.value = 0;
  FakeSocket.last.end(1006);
  assert.equal(delays().at(-1), 0);
});

test("a connection has to last before the next wait is short again", async () => {
  const { states } = await open();
  dice.value = 1;
  const lose = async (after) => {
    await tick(after);
    FakeSocket.last.end(1006);
    const { delay } = states.at(-1);
    await tick(delay);
    FakeSocket.last.welcome();
    await settle();
    return delay;
  };
  assert.equal(await lose(0), 500);
  assert.equal(await lose(4_000), 1000);
  assert.equal(await lose(4_000), 2000);
  assert.equal(await lose(5_000), 500);
});

test("a connection that gets no welcome times out", async () => {
  const { states } = start();
  const ws = FakeSocket.last;
  await tick(10_000);
  assert.deepEqual([states.at(-1).state, states.at(-1).reason], ["waiting", "timeout"]);
  assert.equal(ws.readyState, 3);
});

test("events of an old connection are ignored", async () => {
  const { rc, ws, ch } = await inRoom();
  await tick(25_000);
  await tick(10_000);
  assert.equal(rc.state, "waiting");
  ws.receive({ type: "left", channel: "room", reason: "denied" });
  ws.end(4003);
  assert.equal(rc.state, "waiting");
  assert.deepEqual(ids(ch), ["ada"]);
});

for (const [name, reason, want] of [
  ["is the wait", '{"after_ms":1234}', 1234],
  ["may be zero", '{"after_ms":0}', 0],
  ["has a limit", '{"after_ms":1e12}', 300_000],
  ["is optional", "", 250],
  ["must be a number", '{"after_ms":"soon"}', 250],
  ["must not be negative", '{"after_ms":-5}', 250],
  ["must be in an object", "null", 250],
]) {
  test(`after_ms of a draining server ${name}`, async () => {
    const { ws, states } = await open();
    ws.end(1012, reason);
    const { state, reason: why, code, delay } = states.at(-1);
    assert.deepEqual([state, why, code, delay], ["waiting", "draining", 1012, want]);
    await tick(want);
    assert.equal(FakeSocket.all.length, 2);
  });
}

for (const [code, reason] of [[4000, "lost"], [4002, "disconnected"], [4003, "origin"], [4005, "refused"], [4008, "limit"], [4099, "lost"]]) {
  test(`close code ${code} is final`, async () => {
    const { rc, ws, states } = await open();
    const waiting = rc.join("later");
    ws.end(code);
    assert.deepEqual(states.at(-1), { state: "closed", reason, code, delay: undefined });
    await assert.rejects(waiting.ready, { code: "closed" });
    await tick(3_600_000);
    assert.equal(FakeSocket.all.length, 1);
  });
}

for (const [code, reason] of [[4100, "slow_consumer"], [4108, "rate_limited"], [4110, "unavailable"], [4199, "lost"]]) {
  test(`close code ${code} backs off first`, async () => {
    const { ws, states } = await open();
    dice.value = 0;
    ws.end(code);
    assert.deepEqual(states.at(-1), { state: "waiting", reason, code, delay: 2000 });
    dice.value = 1;
    await tick(2000);
    FakeSocket.last.end(code);
    assert.equal(states.at(-1).delay, 8000);
    for (let i = 0; i < 6; i++) {
      await tick(30_000);
      FakeSocket.last.end(code);
    }
    assert.equal(states.at(-1).delay, 30_000);
  });
}

for (const code of [4200, 4299]) {
  test(`close code ${code} reconnects now, but not in a loop`, async () => {
    const { ws, states } = await open();
    ws.end(code);
    assert.deepEqual(states.at(-1), { state: "waiting", reason: "lost", code, delay: 0 });
    await tick(0);
    FakeSocket.last.welcome();
    await settle();
    FakeSocket.last.end(code);
    assert.equal(states.at(-1).delay, 500);
  });
}

for (const [code, reason] of [[1001, "going_away"], [1008, "policy"], [1009, "too_large"], [1011, "lost"], [1000, "lost"]]) {
  test(`close code ${code} is retried as ${reason}`, async () => {
    const { ws, states } = await open();
    ws.end(code);
    assert.deepEqual(states.at(-1), { state: "waiting", reason, code, delay: 250 });
  });
}

// tokens is a getToken that gives these, the last one for ever.

test("a silent server is probed after the ping interval, and the connection ends 10 s later", async () => {
  const { ws, states } = await open({}, { ping: 5 });
  await tick(4_999);
  assert.equal(ws.count("ping"), 0);
  await tick(1);
  assert.deepEqual(ws.sent, [{ type: "ping" }]);
  await tick(9_999);
  assert.equal(states.at(-1).state, "open");
  await tick(1);
  assert.deepEqual([states.at(-1).state, states.at(-1).reason, states.at(-1).code], ["waiting", "silent", 1006]);
  assert.equal(ws.readyState, 3);
});

test("anything received is a sign of life", async () => {
  const { ws, states } = await open({}, { ping: 5 });
  for (let i = 0; i < 10; i++) {
    await tick(4_000);
    ws.receive(presence("elsewhere", i));
  }
  assert.equal(ws.count("ping"), 0);
  await tick(14_000);
  ws.receive({ type: "pong" });
  await tick(14_000);
  assert.equal(ws.count("ping"), 2);
  assert.equal(states.at(-1).state, "open");
});

// network fires an event of the browser; online by default.
function network(t) {
  const target = new EventTarget();
  globalThis.addEventListener = target.addEventListener.bind(target);
  globalThis.removeEventListener = target.removeEventListener.bind(target);
  t.after(() => {
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
    delete globalThis.document;
  });
  return (type = "online") => target.dispatchEvent(new Event(type));
}

const SIGNS = ["online", "offline", "visibilitychange", "resume"];

for (const type of SIGNS) {
  test(`the event ${type} probes an open connection`, async (t) => {
    const event = network(t);
    const { ws, states } = await open();
    event(type);
    assert.deepEqual(ws.sent, [{ type: "ping" }]);
    await tick(4_000);
    ws.receive({ type: "pong" });
    await tick(24_000);
    assert.deepEqual([states.at(-1).state, ws.count("ping")], ["open", 1]);
    event(type);
    await tick(4_999);
    assert.equal(states.at(-1).state, "open");
    await tick(1);
    assert.deepEqual([states.at(-1).state, states.at(-1).reason], ["waiting", "silent"]);
    assert.equal(ws.readyState, 3);
  });
}

test("a page that is hidden does not probe", async (t) => {
  const event = network(t);
  const { ws } = await open();
  globalThis.document = { hidden: true };
  event("visibilitychange");
  assert.deepEqual(ws.sent, []);
  globalThis.document.hidden = false;
  event("visibilitychange");
  assert.equal(ws.count("ping"), 1);
});

test("only an answer ends a probe", async (t) => {
  const event = network(t);
  const { ws, states } = await open();
  event("offline");
  for (let i = 0; i < 3; i++) {
    await tick(1_000);
    ws.receive(presence("elsewhere", i)); // it was in flight
  }
  await tick(4_999);
  assert.equal(states.at(-1).state, "open");
  await tick(1);
  assert.equal(states.at(-1).reason, "silent");
});

test("an error answers a probe, too", async (t) => {
  const event = network(t);
  const { rc, ws } = await open();
  event("online");
  ws.receive({ type: "error", code: "rate_limited", message: "" });
  await tick(20_000);
  assert.equal(rc.state, "open");
});

test("a command that times out probes the connection", async () => {
  const { rc, ch, ws, states } = await inRoom();
  const failed = assert.rejects(ch.send({}), { code: "timeout" });
  await tick(10_000);
  await failed;
  assert.equal(ws.count("ping"), 1);
  const later = assert.rejects(ch.send({}), { code: "offline" });
  await tick(5_000);
  await later;
  assert.deepEqual([states.at(-1).state, states.at(-1).reason], ["waiting", "silent"]);
  assert.equal(rc.state, "waiting");
});

test("further commands that time out do not delay the end", async () => {
  const { ch, ws, states } = await inRoom();
  const failed = [];
  for (let s = 0; s < 15; s++) {
    failed.push(assert.rejects(ch.send({})));
    await tick(1_000);
  }
  assert.deepEqual([states.at(-1).state, states.at(-1).reason, ws.count("ping")], ["waiting", "silent", 1]);
  await Promise.all(failed);
});

for (const [type, reason] of [["visibilitychange", "visible"], ["resume", "visible"], ["online", "online"]]) {
  test(`the event ${type} shortens the wait`, async (t) => {
    const event = network(t);
    const { states } = start();
    dice.value = 1;
    for (let i = 0; i < 8; i++) {
      FakeSocket.last.end(1006);
      if (i < 7) await tick(30_000);
    }
    dice.value = 0.5;
    event("offline");
    assert.equal(states.at(-1).delay, 30_000);
    event(type);
    assert.deepEqual(states.at(-1), { state: "waiting", reason, code: 1006, delay: 250 });
  });
}

test("a network that is back shortens the wait, with jitter", async (t) => {
  const online = network(t);
  const { rc, states } = start();
  for (let i = 0; i < 8; i++) {
    FakeSocket.last.end(1006);
    if (i < 7) await tick(30_000);
  }
  assert.equal(states.at(-1).delay, 15_000);
  online();
  assert.deepEqual(states.at(-1), { state: "waiting", reason: "online", code: 1006, delay: 250 });
  const before = FakeSocket.all.length;
  await tick(250);
  assert.equal(FakeSocket.all.length, before + 1);
  FakeSocket.last.welcome();
  await tick(20_000);
  assert.equal(FakeSocket.all.length, before + 1, "the old timer is gone");
});

test("a closed client no longer listens to the network", async (t) => {
  network(t);
  const remove = mock.method(globalThis, "removeEventListener");
  const add = mock.method(globalThis, "addEventListener");
  const { rc } = start();
  rc.close();
  const named = (m) => m.mock.calls.map((call) => call.arguments);
  assert.deepEqual(named(add).map(([type, , capture]) => [type, capture]), SIGNS.map((type) => [type, true])); // resume does not bubble
  assert.deepEqual(named(remove), named(add));
});

test("a wait that the server asked for is kept when the network is back", async (t) => {
  const online = network(t);
  const { ws, states } = await open();
  ws.end(1012, '{"after_ms":9000}');
  online();
  assert.deepEqual([states.at(-1).reason, states.at(-1).delay], ["draining", 9000]);
});

test("close ends everything, connect resumes with the same channels", async () => {
  const { rc, ch, ws, states } = await inRoom();
  rc.close();
  assert.equal(ws.readyState, 3);
  assert.deepEqual(states.at(-1), { state: "closed", reason: "closed", code: 1000, delay: undefined });
  await tick(3_600_000);
  assert.equal(FakeSocket.all.length, 1);
  rc.connect();
  FakeSocket.last.welcome();
  await settle();
  FakeSocket.last.answer("join", joined("room", 1, [BOB]));
  assert.equal(await ch.ready, ch);
  assert.deepEqual(ids(ch), ["bob"]);
});

test("connect ends the wait, and does nothing while connected", async () => {
  const { rc, ws } = await open();
  rc.connect();
  assert.equal(FakeSocket.all.length, 1);
  ws.end(4100);
  rc.connect();
  assert.equal(FakeSocket.all.length, 2);
  rc.connect();
  await tick(9_000);
  assert.equal(FakeSocket.all.length, 2);
});

test("a listener may close the connection at any state", async () => {
  for (const state of ["connecting", "open", "waiting"]) {
    FakeSocket.all = [];
    const { rc } = start();
    const off = rc.on("state", (s) => {
      if (s.state != state) return;
      off(); // once: later states come without it
      rc.close();
    });
    rc.join("room");
    FakeSocket.last.welcome();
    await settle();
    FakeSocket.last.end(1006);
    for (let i = 0; i < 3; i++) await tick(60_000); // a timer that a timer sets counts from the end of the tick
    assert.equal(rc.state, "closed", state);
    assert.equal(FakeSocket.all.length, 1, state);
  }
});
