// Tests of channels: joining, snapshots, presence frames and leaving.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ADA, BOB, FakeSocket, RollcallError, dice, ids, inRoom, joined, open, presence, settle, start, tick } from "./harness.mjs";

test("a snapshot gives members, kind and count", async () => {
  const { ch, rc } = await inRoom();
  assert.equal(await ch.ready, ch);
  assert.deepEqual([ids(ch), ch.count, ch.kind, ch.synced], [["ada"], 1, "authenticated", true]);
  assert.equal(rc.channels.get("room"), ch);
});

test("presence none has no count", async () => {
  const { rc, ws } = await open();
  const ch = rc.join("room");
  assert.equal(ws.find("join").presence, "none");
  ws.answer("join", { type: "joined", channel: "room", kind: "anonymous" });
  await ch.ready;
  assert.deepEqual([ch.count, ch.kind, ch.synced], [null, "anonymous", true]);
});

test("presence count keeps no members", async () => {
  const { rc, ws } = await open();
  const ch = rc.join("room", { presence: "count" });
  ws.answer("join", { type: "joined", channel: "room", kind: "authenticated", seq: 7, count: 1 });
  await ch.ready;
  ws.receive(presence("room", 8, { joined: [BOB], count: 2 }));
  assert.deepEqual([ids(ch), ch.count], [[], 2]);
});

test("presence frames change the members", async () => {
  const { ch, ws, events } = await inRoom();
  let changes = 0;
  ch.on("change", () => changes++);
  ws.receive(presence("room", 8, { joined: [BOB], count: 2 }));
  assert.deepEqual([ids(ch), ch.count], [["ada", "bob"], 2]);
  ws.receive(presence("room", 9, { updated: [{ id: "bob", email: "b@example.com" }], count: 2 }));
  assert.equal(ch.members.get("bob").email, "b@example.com");
  ws.receive(presence("room", 10, { left: [ADA], count: 1 }));
  assert.deepEqual([ids(ch), ch.count], [["bob"], 1]);
  assert.deepEqual(events.map(([e, v]) => [e, v.id]), [["join", "bob"], ["update", "bob"], ["leave", "ada"]]);
  assert.equal(changes, 3);
});

test("a frame that the snapshot covers is ignored", async () => {
  const { ch, ws, events } = await inRoom();
  ws.receive(presence("room", 7, { left: [ADA], count: 0 }));
  assert.deepEqual([ids(ch), ch.count, events], [["ada"], 1, []]);
});

test("a missing frame leads to a new snapshot", async () => {
  const { ch, ws, events } = await inRoom();
  ws.receive(presence("room", 9, { joined: [BOB], count: 2 }));
  assert.equal(ch.synced, false);
  assert.equal(ws.count("join"), 2);
  ws.receive(presence("room", 10, { left: [ADA], count: 1 }));
  assert.equal(ws.count("join"), 2, "one request is enough");
  ws.answer("join", joined("room", 10, [BOB]));
  await settle();
  assert.deepEqual([ids(ch), ch.count, ch.synced], [["bob"], 1, true]);
  assert.deepEqual(events.map(([e]) => e), ["sync"]);
});

test("frames that overtake the snapshot are applied after it", async () => {
  const { rc, ws } = await open();
  const ch = rc.join("room", { presence: "list" });
  const log = [];
  for (const event of ["sync", "join"]) ch.on(event, () => log.push(event));
  ws.receive(presence("room", 7, { joined: [ADA], count: 1 }));
  ws.receive(presence("room", 8, { joined: [BOB], count: 2 }));
  ws.answer("join", joined("room", 7, [ADA]));
  await settle();
  assert.deepEqual([ids(ch), ch.count], [["ada", "bob"], 2]);
  assert.deepEqual(log, ["sync", "join"]);
});

test("a listener may leave while frames are waiting", async () => {
  const { rc, ws } = await open();
  const ch = rc.join("room", { presence: "list" });
  ch.on("sync", () => ch.leave());
  ws.receive(presence("room", 8, { joined: [BOB], count: 2 }));
  ws.answer("join", joined("room", 7, [ADA]));
  await settle();
  assert.equal(rc.channels.size, 0);
  assert.equal(ws.count("leave"), 1);
});

