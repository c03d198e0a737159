// Two components on one channel, each with a membership of its own.
import { StrictMode, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { Rollcall } from "rollcall";

const NAME = "salesRoom";
const tokenOf = (user) => import("/token.js").then(({ person, sign }) => sign(person(user)));
const connect = (user) => new Rollcall({ getToken: () => tokenOf(user) });
const rollcall = connect("ada");
let mounts = 0;

function useChannel(presence, read) {
  const [value, setValue] = useState();
  useEffect(() => {
    mounts++;
    const room = rollcall.join(NAME, { presence });
    room.on("change", () => setValue(read(room)));
    return () => void room.leave();
  }, []);
  return value;
}

function Members() {
  const members = useChannel("list", (room) => [...room.members.keys()].sort().join());
  return <p id="members">{members}</p>;
}

function Count() {
  const count = useChannel("count", (room) => `${room.count} ${room.members.size}`);
  return <p id="count">{count}</p>;
}

function App() {
  const [shown, show] = useState(["members", "count"]);
  globalThis.show = (...parts) => show(parts);
  return <>{shown.includes("members") && <Members />}{shown.includes("count") && <Count />}</>;
}

const visitors = {};
Object.assign(globalThis, {
  rollcall,
  mounts: () => mounts,
  come: (user) => (visitors[user] = connect(user)).join(NAME),
  go: (user) => visitors[user].channels.get(NAME).leave(),
  text: (id) => document.getElementById(id)?.textContent,
});
document.body.innerHTML = "<div></div>";
createRoot(document.body.firstChild).render(<StrictMode><App /></StrictMode>);
