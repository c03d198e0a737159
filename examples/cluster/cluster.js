// The page of three pods: the answers of all pods, and the frames of one connection.
import { Rollcall } from "/message/client.js";
import * as answers from "./answers.js";
import * as cards from "./cards.js";
import { $, avatar, h, time } from "./dom.js";
import { sign } from "./token.js";

const CHANNEL = "salesRoom";
const ME = "you";

const pods = await (await fetch("pods.json")).json();
let mine = pods.find((p) => p.url === location.origin) ?? pods[0];
let rc; // the connection of this page, to the chosen pod

const view = cards.start(pods, CHANNEL);
const ask = answers.start(pods, (results) => {
  view.show(results, mine);
  showTruth(results.get(mine.pod));
});

$("mine").append(...pods.map((p) => h("option", { value: p.pod }, `${p.pod} (${p.dataCenter})`)));
$("mine").value = mine.pod;
$("mine").addEventListener("change", () => {
  mine = pods.find((p) => p.pod === $("mine").value);
  watch();
  ask();
});
$("clear").addEventListener("click", () => $("log").replaceChildren());

// watch connects to the chosen pod and shows the frames.
function watch() {
  rc?.close();
  const me = (rc = new Rollcall({ url: `${mine.url}/message/socket`, getToken: () => sign(ME) }));
  const room = me.join(CHANNEL, { presence: "list" });
  $("from").textContent = mine.pod;

  me.on("state", ({ state, reason }) => {
    if (me !== rc) return;
    $("state").dataset.state = state;
    $("state").textContent = { connecting: "Connecting", open: "Connected", waiting: "Reconnecting", closed: "Disconnected" }[state];
    if (state !== "connecting") log("note", state === "open" ? `connected to ${mine.pod}` : `${state}: ${reason}`);
    draw(room);
  });
  room.on("sync", () => me === rc && log("note", `${room.count} here, in the answer to join`));
  room.on("join", (m) => me === rc && log("joined", `joined ${m.id}`));
  room.on("leave", (m) => me === rc && log("left", `left ${m.id}`));
  room.on("change", () => me === rc && draw(room));
}

function draw(room) {
  const list = [...room.members.values()].sort((a, b) => a.id.localeCompare(b.id));
  $("count").textContent = room.count ?? "";
  $("members").classList.toggle("stale", !room.synced);
  $("members").replaceChildren(...list.map((m) => h("li", { class: "member", "data-user": m.id },
    avatar(m.id), m.id, m.id === ME && h("span", { class: "you-mark" }, "this page"))));
}

function log(kind, text) {
  $("log").prepend(h("li", {}, h("time", {}, time()), h("code", { class: kind }, text)));
  while ($("log").children.length > 100) $("log").lastChild.remove();
}

// showTruth shows the two headers of the chosen pod's answer.
function showTruth({ status, complete = "none", missing, lost }) {
  $("truth").dataset.complete = complete;
  let text = { true: "The answer is complete", false: "The answer is incomplete" }[complete];
  if (lost) text = "The pod that this page is from is gone: open the page of another";
  else if (!status) text = "Asking";
  else text ??= status < 500 ? `${mine.pod} answers ${status}` : `${mine.pod} does not answer`;
  $("complete").textContent = text;
  $("missing").textContent = complete === "none" ? "" :
    `Rollcall-Complete: ${complete}${missing && `, Rollcall-Missing: ${missing}`}`;
}

watch();