test("a listener can be removed", async () => {
  const { ch, ws } = await inRoom();
  let calls = 0;
  const off = ch.on("join", () => calls++);
  ws.receive(presence("room", 8, { joined: [BOB], count: 2 }));
  off();
  ws.receive(presence("room", 9, { joined: [{ id: "c", email: "" }], count: 3 }));
  assert.equal(calls, 1);
});

test("a refused join ends the channel with the code", async () => {
  const { rc, ws } = await open();
  const ch = rc.join("salesRoom", { presence: "list" });
  const errors = [];
  ch.on("error", (e) => errors.push(e));
  ws.answer("join", { type: "error", code: "login_required", message: "log in first" });
  await assert.rejects(ch.ready, { code: "login_required", message: "log in first" });
  assert.ok(errors[0] instanceof RollcallError);
  assert.equal(errors[0].code, "login_required");
  assert.equal(rc.channels.size, 0);
});

test("a refused join that is not awaited is not an unhandled rejection", async () => {
  const { rc, ws } = await open();
  rc.join("salesRoom");
  ws.answer("join", { type: "error", code: "denied", message: "" });
  await settle(); // node:test fails on an unhandled rejection
  assert.equal(rc.channels.size, 0);
});

for (const code of ["rate_limited", "unavailable"]) {
  test(`a join that failed with ${code} is retried`, async () => {
    const { rc, ws } = await open();
    const ch = rc.join("room", { presence: "list" });
    ws.answer("join", { type: "error", code, message: "" });
    await settle();
    assert.equal(ws.count("join"), 1);
    await tick(500);
    assert.equal(ws.count("join"), 2);
    ws.answer("join", joined("room", 1, []));
    assert.equal(await ch.ready, ch);
  });
}

test("an unanswered join is retried, and a late answer to the first is ignored", async () => {
  const { rc, ws } = await open();
  const ch = rc.join("room", { presence: "list" });
  const first = ws.find("join").id;
  ws.receive({ type: "pong" });
  await tick(10_000);
  await tick(500);
  assert.equal(ws.count("join"), 2);
  ws.receive({ ...joined("room", 1, [ADA]), id: first });
  await settle();
  assert.equal(ch.synced, false);
  ws.answer("join", joined("room", 2, [BOB]));
  await settle();
  assert.deepEqual(ids(ch), ["bob"]);
});

test("leaving sends a frame and ends the channel at once", async () => {
  const { rc, ch, ws, events } = await inRoom();
  const gone = ch.leave();
  assert.deepEqual([rc.channels.size, ch.members.size, ch.synced], [0, 0, false]);
  ws.receive(presence("room", 8, { joined: [BOB], count: 2 }));
  ws.answer("leave", { type: "left", channel: "room" });
  await gone;
  assert.deepEqual(events, []);
  await ch.leave();
  assert.equal(ws.count("leave"), 1);
});

test("leaving is retried after a temporary refusal", async () => {
  const { ch, ws } = await inRoom();
  const gone = ch.leave();
  ws.answer("leave", { type: "error", code: "rate_limited", message: "" });
  await tick(500);
  assert.equal(ws.count("leave"), 2);
  ws.answer("leave", { type: "left", channel: "room" });
  await gone;
});

test("a late answer to leaving does not end a channel that was joined since", async () => {
  const { rc, ch, ws } = await inRoom();
  ch.leave();
  const { id } = ws.find("leave");
  await tick(10_000);
  const again = rc.join("room", { presence: "list" });
  ws.receive({ type: "left", channel: "room", id });
  ws.answer("join", joined("room", 9, [BOB]));
  assert.equal(await again.ready, again);
  assert.deepEqual(ids(again), ["bob"]);
  await tick(1_000);
  assert.equal(ws.count("leave"), 1, "the leave is no longer wanted");
});

test("a join that waits for its retry is dropped when the channel is left", async () => {
  const { rc, ws } = await open();
  const ch = rc.join("room");
  ws.answer("join", { type: "error", code: "unavailable", message: "" });
  await settle();
  ch.leave();
  await tick(60_000);
  assert.equal(ws.count("join"), 1);
});

