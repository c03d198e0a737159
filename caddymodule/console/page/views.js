// The views: each returns the elements that show a snapshot.

import { h } from "./dom.js";
import { plot } from "./plot.js";

const number = new Intl.NumberFormat();
const n = (v) => number.format(v);
const rate = (v) => number.format(v < 10 ? Math.round(v * 10) / 10 : Math.round(v));

export const link = (...parts) => "#/" + parts.map(encodeURIComponent).join("/");
const query = (base, values) => {
  const q = new URLSearchParams(Object.entries(values).filter(([, v]) => v));
  return q.size ? `${base}?${q}` : base;
};

const views = { hosts, host, channel, user, traffic, plugins, queues, cluster };

// show returns the elements of the main part.
export function show(at, snap, beat, plots, rates) {
  const warnings = [];
  if (!snap.complete) {
    warnings.push(h("p", { class: "notice warn", "data-key": "incomplete" },
      h("strong", {}, "Not complete. "),
      snap.missing?.length
        ? `No answer from ${snap.missing.join(", ")}: what is only there is missing here.`
        : "This pod does not know yet which other pods there are."));
  }
  if (snap.user === "") {
    warnings.push(h("p", { class: "notice", "data-key": "open" },
      h("strong", {}, "Open to everybody. "),
      "This console is set up with ", h("code", {}, "rollcall_console open"),
      ": whoever reaches this address sees it, and can do all that it offers."));
  }
  if (snap.cut > 0) {
    warnings.push(h("p", { class: "notice", "data-key": "cut" },
      `${n(snap.cut)} more connections or channels of these users are not shown; buttons are for those that are.`));
  }
  const content = snap.error
    ? [heading(at.title, at.trail), h("p", { class: "notice bad" }, snap.error)]
    : views[at.view](at, snap, plots, rates);
  return [...warnings, ...content.flat(2).filter(Boolean)];
}

function heading(title, trail = [], ...actions) {
  return h("div", { class: "heading", "data-key": "heading" },
    trail.length > 0 && h("nav", { class: "trail", "aria-label": "Breadcrumb" },
      trail.map(([text, href], i) => [i > 0 && h("span", { "aria-hidden": "true" }, "/"), h("a", { href }, text)])),
    h("h1", {}, title),
    actions.length > 0 && h("div", { class: "actions" }, actions));
}

// cards shows numbers, as pairs of a name and a value.
const cards = (...list) => h("dl", { class: "cards" }, list.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));

// table shows rows of cells. A cell is a text, an element or a list of them; heads with a leading # are numbers.
function table(caption, heads, rows, empty) {
  if (rows.length === 0) return h("section", {}, h("h2", {}, caption), h("p", { class: "muted" }, empty));
  const numeric = heads.map((head) => head.startsWith("#"));
  const names = heads.map((head) => head.replace("#", ""));
  return h("section", {}, h("h2", {}, caption),
    h("table", { role: "table", "aria-label": caption },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" },
        names.map((head, i) => h("th", { scope: "col", role: "columnheader", class: numeric[i] && "number" }, head)))),
      h("tbody", { role: "rowgroup" }, rows.map(({ key, cells }) => h("tr", { role: "row", "data-key": key },
        cells.map((cell, i) => h("td", { role: "cell", "data-label": names[i], class: numeric[i] && "number" }, h("div", {}, cell))))))));
}

const badge = (text, tone) => h("span", { class: `badge ${tone ?? ""}` }, text);

// act is a button that asks before it does something, see app.js.
const act = (text, what, body, tone = "") =>
  h("button", { type: "button", class: tone, "data-do": JSON.stringify(body), "data-what": what }, text);

function filter(label, value, hint) {
  return h("form", { class: "find", "data-form": "filter", role: "search" },
    h("label", {}, label, h("input", { name: "filter", type: "search", value, autocomplete: "off", maxlength: 255, placeholder: hint })),
    h("button", { type: "submit" }, "Show"));
}

function pager(at, next, base) {
  if (!next && !at.after) return null;
  return h("nav", { class: "pager", "aria-label": "Pages" },
    at.after && h("a", { href: query(base, { filter: at.filter }) }, "First page"),
    next && h("a", { href: query(base, { filter: at.filter, after: next }) }, "Next page"));
}

const since = (text) => {
  const time = new Date(text);
  if (!text || Number.isNaN(time.getTime())) return "unknown";
  const today = time.toDateString() === new Date().toDateString();
  return h("time", { datetime: text, title: time.toLocaleString() }, today ? time.toLocaleTimeString() : time.toLocaleString());
};

