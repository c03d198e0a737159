// Two endpoints for backends: their current answers, and the curl commands that request them.
import { $, copyButton, h, time } from "./dom.js";

const EVERY = 3_000; // ms; polls, because this tab is not notified of others' anonymous connections
const PATIENCE = 10_000; // ms

const endpoints = [
  {
    path: "/message/users",
    test: "users-answer",
    about: "Who listens to which channel.",
    options: [{ key: "dedupeUsers", label: "one entry per user", default: true }],
    channel: true,
  },
  {
    path: "/message/allusers",
    test: "allusers-answer",
    about: "How many are connected, per data center.",
    options: [
      { key: "includeUsers", label: "with users", default: false },
      { key: "dedupeUsers", label: "one entry per user", default: true },
    ],
  },
];

let stopped = false; // after a wrong key, because more of them would lock this address out

// start shows the endpoints and keeps their answers current. It returns a function that requests an
// answer soon.
export function start() {
  const panels = endpoints.map(panel);
  $("answers").append(...panels.map((p) => p.element));
  $("key").addEventListener("input", () => {
    stopped = true; // not for every letter
    for (const p of panels) p.draw();
  });
  $("key").addEventListener("change", () => {
    stopped = false;
    refresh();
  });

  let timer;
  async function refresh() {
    clearTimeout(timer);
    if (!document.hidden && !stopped) await Promise.all(panels.map((p) => p.ask()));
    clearTimeout(timer);
    timer = setTimeout(refresh, EVERY);
  }
  document.addEventListener("visibilitychange", refresh);
  refresh();

  let soon;
  return {
    refresh() {
      clearTimeout(soon);
      soon = setTimeout(refresh, 120); // one request for changes that come together
    },
    channels(names) {
      for (const p of panels) p.channels(names);
    },
  };
}

function panel({ path, test, about, options, channel }) {
  const values = Object.fromEntries(options.map((o) => [o.key, o.default]));
  const command = h("code");
  const answer = h("code", { "data-testid": test });
  const status = h("span", { class: "answer-status" }, "asking");
  const at = h("time", { class: "answer-time" });
  const select = channel && h("select", { "data-testid": "users-channel", onchange: ask }, h("option", { value: "" }, "all channels"));

  const toggles = options.map((o) => {
    const input = h("input", { type: "checkbox", "data-testid": `${test}-${o.key}`, onchange: () => { values[o.key] = input.checked; ask(); } });
    input.checked = o.default;
    return h("label", { class: "toggle" }, input, h("span", {}, o.label), h("code", {}, o.key));
  });
  const element = h("article", { class: "endpoint" },
    h("h3", {}, h("span", { class: "method" }, "POST"), path),
    h("p", { class: "note" }, about),
    h("div", { class: "toggles" }, select && h("label", { class: "toggle" }, h("span", {}, "channel"), select), toggles),
    h("div", { class: "terminal" },
      h("div", { class: "terminal-head" }, h("span", {}, "Command"), copyButton(`Copy the command for ${path}`, () => command.textContent)),
      h("pre", { class: "command", tabindex: "0", role: "region", "aria-label": `Command for ${path}` }, command),
      h("div", { class: "terminal-head" }, status, at),
      h("pre", { class: "answer", tabindex: "0", role: "region", "aria-label": `Answer of ${path}` }, answer)));

  // body contains the options that differ from the defaults, as one would write it by hand.
  function body() {
    const b = { apiKey: $("key").value };
    if (select?.value) b.channel = select.value;
    for (const o of options) if (values[o.key] !== o.default) b[o.key] = values[o.key];
    return JSON.stringify(b);
  }

  function draw() {
    const quoted = body().replaceAll("'", "'\\''");
    command.textContent = `curl -s ${location.origin}${path} \\\n  -H 'Content-Type: application/json' \\\n  -d '${quoted}'`;
  }

  let newest = 0;
  async function ask() {
    draw();
    if (stopped) return;
    const n = ++newest;
    const begin = performance.now();
    let r, text;
    try {
      r = await fetch(path, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: body(),
        signal: AbortSignal.timeout(PATIENCE), // otherwise a request that hangs would be the last
      });
      text = await r.text();
    } catch {
      if (n === newest) show("bad", "no answer: is the server running?");
      return;
    }
    if (n !== newest) return; // a newer request has been or will be answered
    if (r.status === 401 || r.status === 429) stopped = true;
    const complete = r.headers.get("Rollcall-Complete");
    show(r.ok ? "good" : "bad",
      [`${r.status} ${r.statusText}`.trim(), `${Math.max(1, Math.round(performance.now() - begin))} ms`,
        complete && `Rollcall-Complete: ${complete}`].filter(Boolean).join(" · "), text);
  }

  function show(kind, line, text) {
    status.className = `answer-status ${kind}`;
    status.textContent = line;
    at.textContent = time();
    if (text === undefined) return;
    let value;
    try {
      value = JSON.parse(text);
    } catch {
      answer.textContent = text;
      return;
    }
    const pretty = format(value);
    if (answer.textContent !== pretty) answer.replaceChildren(...highlight(pretty)); // otherwise a selection would be lost
  }

  function channels(names) {
    if (!select) return;
    const chosen = select.value;
    const all = chosen && !names.includes(chosen) ? [...names, chosen] : names;
    if ([...select.options].slice(1).map((o) => o.value).join("\n") === all.join("\n")) return;
    select.replaceChildren(h("option", { value: "" }, "all channels"), ...all.map((n) => h("option", { value: n }, n)));
    select.value = chosen;
  }

  draw();
  return { element, draw, ask, channels };
}

// format writes JSON with one user per line, and short values on one line.
function format(value, indent = "", key = "") {
  if (value === null || typeof value !== "object") return key + JSON.stringify(value);
  const list = Array.isArray(value);
  const inner = `${indent}  `;
  const parts = Object.entries(value).map(([k, v]) => format(v, inner, list ? "" : `${JSON.stringify(k)}: `));
  const [open, close] = list ? "[]" : "{}";
  if (!parts.length) return key + open + close;
  const flat = `${key}${open} ${parts.join(", ")} ${close}`;
  const leaf = Object.values(value).every((v) => v === null || typeof v !== "object");
  if (indent && leaf && (!key || indent.length + flat.length <= 66)) return flat;
  return `${key}${open}\n${inner}${parts.join(`,\n${inner}`)}\n${indent}${close}`;
}

function highlight(text) {
  const token = /("(?:[^"\\]|\\.)*")(?=(:)?)|-?\d[\d.eE+-]*|true|false|null/g;
  const out = [];
  let end = 0;
  for (const m of text.matchAll(token)) {
    const kind = m[2] ? "key" : m[1] ? "string" : "number";
    out.push(text.slice(end, m.index), h("span", { class: kind }, m[0]));
    end = m.index + m[0].length;
  }
  out.push(text.slice(end));
  return out;
}