test("a channel left and joined again applies only the newer snapshot", async () => {
  const { rc, ws } = await open();
  const first = rc.join("room", { presence: "list" });
  const old = ws.find("join").id;
  first.leave();
  const second = rc.join("room", { presence: "list" });
  ws.receive({ ...joined("room", 3, [ADA]), id: old });
  await settle();
  assert.equal(second.synced, false);
  ws.answer("join", joined("room", 4, [BOB]));
  await settle();
  assert.deepEqual([ids(first), ids(second)], [[], ["bob"]]);
  await assert.rejects(first.ready, { code: "left" });
});

test("a withdrawn permission ends the channel", async () => {
  const { rc, ch, ws, events } = await inRoom();
  ws.receive({ type: "left", channel: "room", reason: "denied" });
  assert.deepEqual(events.map(([e, v]) => [e, v.code]), [["error", "denied"]]);
  assert.deepEqual([rc.channels.size, ch.members.size, ch.count], [0, 0, null]);
  ws.end(1006);
  await tick(500);
  FakeSocket.last.welcome();
  await settle();
  assert.equal(FakeSocket.last.count("join"), 0);
});

test("an error frame for no command is an error event", async () => {
  const { rc, ws } = await open();
  const errors = [];
  rc.on("error", (e) => errors.push(e.code));
  ws.receive({ type: "error", code: "bad_frame", message: "" });
  assert.deepEqual(errors, ["bad_frame"]);
});

const WINDOW = 32; // maximum of unanswered joins and leaves

// answerJoins answers the unanswered joins, and returns their number.
function answerJoins(ws, frame = (f) => ({ type: "joined", channel: f.channel, kind: "anonymous" })) {
  const asked = ws.sent.filter((f) => f.type == "join" && !f.answered);
  for (const f of asked) {
    f.answered = true;
    ws.receive({ ...frame(f), id: f.id });
  }
  return asked.length;
}

// answerAll answers joins until no more come, and returns their number.
async function answerAll(ws) {
  let all = 0;
  for (let n; (n = answerJoins(ws)); await settle()) all += n;
  return all;
}

// Timers do not run in these tests: timers of a hidden page are slow.
test("many channels are joined in bursts, without a timer", async () => {
  const { rc } = start();
  const all = Array.from({ length: 128 }, (_, i) => rc.join(`room-${i}`));
  for (const connection of [1, 2]) {
    const ws = FakeSocket.last;
    ws.welcome();
    await settle();
    for (let burst = 0; burst < 128 / WINDOW; burst++) {
      assert.equal(answerJoins(ws), WINDOW, `burst ${burst} of connection ${connection}`);
      await settle();
    }
    assert.ok(all.every((ch) => ch.synced));
    ws.end(4200);
    await tick(0);
  }
});

test("channels joined one by one on an open connection are sent in bursts, too", async () => {
  const { rc, ws } = await open();
  for (let i = 0; i < 100; i++) rc.join(`room-${i}`);
  assert.equal(ws.count("join"), WINDOW);
  ws.answer("join", { type: "joined", kind: "anonymous" });
  await settle();
  assert.equal(ws.count("join"), WINDOW + 1);
});

test("many channels are left in bursts, too", async () => {
  const { rc, ws } = await open();
  const all = Array.from({ length: 50 }, (_, i) => rc.join(`room-${i}`));
  assert.equal(await answerAll(ws), 50);
  const gone = all.map((ch) => ch.leave());
  assert.equal(ws.count("leave"), WINDOW);
  for (let i = 0; i < 50; i++) {
    ws.receive({ type: "left", id: ws.sent.filter((f) => f.type == "leave")[i].id });
    await settle();
  }
  await Promise.all(gone);
});

test("joins that are rate limited delay the others", async () => {
  const { rc, ws } = await open();
  for (let i = 0; i < 100; i++) rc.join(`room-${i}`);
  const limited = () => ({ type: "error", code: "rate_limited", message: "" });
  assert.equal(answerJoins(ws, limited), WINDOW);
  await settle();
  assert.equal(ws.count("join"), WINDOW);
  await tick(500);
  assert.equal(answerJoins(ws, limited), 1, "one tries it");
  await tick(499);
  assert.equal(answerJoins(ws), 0);
  await tick(4_000);
  const bursts = [];
  for (let n; (n = answerJoins(ws)); await settle()) bursts.push(n);
  assert.deepEqual(bursts.slice(0, 5), [1, 2, 4, 8, 16]);
  assert.equal([...rc.channels.values()].filter((ch) => ch.synced).length, 100);
});

