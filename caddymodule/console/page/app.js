// The console: the address says which view is open, one event stream brings its snapshots, and buttons ask before
// they do something.

import { h, update, visible } from "./dom.js";
import { Plots } from "./plot.js";
import { Stream, loggedOut } from "./stream.js";
import { counted, link, sent, show } from "./views.js";

const main = document.getElementById("main");
const live = document.getElementById("live");
const liveText = document.getElementById("live-text");
const dialog = document.getElementById("dialog");
const notices = document.getElementById("notices");

let at = {}; // what is open
let snap = null; // latest snapshot of it; null before the first
let beat = { at: 0, stale: 0 };
const plots = new Plots();

// Rates over the last few seconds, from counters that only grow.
const rates = {
  samples: [],
  add(time, hosts) {
    this.samples.push([time, new Map(hosts.map((x) => [x.host, { sent: sent(x), delivered: x.delivered, received: x.received }]))]);
    if (this.samples.length > 6) this.samples.shift();
  },
  of(host, what) {
    const [t0, first] = this.samples[0] ?? [], [t1, last] = this.samples.at(-1) ?? [];
    if (!last?.has(host) || t1 <= t0) return 0;
    return Math.max(0, (last.get(host)[what] - (first.get(host)?.[what] ?? 0)) / ((t1 - t0) / 1000));
  },
};

// parse reads the address after #: what is open, and its title.
function parse(hash) {
  const [path, search] = hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter(Boolean).map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  const values = new URLSearchParams(search);
  const common = { filter: values.get("filter") ?? "", after: values.get("after") ?? "" };
  if (["traffic", "plugins", "queues", "cluster"].includes(parts[0])) {
    return { view: parts[0], title: parts[0][0].toUpperCase() + parts[0].slice(1), section: `#/${parts[0]}`, ...common };
  }
  const in_ = [["Hosts", "#/"]];
  const [, host, what, name] = parts;
  if (parts[0] !== "host" || !host) return { view: "hosts", title: "Hosts", section: "#/", ...common };
  if ((what === "channel" || what === "user") && name) {
    return { view: what, host, [what]: name, title: name, trail: [...in_, [host, link("host", host)]], section: "#/", ...common };
  }
  return { view: "host", host, title: host, trail: in_, section: "#/", ...common };
}

