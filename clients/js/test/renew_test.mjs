// Tests of logins that are renewed in time, and of the status.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ADA, BOB, FakeSocket, open, settle, start, tick } from "./harness.mjs";

// jwt is a token without a signature; times are in seconds from now.
function jwt(id, exp, iat = 0) {
  const now = Math.floor(Date.now() / 1000);
  const claims = { sub: id, name: "\u00fc\u00ff\u{1f600}?>", iat: now + iat, exp: exp && now + exp };
  return `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.c2ln`;
}

async function login(getToken, user = ADA) {
  const opened = start({ getToken });
  const errors = [];
  opened.rc.on("error", (e) => errors.push([e.code, e.message]));
  await settle();
  FakeSocket.last.welcome();
  await settle();
  FakeSocket.last.answer("authenticate", { type: "authenticated", user });
  await settle();
  return { ...opened, errors, ws: FakeSocket.last };
}

// pass lets time pass while the server answers pings.
async function pass(ms) {
  for (; ms > 0; ms -= 20_000) {
    await tick(Math.min(ms, 20_000));
    FakeSocket.last.receive({ type: "pong" });
  }
}
const logins = (ws) => ws.count("authenticate");

test("a token is renewed before it expires, on the same connection", async () => {
  let n = 0;
  const { rc, ws, states } = await login(() => jwt(`token ${n++}`, 1000));
  await pass(799_000);
  assert.equal(logins(ws), 1);
  await pass(2_000);
  assert.equal(logins(ws), 2);
  ws.answer("authenticate", { type: "authenticated", user: ADA });
  await settle();
  await pass(800_000);
  assert.deepEqual([logins(ws), n, rc.state, states.length], [3, 3, "open", 1]);
});

for (const [name, getToken, code] of [
  ["fails", () => Promise.reject(new Error("backend down")), "token"],
  ["gives no token", () => null, "token"],
  ["never settles", () => new Promise(() => {}), "token"],
  ["gives a token that is refused", () => "bad", "bad_token"],
]) {
  test(`a getToken that ${name} is told, and tried again, not in a loop`, async () => {
    let calls = 0;
    const { rc, ws, errors } = await login(() => (calls++ ? getToken() : jwt("ada", 1000)));
    for (let i = 0; i < 200; i++) {
      await tick(5_000);
      ws.receive({ type: "pong" });
      const last = ws.find("authenticate");
      if (last.token == "bad" && !last.refused) {
        last.refused = true;
        ws.answer("authenticate", { type: "error", code: "bad_token", message: "no" });
      }
      await settle();
    }
    assert.ok(errors.length >= 2 && errors.length < 110 && errors.every(([c]) => c == code), JSON.stringify(errors));
    assert.ok(calls - errors.length <= 2, `${calls} calls`); // one may be unanswered
    assert.equal(rc.state, "open");
  });
}

test("the same token again is no loop", async () => {
  let calls = 0;
  const token = jwt("ada", 1000);
  const { ws } = await login(() => (calls++, token));
  for (let i = 0; i < 50; i++) {
    await pass(20_000);
    if (logins(ws) == calls) ws.answer("authenticate", { type: "authenticated", user: ADA });
    await settle();
  }
  assert.ok(calls > 2 && calls < 10, `${calls} calls`);
});

for (const [name, token, want] of [
  ["of a clock that is ahead", () => jwt("ada", -3600, -4600), 2],
  ["of a clock that is behind", () => jwt("ada", 4600, 3600), 2],
  ["without exp", () => jwt("ada"), 1],
  ["that is no JWT", () => "T1", 1],
  ["with dots", () => "a.b.c", 1],
  ["that lasts for years", () => jwt("ada", 1e9), 1],
]) {
  test(`the renewal of a token ${name}`, async () => {
    const { ws } = await login(token);
    await pass(810_000);
    assert.equal(logins(ws), want);
  });
}

test("without getToken, nothing is renewed", async () => {
  const { rc, ws } = await open();
  rc.authenticate(jwt("ada", 100));
  ws.answer("authenticate", { type: "authenticated", user: ADA });
  await pass(100_000);
  assert.equal(logins(ws), 1);
});

test("a lost connection ends the renewal", async () => {
  const { ws, rc } = await login(() => jwt("ada", 1000));
  rc.close();
  await tick(900_000);
  assert.equal(logins(ws), 1);
});

test("a status is set, and set again after a reconnection", async () => {
  const { rc, ws } = await open({}, { user: ADA });
  const set = rc.setStatus({ away: true });
  assert.deepEqual(ws.find("status").status, { away: true });
  ws.answer("status", { type: "status", status: { away: true } });
  assert.equal(await set, undefined);
  ws.end(1006);
  await tick(500);
  FakeSocket.last.welcome({ user: ADA });
  await settle();
  assert.deepEqual(FakeSocket.last.find("status").status, { away: true });
  FakeSocket.last.answer("status", { type: "status", status: { away: true } });
  rc.setStatus(null);
  FakeSocket.last.answer("status", { type: "status", status: null });
  FakeSocket.last.end(1006);
  await tick(1000);
  FakeSocket.last.welcome({ user: ADA });
  await settle();
  assert.equal(FakeSocket.last.count("status"), 0);
});

test("a status waits for the connection, and is not set for another user", async () => {
  const { rc } = start();
  await rc.setStatus({ busy: 1 });
  FakeSocket.last.welcome({ user: ADA });
  await settle();
  FakeSocket.last.answer("status", { type: "status", status: { busy: 1 } });
  await settle();
  FakeSocket.last.end(1006);
  await tick(500);
  FakeSocket.last.welcome({ user: BOB });
  await settle();
  assert.equal(FakeSocket.last.count("status"), 0);
});

test("a status that was removed while disconnected is removed once", async () => {
  const { rc, ws } = await open({}, { user: ADA });
  rc.setStatus({ away: true });
  ws.answer("status", { type: "status", status: { away: true } });
  ws.end(1006);
  await rc.setStatus(null);
  for (const want of [1, 0]) {
    await tick(1000);
    FakeSocket.last.welcome({ user: ADA });
    await settle();
    assert.equal(FakeSocket.last.count("status"), want);
    if (want) {
      assert.equal(FakeSocket.last.find("status").status, null);
      FakeSocket.last.answer("status", { type: "status", status: null });
      await settle();
    }
    FakeSocket.last.end(1006);
  }
});

test("a status that is refused rejects", async () => {
  const { rc, ws } = await open();
  const set = rc.setStatus({});
  ws.answer("status", { type: "error", code: "login_required", message: "log in first" });
  await assert.rejects(set, { code: "login_required" });
});

test("a message need not come back", async () => {
  const { rc, ws } = await open();
  const ch = rc.join("room");
  ch.send({ a: 1 }, { echo: false }).catch(() => {});
  assert.deepEqual([ws.find("send").echo, ws.find("send").channels], [false, ["room"]]);
  rc.send(["room"], {}).catch(() => {});
  assert.ok(!("echo" in ws.find("send")));
});
