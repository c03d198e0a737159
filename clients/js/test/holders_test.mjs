// Tests of channels with several holders, of channels that the server joins, and of channels that
// list nobody.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ADA, BOB, FakeSocket, dice, ids, inRoom, joined, open, presence, settle, tick } from "./harness.mjs";

// watch returns the events of a channel.
function watch(ch) {
  const events = [];
  for (const e of ["sync", "change", "join", "leave", "update", "message", "error"])
    ch.on(e, (v) => events.push(e == "error" ? `error ${v.code}` : v.id ? `${e} ${v.id}` : e));
  return events;
}
const asked = (ws) => ws.sent.filter((f) => f.type == "join" || f.type == "leave").map((f) => f.presence ?? f.type);
const counted = (seq, count) => ({ type: "joined", channel: "room", kind: "authenticated", seq, count });
const plain = { type: "joined", channel: "room", kind: "authenticated" };
const members = (ch) => [ids(ch), ch.count, ch.synced];
// pong answers a ping, if there was one.
const pong = (ws) => ws.count("ping") && ws.answer("ping", { type: "pong" });

test("each holder sees what it asked for, and the server is asked for the most", async () => {
  const { rc, ws } = await open();
  const none = rc.join("room");
  ws.answer("join", plain);
  await none.ready;
  const list = rc.join("room", { presence: "list" });
  ws.answer("join", joined("room", 7, [ADA]));
  await list.ready;
  const count = rc.join("room", { presence: "count" });
  const events = [none, list, count].map(watch);
  await count.ready;
  assert.deepEqual(asked(ws), ["none", "list"]);
  assert.deepEqual([none, list, count].map(members), [[[], null, true], [["ada"], 1, true], [[], 1, true]]);
  assert.deepEqual(events.splice(0), [[], [], ["sync", "change"]], "the others have it already");
  events.push(...[none, list, count].map(watch));
  ws.receive(presence("room", 8, { joined: [BOB], count: 2 }));
  ws.receive({ type: "message", channel: "room", from: null, message: {} });
  assert.deepEqual([none, list, count].map(members), [[[], null, true], [["ada", "bob"], 2, true], [[], 2, true]]);
  const seen = ["join bob", "change", "message"];
  assert.deepEqual(events, [["message"], seen, seen]);
});

test("a channel is left by its last holder, and one that leaves takes nothing from the others", async () => {
  const { rc, ws, ch } = await inRoom();
  const other = rc.join("room", { presence: "list" });
  await other.ready;
  const gone = watch(ch);
  const stays = watch(other);
  await ch.leave();
  await ch.leave();
  ws.receive(presence("room", 8, { joined: [BOB], count: 2 }));
  assert.deepEqual([gone, stays], [[], ["join bob", "change"]]);
  assert.deepEqual([members(ch), members(other)], [[[], null, false], [["ada", "bob"], 2, true]]);
  assert.equal(rc.channels.get("room"), other);
  assert.deepEqual(asked(ws), ["list"]);
  other.leave();
  assert.deepEqual([asked(ws), rc.channels.size], [["list", "leave"], 0]);
});

test("the server is asked for less when nobody wants more", async () => {
  const { rc, ws, ch } = await inRoom();
  const count = rc.join("room", { presence: "count" });
  const none = rc.join("room");
  ch.leave();
  ws.answer("join", counted(9, 3));
  await settle();
  assert.deepEqual([members(count), members(none)], [[[], 3, true], [[], null, true]]);
  count.leave();
  ws.answer("join", plain);
  await settle();
  assert.deepEqual([asked(ws), members(none)], [["list", "count", "none"], [[], null, true]]);
});

test("a component that is mounted twice sees the newer snapshot", async () => {
  const { rc, ws } = await open();
  rc.join("room", { presence: "list" }).leave();
  const ch = rc.join("room", { presence: "list" });
  assert.deepEqual(asked(ws), ["list", "leave", "list"]);
  ws.answer("join", joined("room", 1, [ADA]));
  await ch.ready;
  assert.deepEqual(ids(ch), ["ada"]);
});