function open() {
  const first = snap === null && !at.view;
  at = parse(location.hash);
  snap = null;
  rates.samples = [];
  document.title = visible(`${at.title} - Rollcall console`);
  for (const a of document.querySelectorAll("#nav a")) {
    if (a.getAttribute("href") === at.section) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  main.setAttribute("aria-busy", "true");
  if (!first) main.focus({ preventScroll: true });
  scrollTo(0, 0);
  const query = new URLSearchParams({ view: at.view });
  for (const key of ["host", "channel", "user", "filter", "after"]) {
    if (at[key]) query.set(key, at[key]);
  }
  stream.follow(query);
}

function state(name, text) {
  live.dataset.state = name;
  if (liveText.textContent !== text) liveText.textContent = text;
}

let due = false;

const stream = new Stream({
  state(name, text) {
    state(name, text);
    if (name === "lost" && snap === null) update(main, [h("p", { class: "notice bad" }, text)]);
  },
  beat(data) {
    const same = snap !== null && data.at === beat.at; // nothing new: the next snapshot has to wait
    beat = data;
    state("live", data.stale > 2000 ? `Live, ${Math.round(data.stale / 1000)} s behind` : "Live");
    if (due || same) return;
    setTimeout(tick, 0); // after the snapshot that may come with it
    due = true;
  },
  view(data) {
    snap = data;
  },
});

// tick adds what is known now to the plots, and shows it.
function tick() {
  due = false;
  if (snap === null) return;
  plots.add("connections", beat.at, snap.totals.connections);
  if (snap.host) plots.add(`host ${snap.host.host}`, beat.at, snap.host.connections);
  if (snap.traffic) {
    rates.add(beat.at, snap.traffic.hosts);
    plots.add("messages", beat.at, snap.traffic.hosts.reduce((sum, x) => sum + rates.of(x.host, "delivered"), 0));
  }
  update(main, show(at, snap, beat, plots, rates));
  main.setAttribute("aria-busy", "false");
  const who = snap.user === "" ? "Open to everybody." : `You are ${snap.user}.`;
  update(document.getElementById("foot"), [`${who} Served by ${snap.self}, at ${new Date(beat.at).toLocaleTimeString()}.`]);
}

// say shows the result of an action.
function say(text, tone) {
  update(notices, [h("p", { class: `notice ${tone}` }, h("span", {}, text), h("button", { type: "button", "data-dismiss": true }, "Dismiss"))]);
}

const verbs = { disconnect: "Disconnect", leave: "Remove", send: "Send", reset: "Reset" };

// ask shows the dialog for an action, and does it if that is confirmed.
function ask(body, what, from) {
  const danger = body.action === "disconnect" || body.action === "leave";
  const form = h("form", { method: "dialog" },
    h("h2", { id: "dialog-title" }, what),
    body.action === "send" && h("label", {}, "Message, a JSON object",
      h("textarea", { name: "message", rows: 5, required: true, spellcheck: "false", autofocus: true }, '{"text": ""}')),
    h("p", { class: "problem", role: "alert", hidden: true }),
    h("div", { class: "buttons" },
      h("button", { type: "button", value: "cancel", autofocus: body.action !== "send", "data-cancel": true }, "Cancel"),
      h("button", { type: "submit", class: danger ? "danger solid" : "solid" }, verbs[body.action])));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = { ...body };
    if (body.action === "send") {
      try {
        wanted.message = JSON.parse(form.message.value);
      } catch {
        wanted.message = null;
      }
      if (wanted.message === null || typeof wanted.message !== "object" || Array.isArray(wanted.message)) {
        const problem = form.querySelector(".problem");
        problem.hidden = false;
        problem.textContent = "This is not a JSON object.";
        form.message.focus();
        return;
      }
    }
    dialog.close();
    perform(wanted);
  });
  form.querySelector("[data-cancel]").addEventListener("click", () => dialog.close());
  dialog.replaceChildren(form);
  dialog.onclose = () => (from.isConnected ? from : main).focus();
  dialog.showModal();
}

async function perform(body) {
  let answer = {}, ok = false;
  try {
    const response = await fetch("action", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), redirect: "manual",
    });
    if (loggedOut(response)) return say("Not done: you are no longer logged in. Reload the page.", "bad");
    answer = await response.json();
    ok = response.ok; // not before: what is no JSON comes from another server
  } catch {
    answer.detail ??= "the server did not answer, so it may be done or not";
  }
  if (!ok) return say(`Not done: ${answer.detail}.`, "bad");
  const counts = { disconnect: ["disconnected", "closed", "connections"], leave: ["left", "ended", "memberships"] };
  const [key, verb, what] = counts[body.action] ?? [];
  const did = key && answer.answer ? `Done: ${verb} ${counted(answer.answer[key], what)}.` : "Done.";
  if (answer.complete) return say(did, "good");
  const then = body.action === "send" ? "They may not have delivered it." : "Do it again when they are back.";
  say(`${did} Not complete: no answer from ${answer.missing?.join(", ") || "some pods"}. ${then}`, "warn");
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button");
  if (button?.dataset.do) ask(JSON.parse(button.dataset.do), button.dataset.what, button);
  if (button?.hasAttribute("data-dismiss")) {
    notices.replaceChildren();
    main.focus();
  }
  if (event.target.closest?.("#skip")) {
    event.preventDefault();
    main.focus();
  }
});

document.addEventListener("submit", (event) => {
  const form = event.target.closest("[data-form]");
  if (!form) return;
  event.preventDefault();
  const value = form.elements[0].value.trim();
  if (form.dataset.form === "user") {
    location.hash = link("host", at.host, "user", value);
    return;
  }
  const base = location.hash.split("?")[0] || "#/";
  location.hash = value ? `${base}?${new URLSearchParams({ filter: value })}` : base;
});

addEventListener("hashchange", open);
addEventListener("resize", () => snap && update(main, show(at, snap, beat, plots, rates)));
open();
