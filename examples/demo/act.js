// What a backend does: it sends, assigns channels and puts users out, by one request each.
import { $, h, nameOf } from "./dom.js";

const ASSIGNED = "boardRoom";

let rc;
let assigned = false;

// start lets the panel act for the connection of this page. It returns a function that draws it again.
export function start(connection) {
  rc = connection;
  $("act-send").addEventListener("submit", send);
  $("act-assign").addEventListener("click", assign);
  $("act-kick").addEventListener("click", kick);
  rc.on("assigned", (channel) => {
    if (channel.name !== ASSIGNED) return;
    assigned = true;
    draw();
    channel.on("error", () => { // the assignment has ended
      assigned = false;
      draw();
    });
  });
  draw();
  return draw;
}

// draw offers the channels, this tab and the users that the page knows.
function draw() {
  const people = new Map();
  for (const channel of rc.channels.values()) for (const m of channel.members.values()) people.set(m.id, m);
  const users = [...people.values()].sort((a, b) => nameOf(a).localeCompare(nameOf(b))).slice(0, 100);
  choose($("act-to"), [
    ...[...rc.channels.keys()].map((name) => [`channel ${name}`, { channels: [name] }]),
    ...(rc.tab ? [["this tab", { channels: [rc.tab] }]] : []),
    ...users.map((m) => [`user ${nameOf(m)}`, { users: [m.id] }]),
  ]);
  choose($("act-who"), users.map((m) => [nameOf(m), { users: [m.id] }]));
  $("act-kick").disabled = users.length === 0;
  $("act-assign").disabled = !rc.user;
  $("act-assign").textContent = assigned ? `Take you out of ${ASSIGNED}` : `Put you into ${ASSIGNED}`;
}

// choose makes the options of a select, and keeps the one that is chosen. An option is a label and members of the body.
function choose(select, options) {
  const values = options.map(([, body]) => JSON.stringify(body));
  if ([...select.options].map((o) => o.value + o.text).join("\n") === options.map(([label], i) => values[i] + label).join("\n")) return;
  const chosen = select.value;
  select.replaceChildren(...options.map(([label], i) => h("option", { value: values[i] }, label)));
  if (values.includes(chosen)) select.value = chosen;
}

async function send(e) {
  e.preventDefault();
  const text = $("act-text").value.trim();
  if (!text) return $("act-text").focus();
  if (!$("act-to").value) return say("There is nobody to send to.", false);
  if (await request("sendmessage", { ...JSON.parse($("act-to").value), message: { text } })) $("act-text").value = "";
}

function assign() {
  const users = [{ id: rc.user.id, channels: [{ name: ASSIGNED }] }];
  request(assigned ? "removeuser" : "adduser", { users });
}

// kick closes the connections of a user for good: the client of a page does not come back by itself.
const kick = () => request("disconnect", { ...JSON.parse($("act-who").value), reason: "put out by the backend" });

async function request(name, body) {
  try {
    const r = await fetch(`/message/${name}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ apiKey: $("key").value, ...body }),
      signal: AbortSignal.timeout(10_000),
    });
    const answer = await r.json().catch(() => ({}));
    say(`POST /message/${name}: ${r.status} ${r.ok ? JSON.stringify(answer) : answer.detail ?? ""}`, r.ok);
    return r.ok;
  } catch {
    say(`POST /message/${name}: no answer`, false);
    return false;
  }
}

function say(text, good) {
  $("act-result").textContent = text;
  $("act-result").classList.toggle("bad", !good);
}
