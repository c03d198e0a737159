// Tests of the client of an earlier release with frames that it does not know.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { ADA, BOB, FakeSocket, ids, joined, load, presence, settle } from "./harness.mjs";

const script = readFileSync(new URL("../../../test/browser/testdata/client-2026-11.js", import.meta.url), "utf8");

test("an old client counts where nobody is listed, and lists again after its next join", async (t) => {
  const { Rollcall } = await load("https://portal.example.com/message/client.js", script);
  const rc = new Rollcall();
  t.after(() => rc.close());
  await settle();
  const ws = FakeSocket.last;
  ws.welcome();
  const ch = rc.join("room", { presence: "list" });
  ws.answer("join", { type: "joined", channel: "room", kind: "authenticated", may: ["see"], seq: 7, count: 20_000, names: false });
  await ch.ready;
  assert.deepEqual([ids(ch), ch.count, ch.synced], [[], 20_000, true]);
  ws.receive({ type: "presence", channel: "room", seq: 8, count: 4_000, names: true });
  ws.receive({ type: "joined", channel: "assigned", kind: "authenticated" });
  ws.receive({ type: "status", status: null });
  assert.deepEqual([ch.count, rc.channels.size, rc.state], [4_000, 1, "open"]);
  ws.receive(presence("room", 10, { joined: [BOB], count: 2 }));
  ws.answer("join", joined("room", 10, [{ ...ADA, info: {}, status: {} }, { id: "bob" }]));
  await settle();
  assert.deepEqual([ids(ch), ch.count, ch.synced], [["ada", "bob"], 2, true]);
});
