// What TypeScript must accept of react.d.ts, and what it must refuse: a line after @ts-expect-error
// without an error is an error.
import { Member, Rollcall, RollcallError, Sender, User } from "rollcall-client";
import { RollcallProvider, useChannel, usePresence, useRollcall } from "rollcall-client/react";

type Chat = { text: string };

function Room({ name }: { name: string | null }) {
  const { rollcall, state, user, reason, delay } = useRollcall();
  rollcall satisfies Rollcall | null;
  user satisfies User | null;
  void [state === "open", reason === "lost", delay];
  const { members, count, names, synced, error } = usePresence(name, { presence: "count" });
  members satisfies readonly Member[];
  count satisfies number | null;
  error satisfies RollcallError | null;
  void [names, synced];
  usePresence(name).channel?.on("join", (m) => void (m satisfies Member));
  const { channel, send, may } = useChannel<Chat>(name, {
    onMessage: (message, from, backend) => {
      message satisfies Chat;
      from satisfies Sender | null;
      backend satisfies true | undefined;
    },
  });
  channel?.on("message", (m) => void (m satisfies Chat));
  void [may, send({ text: "hello" }, { echo: false })];
  // @ts-expect-error: no Chat
  void send({ txt: "hello" });
  // @ts-expect-error: hooks that return members have a level
  usePresence("room", { presence: "none" });
  return <p>{members.length}</p>;
}

export const pages = [
  <RollcallProvider url="/live/socket" getToken={async () => null}><Room name="salesRoom" /></RollcallProvider>,
  <RollcallProvider client={new Rollcall()}>text</RollcallProvider>,
  // @ts-expect-error: no such option
  <RollcallProvider token="">text</RollcallProvider>,
];