test("a refusal of presence ends only those who asked for it", async () => {
  const { rc, ws } = await open();
  const none = rc.join("room");
  ws.answer("join", plain);
  await none.ready;
  const events = watch(none);
  const list = rc.join("room", { presence: "list" });
  const refused = watch(list);
  ws.answer("join", { type: "error", code: "denied", message: "see" });
  await assert.rejects(list.ready, { code: "denied" });
  ws.answer("join", plain);
  await settle();
  assert.deepEqual([asked(ws), refused, events], [["none", "list", "none"], ["error denied"], ["sync", "change"]]);
  assert.equal(none.synced, true);
});

test("a channel is left if more is refused after the last other holder has left", async () => {
  const { rc, ws } = await open();
  const none = rc.join("room");
  ws.answer("join", plain);
  await none.ready;
  const list = rc.join("room", { presence: "list" });
  none.leave();
  ws.answer("join", { type: "error", code: "denied", message: "see" });
  await assert.rejects(list.ready, { code: "denied" });
  assert.deepEqual([asked(ws), rc.channels.size], [["none", "list", "leave"], 0]);
});

test("a channel that was never joined is not left after a refusal", async () => {
  const { rc, ws } = await open();
  const list = rc.join("room", { presence: "list" });
  ws.answer("join", { type: "error", code: "denied", message: "join" });
  await assert.rejects(list.ready, { code: "denied" });
  assert.deepEqual(asked(ws), ["list"]);
});

test("after a reconnection, the most is asked for at once", async () => {
  const { rc, ws } = await inRoom();
  rc.join("room");
  ws.end(1006);
  await tick(500);
  FakeSocket.last.welcome();
  await settle();
  assert.deepEqual(asked(FakeSocket.last), ["list"]);
});

for (const reason of ["denied", "removed"]) {
  test(`all holders hear that the channel ended: ${reason}`, async () => {
    const { rc, ws, ch } = await inRoom();
    const other = rc.join("room");
    await other.ready;
    const events = [watch(ch), watch(other)];
    ws.receive({ type: "left", channel: "room", reason });
    assert.deepEqual([events, rc.channels.size], [[[`error ${reason}`], [`error ${reason}`]], 0]);
  });
}

test("a listener may end other holders", async () => {
  const { rc, ws, ch } = await inRoom();
  const other = rc.join("room", { presence: "list" });
  await other.ready;
  let again;
  ch.on("error", () => {
    other.leave();
    again = rc.join("room");
  });
  ws.receive({ type: "left", channel: "room", reason: "denied" });
  assert.equal(rc.channels.get("room"), again);
  assert.deepEqual(asked(ws), ["list", "leave", "none"]);
});

test("presence that does not exist is an error at once", async () => {
  const { rc } = await open();
  assert.throws(() => rc.join("room", { presence: "all" }), TypeError);
  assert.equal(rc.channels.size, 0);
});

// Frames of channels that the server joins have no id.
async function assigned(welcome) {
  const opened = await open();
  const all = [];
  opened.rc.on("assigned", (ch) => {
    all.push(ch);
    opened.events = watch(ch);
  });
  opened.ws.receive({ ...plain, may: ["send", "see"], ...welcome });
  return { ...opened, all, ch: all[0], events: opened.events };
}

test("a channel that the server joined is an event, and delivers messages", async () => {
  const { rc, ws, all, ch, events } = await assigned();
  ws.receive({ type: "message", channel: "room", from: null, message: {} });
  assert.deepEqual([all.length, ch.name, ch.assigned, ch.kind, ch.may], [1, "room", true, "authenticated", ["send", "see"]]);
  assert.deepEqual(events, ["sync", "change", "message"]);
  assert.equal(await ch.ready, ch);
  assert.equal(rc.channels.get("room"), ch);
  assert.deepEqual(asked(ws), []);
  ch.leave();
  assert.deepEqual(asked(ws), ["leave"]);
});

test("a page may watch a channel that the server joined, and stop", async () => {
  const { rc, ws, ch } = await assigned();
  const list = rc.join("room", { presence: "list" });
  ws.answer("join", joined("room", 7, [ADA]));
  await list.ready;
  assert.deepEqual([members(list), members(ch)], [[["ada"], 1, true], [[], null, true]]);
  list.leave();
  assert.deepEqual(asked(ws), ["list", "none"], "the assignment stays");
});