const podsOf = (host) => (host.pods ?? []).filter((p) => p.connections > 0);

function hosts(at, snap, plots) {
  const rows = snap.hosts.hosts.map((x) => ({
    key: x.host,
    cells: [
      h("a", { href: link("host", x.host) }, x.host), n(x.connections), n(x.authenticated), n(x.anonymous),
      h("ul", { class: "tags" }, podsOf(x).map((p) => h("li", {}, `${p.data_center}/${p.pod} ${n(p.connections)}`))),
    ],
  }));
  return [
    heading("Hosts"),
    cards(["Connections", n(snap.totals.connections)], ["With a user", n(snap.totals.authenticated)],
      ["Anonymous", n(snap.totals.anonymous)], ["Hosts", n(snap.totals.hosts)]),
    plot(plots.points("connections"), "Connections since this page was opened", n),
    filter("Host", at.filter, "part of its name"),
    table(snap.all ? "All hosts" : "Hosts of this site", ["Host", "#Connections", "#With a user", "#Anonymous", "Data center and pod"], rows,
      at.filter ? "No host has this in its name." : "There is no host to show. A console shows the hosts that the rollcall of its site block serves; hosts all shows all."),
    pager(at, snap.hosts.next, "#/"),
  ];
}

function host(at, snap, plots) {
  const x = snap.host, list = snap.channels;
  const base = link("host", at.host);
  return [
    heading(at.host, at.trail),
    cards(["Connections", n(x.connections)], ["With a user", n(x.authenticated)], ["Anonymous", n(x.anonymous)]),
    plot(plots.points(`host ${at.host}`), "Connections since this page was opened", n),
    table("By data center and pod", ["Data center", "Pod", "#Connections", "#Users", "#Anonymous", "#Channels"], podsOf(x).map((p) => ({
      key: `${p.data_center}/${p.pod}`,
      cells: [p.data_center, p.pod, n(p.connections), n(p.users), n(p.anonymous), n(p.channels)],
    })), "Nobody is connected."),
    h("div", { class: "finders" },
      filter("Channel", at.filter, "how its name begins"),
      h("form", { class: "find", "data-form": "user", role: "search", "aria-label": "Find a user" },
        h("label", {}, "User ID", h("input", { name: "user", type: "search", required: true, autocomplete: "off", maxlength: 256, placeholder: "the whole ID" })),
        h("button", { type: "submit" }, "Find"))),
    table("Channels", ["Channel", "Kind", "#Here"], list.channels.map((c) => ({
      key: c.channel,
      cells: [h("a", { href: link("host", at.host, "channel", c.channel) }, c.channel), badge(c.kind, c.kind), counted(c.count, c.counts)],
    })), at.filter ? "No channel begins like this." : "No channel is active."),
    list.hidden > 0 && h("p", { class: "muted" }, `${n(list.hidden)} hidden ${list.hidden === 1 ? "channel is" : "channels are"} not listed.`),
    pager(at, list.next, base),
  ];
}

export const counted = (count, what) => `${n(count)} ${count === 1 ? what.replace(/s$/, "") : what}`;

// idOf returns the ID that plugins leave of a user, and restOf what else there is, as text.
const idOf = (user) => (typeof user?.id === "string" ? user.id : "without an ID");
const restOf = (user) => Object.entries(user ?? {}).filter(([key]) => key !== "id")
  .map(([key, value]) => `${key}: ${typeof value === "string" ? value : JSON.stringify(value)}`).join(", ").slice(0, 300);

// podsIn returns the pods of connections, each once.
function podsIn(conns) {
  const counts = new Map();
  for (const c of conns) {
    const pod = `${c.data_center}/${c.pod}`;
    counts.set(pod, (counts.get(pod) ?? 0) + 1);
  }
  return [...counts].map(([pod, times]) => (times > 1 ? `${pod} ${times}` : pod));
}

