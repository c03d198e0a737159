// Tests of logging in, and of tokens that expire.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ADA, BOB, FakeSocket, dice, open, settle, start, tick } from "./harness.mjs";

test("a token is sent in a frame, before any join, and never in the URL", async () => {
  const { rc } = start({ getToken: async () => "T1" });
  rc.join("room");
  await settle();
  const ws = FakeSocket.last;
  ws.welcome();
  await settle();
  assert.deepEqual(ws.sent.map((f) => [f.type, f.token]), [["authenticate", "T1"]]);
  assert.equal(rc.state, "connecting");
  assert.ok(!ws.url.includes("T1"));
  ws.answer("authenticate", { type: "authenticated", user: ADA });
  await settle();
  assert.equal(rc.state, "open");
  assert.deepEqual(rc.user, ADA);
  assert.equal(ws.count("join"), 1);
});

test("a login on an open connection changes the user", async () => {
  const { rc, ws } = await open();
  const users = [];
  rc.on("user", (u) => users.push(u));
  const done = rc.authenticate("T2");
  ws.answer("authenticate", { type: "authenticated", user: BOB });
  assert.deepEqual(await done, BOB);
  assert.deepEqual([rc.user, users], [BOB, [BOB]]);
});

test("a refused login on an open connection changes nothing", async () => {
  const { rc, ws } = await open();
  const done = rc.authenticate("bad");
  ws.answer("authenticate", { type: "error", code: "bad_token", message: "no" });
  await assert.rejects(done, { code: "bad_token" });
  assert.deepEqual([rc.state, rc.user], ["open", null]);
});

test("commands time out, and fail when there is no connection", async () => {
  const { rc, ws } = await open();
  const slow = assert.rejects(rc.authenticate("T"), { code: "timeout" });
  await tick(10_000);
  await slow;
  const cut = assert.rejects(rc.authenticate("T"), { code: "offline" });
  ws.end(1006);
  await cut;
  await assert.rejects(rc.authenticate("T"), { code: "offline" });
});

test("without getToken, the token of the last login is reused", async () => {
  const { rc, ws } = await open();
  rc.authenticate("T2");
  ws.answer("authenticate", { type: "authenticated", user: BOB });
  await settle();
  ws.end(1006);
  await tick(500);
  FakeSocket.last.welcome();
  await settle();
  assert.equal(FakeSocket.last.find("authenticate").token, "T2");
});

const tokens = (...list) => () => (list.length > 1 ? list.shift() : list[0]);

async function login(user = ADA) {
  await settle();
  FakeSocket.last.welcome();
  await settle();
  FakeSocket.last.answer("authenticate", { type: "authenticated", user });
  await settle();
}

test("an expired token is replaced by a new one", async () => {
  const { rc, states } = start({ getToken: tokens("T1", "T2") });
  await login();
  FakeSocket.last.end(4001);
  assert.deepEqual([states.at(-1).state, states.at(-1).reason, states.at(-1).code], ["waiting", "token_expired", 4001]);
  await tick(500);
  await login();
  assert.equal(FakeSocket.last.find("authenticate").token, "T2");
  assert.equal(rc.state, "open");
});

for (const [name, ...list] of [["the same token", "T1", "T1"], ["no token", "T1", null], ["an empty token", "T1", ""]]) {
  test(`an expired token followed by ${name} is final`, async () => {
    const { states } = start({ getToken: tokens(...list) });
    await login();
    FakeSocket.last.end(4001);
    await tick(500);
    assert.deepEqual(states.at(-1), { state: "closed", reason: "token_expired", code: 4001, delay: undefined });
    await tick(3_600_000);
    assert.equal(FakeSocket.all.length, 1);
  });
}

test("a new token is requested whenever an accepted one has expired", async () => {
  const { rc } = start({ getToken: tokens("T1", "T2", "T3", "T4") });
  await login();
  FakeSocket.last.end(4001);
  await tick(1000);
  await login();
  await tick(5000);
  FakeSocket.last.end(4001);
  await tick(1000);
  await login();
  assert.equal(FakeSocket.last.find("authenticate").token, "T3");
  FakeSocket.last.end(4001);
  await tick(1000);
  await login();
  assert.deepEqual([rc.state, FakeSocket.last.find("authenticate").token], ["open", "T4"]);
});

