// Tests of messages: sending and receiving.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ADA, RollcallError, inRoom, open, settle, start, tick } from "./harness.mjs";

const message = (channel, body, from = null) => ({ type: "message", channel, from, message: body });

test("a channel sends, and the promise waits for the answer", async () => {
  const { ch, ws } = await inRoom();
  let done = false;
  const sent = ch.send({ text: "hi" }).then((value) => (done = value === undefined));
  assert.deepEqual(ws.find("send"), { type: "send", channels: ["room"], message: { text: "hi" }, id: ws.find("send").id });
  await settle();
  assert.equal(done, false);
  ws.answer("send", { type: "sent" });
  await sent;
  assert.equal(done, true);
});

test("a message to several channels is one frame", async () => {
  const { rc, ws } = await inRoom();
  const sent = rc.send(["room", "hall"], { a: 1 });
  assert.deepEqual(ws.find("send").channels, ["room", "hall"]);
  assert.equal(ws.count("send"), 1);
  ws.answer("send", { type: "sent" });
  await sent;
});

for (const code of ["not_joined", "rate_limited", "too_large"]) {
  test(`a message that is refused with ${code} rejects, once`, async () => {
    const { ch, ws } = await inRoom();
    const sent = ch.send({});
    ws.answer("send", { type: "error", code, message: "why" });
    await assert.rejects(sent, (e) => e instanceof RollcallError && e.code == code && e.message == "why");
    await tick(60_000);
    assert.equal(ws.count("send"), 1, "it is for the page to send again");
  });
}

test("without a connection a message rejects", async () => {
  const { rc } = start();
  await assert.rejects(rc.send(["room"], {}), { code: "offline" });
  const { ch, ws } = await inRoom();
  const sent = ch.send({});
  ws.end(1006);
  await assert.rejects(sent, { code: "offline" });
});

test("a message has its sender", async () => {
  const { ch, ws, events } = await inRoom();
  const got = [];
  const off = ch.on("message", (...values) => got.push(values));
  ws.receive(message("room", { text: "hi" }, ADA));
  ws.receive(message("room", {}));
  off();
  ws.receive(message("room", { late: true }));
  assert.deepEqual(got, [[{ text: "hi" }, ADA], [{}, null]]);
  assert.deepEqual(events, []);
});

test("a message of the backend differs from one of an anonymous connection", async () => {
  const { rc, ch, ws } = await inRoom();
  const got = [];
  ch.on("message", (...values) => got.push(values));
  rc.on("message", (...values) => got.push(values));
  ws.receive({ ...message("room", { n: 1 }), backend: true });
  ws.receive(message("room", { backend: true }));
  ws.receive({ ...message(rc.tab, { n: 3 }), backend: true });
  assert.deepEqual(got, [[{ n: 1 }, null, true], [{ backend: true }, null], [{ n: 3 }, null, true]]);
});

test("messages arrive before the join is answered, too", async () => {
  const { rc, ws } = await open();
  const got = [];
  rc.join("room").on("message", (m) => got.push(m));
  ws.receive(message("room", { early: true }));
  assert.deepEqual(got, [{ early: true }]);
});

test("a message to the private channel is an event of the client", async () => {
  const { rc, ch, ws } = await inRoom();
  const got = [];
  rc.on("message", (...values) => got.push(values));
  ch.on("message", () => assert.fail("it is for no channel"));
  ws.receive(message(rc.tab, { only: "you" }));
  assert.deepEqual(got, [[{ only: "you" }, null]]);
});

test("a message of a channel that was left is ignored", async () => {
  const { rc, ch, ws } = await inRoom();
  rc.on("message", () => assert.fail("the connection's are private"));
  ch.on("message", () => assert.fail("left"));
  ch.leave();
  ws.receive(message("room", {}));
  await settle();
});