function channel(at, snap) {
  const list = snap.users, { kind } = list.channel;
  const rows = list.users.map((u, i) => {
    const conns = u.connections ?? [];
    const ids = conns.map((c) => c.connection);
    const id = idOf(u.user), rest = restOf(u.user);
    return {
      key: `${id} ${ids[0] ?? i}`,
      cells: [
        [h("a", { href: link("host", at.host, "user", id) }, id), rest && h("div", { class: "muted small" }, rest)],
        since(u.since),
        h("ul", { class: "tags" }, podsIn(conns).map((pod) => h("li", {}, pod))),
        ids.length > 0 && h("div", { class: "buttons" },
          act("Remove", `Remove ${id} from ${at.channel}? Whoever may join can join again.`, { action: "leave", host: at.host, connections: ids, channel: at.channel }),
          act("Disconnect", `Close ${counted(ids.length, "connections")} of ${id}?`, { action: "disconnect", host: at.host, connections: ids }, "danger")),
      ],
    };
  });
  return [
    heading(at.channel, at.trail, act("Send a message", `Send a message to everybody in ${at.channel}.`, { action: "send", host: at.host, channel: at.channel, message: {} })),
    h("p", {}, badge(kind, kind), ` ${counted(list.channel.count, list.channel.counts)}`),
    kind !== "anonymous" && table("Users", ["User", "Since", "Pod", "Actions"], rows, "This channel only counts its users, or plugins leave them out."),
    pager(at, list.next, link("host", at.host, "channel", at.channel)),
  ];
}

function user(at, snap) {
  const conns = snap.found.user?.connections ?? [];
  const rest = restOf(snap.found.user?.user);
  return [
    heading(at.user, at.trail, conns.length > 0 && [
      act("Send a message", `Send a message to ${at.user}.`, { action: "send", host: at.host, users: [at.user], message: {} }),
      act("Disconnect", `Close all connections of ${at.user} on ${at.host}?`, { action: "disconnect", host: at.host, users: [at.user] }, "danger"),
    ]),
    rest && h("p", { class: "muted" }, rest),
    conns.length === 0
      ? h("p", { class: "notice" }, "Not listed: no connection has this user, or a plugin leaves the user out.")
      : h("p", {}, `Listed because of ${counted(conns.length, "connections")}.`),
    table("Connections", ["Connection", "Pod", "Since", "Last sign of life", "Channels", "Actions"], conns.map((c) => ({
      key: c.connection,
      cells: [
        h("code", {}, c.connection), h("span", { class: "together" }, `${c.data_center}/${c.pod}`), since(c.since), since(c.last_sign_of_life),
        [h("ul", { class: "tags" }, (c.channels ?? []).map((name) => h("li", {}, h("a", { href: link("host", at.host, "channel", name) }, name)))),
          c.hidden > 0 && h("div", { class: "muted small" }, `and ${n(c.hidden)} hidden`)],
        act("Disconnect", `Close the connection ${c.connection} of ${at.user}?`, { action: "disconnect", host: at.host, connections: [c.connection] }, "danger"),
      ],
    })), "There is none."),
  ];
}

const here = (snap, rest = ".") => h("p", { class: "muted" }, `Of this pod, ${snap.self}, since it was started${rest}`);

function traffic(at, snap, plots, rates) {
  const list = snap.traffic.hosts;
  const refused = (x) => Object.entries(x.messages).filter(([k]) => !k.endsWith(" ok"));
  const reasons = (x) => Object.entries(x.disconnects).sort((a, b) => b[1] - a[1]);
  return [
    heading("Traffic"), here(snap, "; rates are of the last seconds."),
    plot(plots.points("messages"), "Messages a second that are delivered", rate),
    filter("Host", at.filter, "part of its name"),
    table("Messages", ["Host", "#Sent a second", "#Delivered a second", "#Frames in a second", "#Sent", "#Delivered"], list.map((x) => ({
      key: x.host,
      cells: [x.host, rate(rates.of(x.host, "sent")), rate(rates.of(x.host, "delivered")), rate(rates.of(x.host, "received")), n(sent(x)), n(x.delivered)],
    })), "Nothing was sent yet."),
    table("Refused messages and joins", ["Host", "What", "Reason", "#Number"], list.flatMap((x) => [
      ...refused(x).map(([k, v]) => [x.host, `message of a ${k.split(" ")[0]}`, k.split(" ")[1], v]),
      ...Object.entries(x.joins).filter(([k]) => k !== "ok").map(([k, v]) => [x.host, "join", k, v]),
    ]).map((row) => ({ key: row.slice(0, 3).join(" "), cells: [...row.slice(0, 3), n(row[3])] })), "None was refused."),
    table("Connections that ended", ["Host", "Reason", "#Number"], list.flatMap((x) => reasons(x).map(([why, v]) => ({
      key: `${x.host} ${why}`, cells: [x.host, why, n(v)],
    }))), "None has ended."),
    more(snap.traffic.more, "hosts"),
    pager(at, snap.traffic.more > 0 && list.at(-1).host, "#/traffic"),
  ];
}