test("tokens that expire at once are requested more and more slowly", async () => {
  let n = 0;
  const { rc, states } = start({ getToken: () => `T${++n}` });
  dice.value = 1;
  for (const delay of [500, 1000, 2000, 4000]) {
    await login();
    FakeSocket.last.end(4001);
    assert.deepEqual([states.at(-1).state, states.at(-1).delay], ["waiting", delay]);
    await tick(delay);
  }
  await login();
  assert.equal(rc.state, "open");
});

test("a login that a plugin refuses is final", async () => {
  const { rc, states } = start({ getToken: tokens("T1", "T2") });
  const errors = [];
  rc.on("error", (e) => errors.push(e.code));
  await settle();
  FakeSocket.last.welcome();
  await settle();
  FakeSocket.last.answer("authenticate", { type: "error", code: "denied", message: "a plugin of this site refuses the login" });
  await settle();
  assert.deepEqual(states.at(-1), { state: "closed", reason: "denied", code: 4005, delay: undefined });
  assert.deepEqual(errors, ["denied"]);
  await tick(3_600_000);
  assert.equal(FakeSocket.all.length, 1);
  rc.connect(); // asks for a token again
  await login();
  assert.equal(FakeSocket.last.find("authenticate").token, "T2");
});

test("a login for which a plugin fails is tried again", async () => {
  const { rc, states } = start({ getToken: tokens("T1") });
  await settle();
  FakeSocket.last.welcome();
  await settle();
  FakeSocket.last.answer("authenticate", { type: "error", code: "unavailable", message: "try again later" });
  await settle();
  assert.deepEqual([states.at(-1).state, states.at(-1).reason], ["waiting", "unavailable"]);
  await tick(1000);
  await login();
  assert.equal(rc.state, "open");
});

test("a token that is refused at connect counts as expired", async () => {
  const { rc, states } = start({ getToken: tokens("T1", "T2", "T3") });
  const errors = [];
  rc.on("error", (e) => errors.push(e.code));
  const refuse = async () => {
    await settle();
    FakeSocket.last.welcome();
    await settle();
    FakeSocket.last.answer("authenticate", { type: "error", code: "bad_token", message: "expired" });
    await settle();
  };
  await refuse();
  assert.deepEqual([states.at(-1).state, states.at(-1).reason], ["waiting", "bad_token"]);
  await tick(500);
  await refuse();
  assert.deepEqual([states.at(-1).state, states.at(-1).reason], ["closed", "bad_token"]);
  assert.deepEqual(errors, ["bad_token", "bad_token"]);
});

test("a login that fails temporarily is retried with the same token", async () => {
  const { rc, states } = start({ getToken: () => "T1" });
  await settle();
  FakeSocket.last.welcome();
  await settle();
  FakeSocket.last.answer("authenticate", { type: "error", code: "unavailable", message: "" });
  await settle();
  assert.deepEqual([states.at(-1).state, states.at(-1).reason], ["waiting", "unavailable"]);
  await tick(500);
  await login();
  assert.equal(rc.state, "open");
});

test("getToken is called again later after a failure", async () => {
  let fail = true;
  const { rc, states } = start({ getToken: async () => { if (fail) throw new Error("backend down"); return "T1"; } });
  await settle();
  assert.deepEqual([states.at(-1).state, states.at(-1).reason], ["waiting", "token"]);
  assert.equal(FakeSocket.all.length, 0);
  fail = false;
  await tick(500);
  await login();
  assert.equal(rc.state, "open");
});

for (const [name, getToken] of [["never settles", () => new Promise(() => {})], ["settles too late", () => new Promise((done) => setTimeout(done, 10_001, "T0"))]]) {
  test(`getToken that ${name} is called again later`, async () => {
    let late = true;
    const { rc, states } = start({ getToken: () => (late ? getToken() : "T1") });
    await tick(9_999);
    assert.equal(rc.state, "connecting");
    await tick(1);
    assert.deepEqual([states.at(-1).state, states.at(-1).reason, states.at(-1).code, states.at(-1).delay], ["waiting", "token", 1006, 250]);
    late = false;
    await tick(250);
    await login();
    assert.deepEqual([rc.state, FakeSocket.last.find("authenticate").token, FakeSocket.all.length], ["open", "T1", 1]);
  });
}

