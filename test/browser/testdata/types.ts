// What TypeScript must accept of client.d.ts, and what it must refuse: a line after @ts-expect-error
// without an error is an error.
import { Channel, Member, Permission, Rollcall, RollcallError, Sender, StateChange, User } from "../../../clients/js/rollcall.js";

type Chat = { text: string; at?: number };

const rc = new Rollcall({ url: new URL("https://portal.example.com/message/socket"), getToken: async () => null });

async function chat(): Promise<void> {
  const room = rc.join<Chat>("salesRoom", { presence: "list" });
  const same: Channel<Chat> = await room.ready;
  const events: Array<() => void> = [
    room.on("sync", (ch) => void (ch satisfies Channel<Chat>)),
    room.on("change", (ch) => void (ch.members.get("ada") satisfies Member | undefined)),
    room.on("join", (m) => void (m.id satisfies string)),
    room.on("leave", (m) => void (m.email satisfies string | undefined)),
    room.on("update", (m) => void (m.status?.away satisfies boolean | undefined)),
    room.on("message", (m, from, backend) => {
      m satisfies Chat;
      from satisfies Sender | null;
      backend satisfies true | undefined;
      // @ts-expect-error: no key of a Chat
      m.txt;
      // @ts-expect-error: may be null
      from.id;
    }),
    room.on("error", (e) => void (e satisfies RollcallError)),
  ];
  for (const remove of events) remove();
  room.send({ text: "hello" }, { echo: false });
  // @ts-expect-error: no Chat
  room.send({ txt: "hello" });
  // @ts-expect-error: no event
  room.on("messages", () => {});
  // @ts-expect-error: no kind of presence
  rc.join("salesRoom", { presence: "all" });
  // @ts-expect-error: the handle of another type of messages
  const other: Channel<{ n: number }> = same;
  // @ts-expect-error: only join makes one
  new Channel();
  const [may, count, names]: [readonly Permission[] | null, number | null, boolean] = [room.may, room.count, room.names];
  void [other, may, count, names, room.kind === "anonymous", room.assigned, room.synced, room.presence];
  await room.leave();
}

async function connection(): Promise<void> {
  rc.on("state", ({ state, reason, code, delay }: StateChange) => void [state === "open", reason === "welcome", code, delay]);
  rc.on("user", (u) => void (u satisfies User));
  rc.on("message", (m, from) => void [m.any, from satisfies null]);
  rc.on("assigned", (ch) => void ch.on("message", (m) => void m.any));
  rc.on("error", (e) => void (e.code === "bad_token"));
  const user: User = await rc.authenticate("token");
  await rc.send(["salesRoom"], { text: "hello" });
  await rc.setStatus({ away: true });
  await rc.setStatus(null);
  // @ts-expect-error: no object
  await rc.setStatus("away");
  // @ts-expect-error: read-only
  rc.state = "open";
  const all: ReadonlyMap<string, Channel> = rc.channels;
  void [user.info?.name, all.size, rc.user?.email, rc.tab, rc.connection, rc.url.href];
  rc.connect();
  rc.close();
}

void [chat, connection, new RollcallError("denied", "no") instanceof Error];