test("joins that are unavailable do not delay the others", async () => {
  const { rc, ws } = await open();
  for (let i = 0; i < 40; i++) rc.join(`room-${i}`);
  answerJoins(ws, () => ({ type: "error", code: "unavailable", message: "" }));
  await settle();
  assert.equal(answerJoins(ws), 40 - WINDOW);
});

test("queued joins are not delayed by joins of a lost connection", async () => {
  const { rc, ws } = await open();
  for (let i = 0; i < 100; i++) rc.join(`room-${i}`);
  answerJoins(ws, () => ({ type: "error", code: "rate_limited", message: "" }));
  await settle();
  ws.end(4200);
  await tick(0);
  FakeSocket.last.welcome();
  await settle();
  assert.equal(await answerAll(FakeSocket.last), 100);
});

test("a channel that was left in the meantime is not joined", async () => {
  const { rc } = start();
  for (let i = 0; i < WINDOW; i++) rc.join(`room-${i}`);
  const late = rc.join("late");
  const ws = FakeSocket.last;
  ws.welcome();
  await settle();
  late.leave();
  assert.equal(await answerAll(ws), WINDOW);
  assert.ok(!ws.sent.some((f) => f.type == "join" && f.channel == "late"));
});

test("a channel joined by a listener of the state is joined once", async () => {
  const { rc } = start();
  rc.on("state", ({ state }) => state == "open" && rc.join("room"));
  FakeSocket.last.welcome();
  await settle();
  assert.equal(FakeSocket.last.count("join"), 1);
});

test("half a surrogate pair is not a name", async () => {
  const { rc, ws } = await open();
  const errors = [];
  rc.join("\u{1f600}\ud83d").on("error", (e) => errors.push(e.code));
  await settle();
  assert.deepEqual([errors, rc.channels.size], [["bad_channel"], 0]);
  await assert.rejects(rc.send(["room", "\ude00"], {}), { code: "bad_channel" });
  assert.deepEqual(ws.sent, []);
  rc.join("\u{1f600}");
  rc.send(["\ud83d\ude00"], {}).catch(() => {});
  assert.deepEqual(ws.sent.map((f) => f.type), ["join", "send"]);
});

test("a channel joined on a closed connection is not ready until connect", async () => {
  const { rc, ws } = await open();
  ws.end(4003);
  const ch = rc.join("room");
  await assert.rejects(ch.ready, { code: "closed" });
  rc.connect();
  FakeSocket.last.welcome();
  await settle();
  answerJoins(FakeSocket.last);
  assert.equal(await ch.ready, ch);
});

test("a connection lost while channels are joined leaves nothing behind", async () => {
  const { rc } = start();
  for (let i = 0; i < 4; i++) rc.join(`room-${i}`);
  FakeSocket.last.welcome();
  await settle();
  dice.value = 0;
  FakeSocket.last.end(1006);
  await tick(0);
  const ws = FakeSocket.last;
  ws.welcome();
  for (let i = 0; i < 6; i++) await tick(25);
  assert.deepEqual(ws.sent.map((f) => f.channel), ["room-0", "room-1", "room-2", "room-3"]);
});

test("a presence frame after a reload has another kind", async () => {
  const { ch, ws } = await inRoom();
  let changes = 0;
  ch.on("change", () => changes++);
  assert.equal(ch.kind, "authenticated");
  ws.receive({ type: "presence", channel: "room", seq: 8, kind: "anonymous", joined: [], left: [ADA], count: 1 });
  assert.deepEqual([ch.kind, ch.count, ids(ch), changes], ["anonymous", 1, [], 1]);
  ws.receive({ type: "presence", channel: "room", seq: 9, joined: [], left: [], count: 2 });
  assert.equal(ch.kind, "anonymous", "a frame without a kind leaves it");
});