test("a channel that the page joined may be assigned, too", async () => {
  const { rc, ws } = await inRoom();
  const all = [];
  rc.on("assigned", (ch) => all.push(ch));
  ws.receive(plain);
  await settle();
  assert.deepEqual([all.length, all[0].synced, rc.channels.get("room").count], [1, true, 1]);
});

test("after a reconnection, the server joins again", async () => {
  const { rc, ws, ch, all, events } = await assigned();
  ws.end(1006);
  await tick(500);
  assert.equal(ch.synced, false);
  FakeSocket.last.welcome();
  pong(FakeSocket.last);
  await tick(9_000); // many clients reconnect together
  FakeSocket.last.receive(plain);
  await tick(2_000);
  assert.deepEqual([all.length, ch.synced, asked(FakeSocket.last)], [1, true, []]);
  assert.deepEqual(events, ["sync", "change", "sync", "change"]);
  assert.equal(rc.channels.get("room"), ch);
});

test("an assignment that ended while disconnected is removed", async () => {
  const { rc, ws, events } = await assigned();
  const page = rc.join("room", { presence: "count" });
  ws.answer("join", counted(1, 1));
  await page.ready;
  ws.end(1006);
  await tick(500);
  FakeSocket.last.welcome();
  await settle();
  FakeSocket.last.answer("join", counted(1, 1));
  pong(FakeSocket.last);
  await tick(9_000);
  assert.notEqual(events.at(-1), "error removed");
  await tick(1_000);
  assert.equal(events.at(-1), "error removed");
  assert.equal(rc.channels.get("room"), page);
  page.leave();
  assert.equal(asked(FakeSocket.last).at(-1), "leave");
});

test("a channel with too many members has a count alone", async () => {
  const { ch, ws, events } = await inRoom();
  ws.receive({ type: "presence", channel: "room", seq: 8, count: 10_001, names: false });
  assert.deepEqual([members(ch), ch.names], [[[], 10_001, true], false]);
  ws.receive({ type: "presence", channel: "room", seq: 9, count: 10_002, names: false });
  assert.deepEqual([ch.count, events, ws.count("join")], [10_002, [], 1]);
});

test("when a channel has names again, it is joined after a random time", async () => {
  const { rc, ws } = await open();
  const ch = rc.join("room", { presence: "list" });
  ws.answer("join", { ...counted(7, 20_000), names: false });
  await ch.ready;
  assert.deepEqual([members(ch), ch.names], [[[], 20_000, true], false]);
  ws.receive(presence("room", 8, { joined: [BOB], names: true, count: 4_000 }));
  assert.deepEqual(members(ch), [[], 4_000, true], "a part of the list is no list");
  dice.value = 1;
  await tick(14_999);
  assert.equal(ws.count("join"), 1);
  await tick(1);
  ws.answer("join", joined("room", 9, [ADA, BOB]));
  await settle();
  assert.deepEqual([members(ch), ch.names], [[["ada", "bob"], 2, true], true]);
});

test("a page that only counts does not join again for names", async () => {
  const { rc, ws } = await open();
  const ch = rc.join("room", { presence: "count" });
  ws.answer("join", { ...counted(7, 20_000), names: false });
  await ch.ready;
  ws.receive({ type: "presence", channel: "room", seq: 8, count: 4_000, names: true });
  await tick(30_000);
  assert.deepEqual([members(ch), ch.names, ws.count("join")], [[[], 4_000, true], true, 1]);
});

test("unknown frames and keys are ignored", async () => {
  const { rc, ch, ws, events } = await inRoom();
  rc.on("error", assert.fail);
  for (const frame of [{ type: "later" }, { type: "later", channel: "room", id: "x" }, { channel: "room" },
    { type: "presence", channel: "room", seq: 8, joined: [], left: [], count: 1, later: {} },
    { type: "joined", channel: "other", id: 99, later: 1 }, { type: "left", channel: "nowhere", reason: "later" }])
    ws.receive(frame);
  assert.deepEqual([members(ch), events, rc.channels.size, rc.state], [[["ada"], 1, true], [], 1, "open"]);
});

test("info and status of members are shown as they are", async () => {
  const { ch, ws, events } = await inRoom();
  const away = { ...ADA, info: { name: "Ada" }, status: { away: true } };
  ws.receive(presence("room", 8, { updated: [away], count: 1 }));
  assert.deepEqual([ch.members.get("ada"), events], [away, [["update", away]]]);
});