test("white space around a token is not sent", async () => {
  const { rc } = start({ getToken: tokens("\tT1\r\n", "T1", "T2\n") });
  await login();
  assert.equal(FakeSocket.last.find("authenticate").token, "T1");
  const renewed = rc.authenticate(" T2\n");
  assert.equal(FakeSocket.last.find("authenticate").token, "T2");
  FakeSocket.last.answer("authenticate", { type: "authenticated", user: ADA });
  await renewed;
  FakeSocket.last.end(4001);
  await tick(500);
  await login();
  assert.equal(FakeSocket.last.find("authenticate").token, "T1");
  FakeSocket.last.end(4001);
  await tick(500);
  await login();
  FakeSocket.last.end(4001);
  await tick(1_000);
  assert.deepEqual([rc.state, FakeSocket.all.length], ["closed", 3], "T2 and a line break is T2");
});

test("a token of white space counts as none", async () => {
  const { rc } = start({ getToken: () => "\n" });
  await settle();
  FakeSocket.last.welcome();
  await settle();
  assert.deepEqual([rc.state, FakeSocket.last.sent], ["open", []]);
});

// byCookie returns a client that the handshake has logged in.
async function byCookie(options) {
  const opened = start(options);
  await settle();
  FakeSocket.last.welcome({ user: ADA });
  await settle();
  return opened;
}

for (const [name, options] of [["without getToken", {}], ["with a getToken that gives none", { getToken: () => null }]]) {
  test(`a cookie that expires may have been renewed, ${name}`, async () => {
    const { rc, states } = await byCookie(options);
    for (let i = 0; i < 3; i++) {
      FakeSocket.last.end(4001);
      assert.deepEqual([states.at(-1).state, states.at(-1).reason, states.at(-1).code], ["waiting", "token_expired", 4001]);
      await tick(states.at(-1).delay);
      FakeSocket.last.welcome({ user: ADA });
      await settle();
      assert.deepEqual([rc.state, rc.user], ["open", ADA]);
    }
  });

  test(`a cookie that expires and was not renewed is final, ${name}`, async () => {
    const { rc, states } = await byCookie(options);
    const ch = rc.join("room");
    FakeSocket.last.end(4001);
    await tick(500);
    FakeSocket.last.welcome();
    await settle();
    assert.deepEqual(states.at(-1), { state: "closed", reason: "token_expired", code: 4001, delay: undefined });
    assert.equal(FakeSocket.last.count("join"), 0, "no channel is joined as an anonymous visitor");
    await assert.rejects(ch.ready, { code: "closed" });
    await tick(3_600_000);
    assert.equal(FakeSocket.all.length, 2);
    rc.connect();
    await settle();
    FakeSocket.last.welcome();
    await settle();
    assert.deepEqual([rc.state, rc.user], ["open", null], "connect asks for no log-in");
  });
}

test("after it has expired, a token is not reused, but the cookie is", async () => {
  const { rc, ws } = await open({}, { user: ADA });
  rc.authenticate("T2");
  ws.answer("authenticate", { type: "authenticated", user: ADA });
  await settle();
  for (const end of [
    () => FakeSocket.last.end(4001),
    async () => { // it expired while disconnected
      rc.authenticate("T3");
      FakeSocket.last.answer("authenticate", { type: "authenticated", user: ADA });
      await settle();
      FakeSocket.last.end(1006);
      await tick(2_000);
      FakeSocket.last.welcome({ user: ADA });
      await settle();
      FakeSocket.last.answer("authenticate", { type: "error", code: "bad_token", message: "expired" });
      await settle();
    },
  ]) {
    await end();
    assert.equal(rc.state, "waiting");
    await tick(2_000);
    FakeSocket.last.welcome({ user: ADA });
    await settle();
    assert.deepEqual([rc.state, FakeSocket.last.sent], ["open", []]);
  }
});

test("a token that is refused twice ends with that reason", async () => {
  const { states } = start({ getToken: () => "T1" });
  await settle();
  FakeSocket.last.welcome();
  await settle();
  FakeSocket.last.answer("authenticate", { type: "error", code: "bad_token", message: "wrong key" });
  await tick(500);
  assert.deepEqual([states.at(-1).state, states.at(-1).reason], ["closed", "bad_token"]);
});

test("closing while getToken runs opens no connection", async () => {
  let give;
  const { rc } = start({ getToken: () => new Promise((done) => { give = done; }) });
  rc.close();
  give("T1");
  await tick(60_000);
  assert.equal(FakeSocket.all.length, 0);
  assert.equal(rc.state, "closed");
});