// sent returns the number of messages that were sent.
export const sent = (x) => Object.entries(x.messages).filter(([k]) => k.endsWith(" ok")).reduce((sum, [, v]) => sum + v, 0);

const more = (count, what) => count > 0 && h("p", { class: "muted" }, `${n(count)} more ${what} are not shown.`);

function plugins(at, snap) {
  const page = snap.plugins;
  const tones = { closed: "good", open: "bad", "half-open": "warn" };
  return [
    heading("Plugins"), here(snap),
    table("Plugins", ["Plugin", "Host", "Breaker", "#Failures", "Last failure", "#Instances", "#Memory", "Actions"], page.plugins.map((p) => ({
      key: `${p.plugin} ${p.sha256} ${p.host}`,
      cells: [
        [p.plugin, h("div", { class: "muted small" }, `${p.sha256.slice(0, 8)}, on failure ${p.on_failure}`)],
        p.host || (p.shared ? "all" : "not called yet"), badge(p.breaker, tones[p.breaker]), n(p.failures), p.last_failure || "none",
        `${n(p.idle + p.busy)}`, `${n(Math.round(p.memory / 1024))} KiB`,
        p.breaker !== "closed" && act("Reset breaker", `Call ${p.plugin} again for ${p.host || "all hosts"}, on this pod?`, { action: "reset", host: p.host, plugin: p.plugin }),
      ],
    })), "No plugin is loaded."),
    table("Calls", ["Plugin", "Host", "Hook", "#Calls", "#Refused", "#Failed", "#Steps a call"], page.calls.map((c) => ({
      key: `${c.plugin} ${c.host} ${c.hook}`,
      cells: [c.plugin, c.host === "_shared" ? "all" : c.host, c.hook, n(c.ok + c.failed), n(c.refused), n(c.failed), n(c.ok ? Math.round(c.steps / c.ok) : 0)],
    })), "No plugin was called."),
    more(page.more, "rows"),
  ];
}

function queues(at, snap) {
  const rows = (list, events) => list.map((q) => ({
    key: `${q.host} ${q.receiver}`,
    cells: [
      q.host, ...(events ? [q.receiver || "removed"] : []), n(q.waiting), `${n(Math.ceil(q.bytes / 1024))} KiB`,
      q.waiting > 0 && q.oldest ? since(q.oldest) : "none",
      q.last_failure ? [q.last_failure, h("div", { class: "muted small" }, since(q.failed_at))] : "none",
    ],
  }));
  return [
    heading("Queues"), here(snap),
    table("Copies of messages for backends", ["Host", "#Waiting", "#Size", "Oldest", "Last failure"], rows(snap.queues.copies), "No copy waits."),
    table("Events for receivers", ["Host", "Receiver", "#Waiting", "#Size", "Oldest", "Last failure"], rows(snap.queues.events, true), "No event waits."),
  ];
}

function cluster(at, snap) {
  const c = snap.cluster;
  const tones = { self: "good", alive: "good", suspect: "warn", draining: "warn", unreachable: "bad" };
  const missing = c.pods.filter((p) => p.state === "unreachable");
  const heads = ["Data center", "Pod", "State", "Started", "#Heard", "#Round trip"];
  return [
    heading("Cluster"),
    missing.length > 0 && h("p", { class: "notice bad" },
      `${counted(missing.length, "pods")} cannot be reached: ${missing.map((p) => `${p.data_center}/${p.pod}`).join(", ")}.`),
    c.name
      ? cards(["Name", c.name], ["Pods", n(c.pods.length)], ["NATS", c.nats.connected ? "connected" : "not connected"], ["Ready", c.ready ? "yes" : "not yet"])
      : h("p", {}, "This pod is alone: its configuration has no cluster."),
    c.nats.last_error && h("p", { class: "notice warn" }, c.nats.last_error),
    table("Pods", snap.all ? [...heads, "#Connections", "#Hosts"] : heads, c.pods.map((p) => ({
      key: `${p.data_center}/${p.pod}/${p.incarnation}`,
      cells: [
        p.data_center, [p.pod, p.conflict && badge("name used twice", "bad")], badge(p.state === "self" ? "this pod" : p.state, tones[p.state]), since(p.started),
        p.state === "self" ? "" : `${n(Math.round(p.heartbeat_age_seconds))} s ago`, p.round_trip_ms ? `${rate(p.round_trip_ms)} ms` : "",
        ...(snap.all ? [n(p.connections), n(p.hosts)] : []),
      ],
    })), "There is none."),
  ];
}
