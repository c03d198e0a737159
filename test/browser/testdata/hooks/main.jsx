// A page whose parts a test mounts and unmounts. Bob watches them with a connection of his own; the
// query has the tokens of users.
import { StrictMode, useEffect, useState, version } from "react";
import { createRoot } from "react-dom/client";
import { Rollcall } from "rollcall-client";
import { RollcallProvider, useChannel, usePresence, useRollcall } from "rollcall-client/react";

const NAME = "salesRoom";
const token = (user) => new URLSearchParams(location.search).get(user);
const ids = (members) => members.map((m) => m.id).sort().join();
const heard = [];
let effects = 0;

function List({ id, name = NAME }) {
  const { members, count, synced } = usePresence(name);
  useEffect(() => void effects++, []);
  return <p id={id}>{`${ids(members)} ${count} ${synced}`}</p>;
}

function Count() {
  const { members, count } = usePresence(NAME, { presence: "count" });
  return <p id="count">{`${members.length} ${count}`}</p>;
}

function Chat() {
  const [lines, setLines] = useState([]);
  const { send, synced, error, kind } = useChannel(NAME, {
    onMessage: ({ text }, from) => {
      heard.push(`${lines.length} ${from.id}: ${text}`); // of the last render
      setLines((old) => [...old, text]);
    },
  });
  globalThis.send = send;
  return <p id="chat">{`${synced} ${error?.code} ${kind} ${lines.join()}`}</p>;
}

function Login() {
  const { rollcall, state, user } = useRollcall();
  globalThis.own = rollcall;
  return <p id="login">{`${state} ${user?.id}`}</p>;
}

// One component that changes rooms.
function Rooms() {
  const [name, go] = useState(null);
  globalThis.go = go;
  return <List id="rooms" name={name} />;
}

const PARTS = { a: <List id="a" />, b: <List id="b" />, count: <Count />, chat: <Chat />, login: <Login />, rooms: <Rooms /> };

function App() {
  const [{ user, parts }, set] = useState({ user: "ada", parts: null });
  globalThis.show = (...parts) => set({ user, parts });
  globalThis.hide = () => set({ user, parts: null });
  if (!parts) return null;
  return (
    <RollcallProvider getToken={() => token(globalThis.user ?? "ada")}>
      {parts.map((part) => <div key={part}>{PARTS[part]}</div>)}
    </RollcallProvider>
  );
}

const bob = new Rollcall({ getToken: () => token("bob") });
const room = bob.join(NAME, { presence: "list" });
const seen = [];
for (const event of ["join", "leave"]) room.on(event, (m) => seen.push(`${event} ${m.id}`));
Object.assign(globalThis, {
  bob, room, heard, seen, token, version,
  effects: () => effects,
  text: (id) => document.getElementById(id)?.textContent,
  // Frames of Ada's connections about the channel; the first connection is Bob's.
  count: (type, name = NAME) => sockets.slice(1).flatMap((s) => s.sent).filter((f) => f.type === type && f.channel === name).length,
});
createRoot(document.getElementById("root")).render(<StrictMode><App /></StrictMode>);
