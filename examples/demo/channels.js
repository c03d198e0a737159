// One panel per channel: its members, its messages, and a button to leave.
import { avatar, h, nameOf, time } from "./dom.js";

const SHOWN = 100; // most members that are listed by name
const CROWDED = 8; // above this number, members are in columns
const KEPT = 50; // most lines of messages

const REFUSALS = {
  login_required: "Only those who are logged in may join.",
  denied: "You may not listen to this channel.",
  bad_channel: "This is not a valid channel name.",
  reserved_channel: "Names that begin with tab| belong to the tabs.",
  too_many_channels: "This tab is in as many channels as it may be.",
  not_allowed: "You may not join.",
};

const frame = (id, name, kind, ...rest) =>
  h("article", { class: "channel", "data-testid": `channel-${id}`, "data-kind": kind, "aria-label": `Channel ${name}` }, rest);

const title = (name, kind) => h("div", { class: "title" }, h("h3", { title: name }, name), kind);

// live is the panel of a joined channel; draw() updates it. me() is the user of this tab.
export function live(channel, me, onleave) {
  const count = h("span", { class: "number", "data-testid": `count-${channel.name}` });
  const unit = h("span", { class: "unit" });
  const kind = h("span", { class: "kind" });
  const members = h("ul", { class: "members", "data-testid": `members-${channel.name}`, "aria-label": `Members of ${channel.name}` });
  const leave = h("button", { type: "button", class: "quiet", "data-testid": `leave-${channel.name}`, "aria-label": `Leave ${channel.name}`, onclick: onleave }, "Leave");
  const element = frame(channel.name, channel.name, "",
    h("div", { class: "channel-head" }, title(channel.name, kind), h("p", { class: "count" }, count, unit), leave), members, talk(channel));

  let before = new Map(); // the shown entries, so that those of members who stay are not drawn again
  let known = false; // entries after the first snapshot are new

  function draw() {
    element.classList.toggle("stale", !channel.synced);
    element.dataset.kind = channel.kind ?? "";
    kind.textContent = channel.kind ?? "joining";
    count.textContent = channel.count ?? "";
    const named = channel.kind !== "anonymous";
    unit.textContent = channel.count === null ? "" : (named ? "user" : "connection") + (channel.count === 1 ? "" : "s");

    const user = me();
    const list = [...channel.members.values()].sort((a, b) =>
      (b.id === user?.id) - (a.id === user?.id) || nameOf(a).localeCompare(nameOf(b)) || a.id.localeCompare(b.id));
    const entries = new Map();
    for (const m of list.slice(0, SHOWN)) {
      const you = m.id === user?.id;
      const key = JSON.stringify([m, you]);
      entries.set(key, before.get(key) ?? member(m, you, known));
    }
    before = entries;
    known = channel.synced;
    const rest = [];
    if (!named) rest.push(crowd(channel.count));
    else if (list.length > SHOWN) rest.push(h("li", { class: "unnamed" }, `and ${list.length - SHOWN} more`));
    members.classList.toggle("crowded", list.length > CROWDED);
    place(members, [...entries.values(), ...rest]);
  }
  draw();
  return { element, draw };
}

// talk shows the messages of a channel, and an input to write one.
function talk(channel) {
  const { name } = channel;
  const lines = h("ol", { class: "lines", "data-testid": `lines-${name}`, "aria-label": `Messages in ${name}`, role: "log", hidden: true });
  const text = h("input", { "data-testid": `say-${name}`, "aria-label": `Write to ${name}`, placeholder: "Write a line", maxlength: 500, autocomplete: "off" });
  const form = h("form", { class: "say", onsubmit: say }, text, h("button", { "data-testid": `send-${name}` }, "Send"));

  // A message says who sent it by ID and address; the rest is in the list of members.
  const known = (from) => channel.members.get(from.id) ?? from;

  function add(line) {
    lines.append(line);
    while (lines.children.length > KEPT) lines.firstChild.remove();
    lines.hidden = false;
    lines.scrollTop = lines.scrollHeight;
  }
  async function say(e) {
    e.preventDefault();
    const line = text.value.trim();
    if (!line) return;
    try {
      await channel.send({ text: line });
      text.value = "";
    } catch (error) {
      add(h("li", { class: "refusal" }, "Not sent: ", error.message, " ", h("code", {}, error.code)));
    }
  }
  channel.on("message", (message, from) => add(h("li", { class: "line", "data-from": from?.id ?? "" },
    from ? avatar(known(from)) : h("span", { class: "avatar nobody", "aria-hidden": "true" }),
    h("span", { class: "said" }, h("strong", {}, from ? nameOf(known(from)) : "Somebody"), " ", lineOf(message)),
    h("time", {}, time()))));
  return h("div", { class: "talk" }, lines, form);
}

// lineOf returns a message as a line. A message from another program can be any object.
export const lineOf = (message) => (typeof message.text === "string" ? message.text : JSON.stringify(message));

// crowd shows a number of people without names.
function crowd(n) {
  const faces = Array.from({ length: Math.min(n, 12) }, () => h("span", { class: "avatar nobody" }));
  return h("li", { class: "unnamed crowd" }, n > 0 && h("span", { class: "faces", "aria-hidden": "true" }, faces), "counted, not named");
}

// place makes the elements the children of parent, without moving those that are in place.
export function place(parent, elements) {
  elements.forEach((e, i) => {
    if (parent.children[i] !== e) parent.insertBefore(e, parent.children[i] ?? null);
  });
  while (parent.children.length > elements.length) parent.lastElementChild.remove();
}

function member(m, you, fresh) {
  const { id, email, info, status } = m;
  const doing = typeof status?.text === "string" && status.text;
  return h("li", { class: `member${you ? " is-you" : ""}${fresh ? " fresh" : ""}`, "data-user": id },
    avatar(m),
    h("span", { class: "who" },
      h("span", { class: "name" }, nameOf(m), info?.bot === true && h("span", { class: "bot" }, "bot")),
      h("span", { class: "id" }, nameOf(m) !== email && email ? h("span", { class: "email" }, email) : id, doing && ` · ${doing}`)),
    you && h("span", { class: "you-mark" }, "you"));
}

// tab is the panel of this tab's private channel.
export function tab(name, user) {
  return frame("tab", "of this tab", "private",
    h("div", { class: "channel-head" }, title(name, h("span", { class: "kind" }, "private"))),
    h("ul", { class: "members", "data-testid": "members-tab" }, user
      ? member(user, true)
      : h("li", { class: "unnamed" }, "Every tab has a channel of its own. You are anonymous in it.")));
}

// refused is the panel of a channel that could not be joined.
export function refused(name, error, { logIn, dismiss }) {
  return frame(name, name, "refused",
    h("div", { class: "channel-head" }, title(name, h("span", { class: "kind" }, "not joined")),
      h("button", { type: "button", class: "quiet", "aria-label": `Dismiss ${name}`, onclick: dismiss }, "Dismiss")),
    h("p", { class: "refusal" }, REFUSALS[error.code] ?? error.message, " ", h("code", {}, error.code),
      error.code === "login_required" && h("button", { type: "button", class: "link", onclick: logIn }, "Log in to join")));
}
