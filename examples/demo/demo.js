// The demo page: one Rollcall connection, and a view of everything that it receives.
//
// The URL's fragment is the state of the page, so that a link or a reload restores it:
// #name=Ada&join=salesRoom,anonymousChat. Without one, the page opens as Ada in a room with two bots, who are no part of it.
import { Rollcall } from "/message/client.js";
import * as act from "./act.js";
import * as answers from "./answers.js";
import * as bots from "./bots.js";
import * as panels from "./channels.js";
import { $, avatar, h, nameOf, plural, time } from "./dom.js";
import { person, sign } from "./token.js";

const SUGGESTED = ["salesRoom", "support", "anonymousChat", "lobby"];
const FRIENDS = ["Grace", "Ada", "Alan"];

const STATES = { connecting: "Connecting", open: "Connected", waiting: "Reconnecting", closed: "Disconnected" };
const REASONS = {
  start: "first attempt", retry: "trying again", welcome: "live",
  lost: "the connection was lost", silent: "the server fell silent", timeout: "the server did not answer",
  online: "the network is back", visible: "the page is visible again", token: "no token to log in with", going_away: "this host is no longer served",
  policy: "the server refused what this page sent", too_large: "this page sent too much",
  draining: "the server restarts and asked for a pause", token_expired: "the log-in expired",
  origin: "pages of this origin may not connect", refused: "a plugin refuses this connection",
  denied: "a plugin refuses this log-in", limit: "this host has as many connections as it may have",
  slow_consumer: "this tab was too slow", rate_limited: "this tab sent too much at once",
  bad_token: "the server refused the token", unavailable: "the server cannot log this user in now",
  closed: "you closed the connection",
};

const BAD_TOKEN = "The server refused the token of this page. Was it started with another ROLLCALL_JWT_SECRET?";

let identity = null; // the user that this tab wants to be; rc.user is the user that it is
let countdown;
const views = new Map(); // by channel name: { element, draw }
const refusals = new Map(); // by channel name: { code, element }
let tab = {}; // the panel of this tab's channel, and its content

if (location.hash.length < 2) history.replaceState(null, "", "#name=Ada&join=salesRoom,lobby&bots");
const begin = new URLSearchParams(location.hash.slice(1));
if (begin.get("name")?.trim()) identity = person(begin.get("name"));
let endBots = null; // lets the bots go, if this page has let them come

const rc = new Rollcall({ getToken: () => (identity ? sign(identity) : null) });
const live = answers.start();
const drawActs = act.start(rc);

// Connection

rc.on("state", async ({ state, reason, code, delay }) => {
  log(STATES[state].toLowerCase(), REASONS[reason] ?? reason, known(code));
  showState(reason, code, delay);
  showMe();
  drawChannels();
  live.refresh();
  if (reason === "bad_token") showError(BAD_TOKEN, state === "closed" && ["Stay anonymous", logOut]);
  if (state === "open" && identity && rc.user?.id !== identity.id) await authenticate(); // logged in while connecting
});
rc.on("user", () => {
  log("logged in", `as ${nameOf(rc.user)}`);
  showMe();
  drawChannels();
  live.refresh();
});
rc.on("assigned", (channel) => {
  log(channel.name, "the backend put you into it");
  channel.on("error", () => leave(channel.name)); // the assignment has ended
  join(channel.name);
});
rc.on("message", (m) => log("this tab", `the backend says: ${panels.lineOf(m)}`));
rc.on("error", (e) => log("error", e.message, e.code));

const known = (code) => (code === 1006 ? undefined : code); // 1006: there was no close code

function showState(reason, code, delay) {
  clearInterval(countdown);
  const pill = $("state");
  Object.assign(pill.dataset, { state: rc.state, reason });
  const why = (REASONS[reason] ?? reason) + (known(code) ? ` (${code})` : "");
  const until = Date.now() + delay;
  const draw = () => {
    const s = Math.max(0, Math.ceil((until - Date.now()) / 1000));
    pill.textContent = STATES[rc.state];
    $("reason").textContent = `${STATES[rc.state]}: ${why}${rc.state === "waiting" ? `; next attempt in ${s} s` : ""}`;
  };
  draw();
  if (rc.state === "waiting") countdown = setInterval(draw, 250);
  $("connection").textContent = rc.connection ?? "none";
  $("connect").textContent = { waiting: "Reconnect now", closed: "Connect" }[rc.state] ?? "Disconnect";
}

$("connect").addEventListener("click", () => (rc.state === "waiting" || rc.state === "closed" ? rc.connect() : rc.close()));

// Log-in

$("login").addEventListener("submit", async (e) => {
  e.preventDefault();
  const name = $("login-name").value.trim();
  if (!name) return $("login-name").focus();
  clearError();
  identity = person(name);
  if (rc.state === "open") await authenticate();
  else rc.connect(); // asks getToken
  showMe();
  remember();
});
$("logout").addEventListener("click", logOut);

async function authenticate() {
  try {
    await rc.authenticate(await sign(identity));
  } catch (e) {
    if (e.code === "offline") return; // the next connection logs in
    identity = null;
    showError(e.code === "bad_token" ? BAD_TOKEN : `Logging in failed: ${e.message}`);
    showMe();
    return;
  }
  for (const [name, { code }] of refusals) if (code === "login_required") join(name);
}

// logOut opens a new connection, because a logged-in connection cannot become anonymous.
function logOut() {
  log("logged out", "this tab is anonymous");
  identity = null;
  clearError();
  rc.close();
  rc.connect();
  remember();
  $("login-name").focus();
}

function showMe() {
  const user = rc.user ?? (rc.state === "open" ? null : identity);
  $("login").hidden = Boolean(identity);
  $("logout").hidden = !identity;
  $("me").replaceChildren(
    user ? avatar(withInfo(user)) : h("span", { class: "avatar nobody", "aria-hidden": "true" }),
    h("span", { class: "who" },
      h("strong", { "data-testid": "me" }, user ? nameOf(withInfo(user)) : "Anonymous"),
      h("span", { class: "id" }, user ? user.email || user.id : "counted, not named")));
  const friend = FRIENDS.find((f) => person(f).id !== identity?.id);
  $("other").textContent = `New tab as ${friend}`;
  $("other").href = `#name=${friend}&join=${hashList(SUGGESTED.filter((n) => rc.channels.has(n))) || "salesRoom"}`;
}

// withInfo adds what the token of this page says: the server says of a connection's own user the ID and address.
const withInfo = (user) => (user.info || user.id !== identity?.id ? user : { ...user, info: identity.info });

// Channels

$("join").addEventListener("submit", (e) => {
  e.preventDefault();
  const name = $("channel").value.trim();
  if (!name) return $("channel").focus();
  $("channel").value = "";
  join(name);
});

function join(name) {
  refusals.delete(name);
  if (!views.has(name)) {
    const channel = rc.join(name, { presence: "list" });
    const view = panels.live(channel, () => rc.user, () => leave(name));
    views.set(name, view);
    channel.on("sync", () => log(name, `joined, ${plural(channel.count, channel.kind === "anonymous" ? "connection" : "user")}`));
    channel.on("join", (m) => log(name, `${nameOf(m)} is here`));
    channel.on("leave", (m) => log(name, `${nameOf(m)} is gone`));
    channel.on("update", (m) => log(name, `${nameOf(m)} ${m.status?.text ?? "has changed"}`));
    channel.on("change", () => { view.draw(); drawActs(); live.refresh(); });
    channel.on("error", (e) => (e.code === "removed" ? leave(name) : refuse(name, e)));
  }
  drawChannels();
  remember();
}

function leave(name) {
  rc.channels.get(name)?.leave();
  refusals.delete(name);
  log(name, "left");
  clearError();
  drawChannels();
  live.refresh();
  remember();
}

function refuse(name, error) {
  log(name, error.message, error.code);
  const element = panels.refused(name, error, { logIn: focusLogin, dismiss: () => leave(name) });
  refusals.set(name, { code: error.code, element });
  const what = error.code === "denied" ? "You may not listen to" : "You could not join";
  if (error.code === "login_required") showError(`${name} is for those who are logged in.`, ["Log in", focusLogin]);
  else showError(`${what} ${name}: ${error.message}`);
  drawChannels();
}

function focusLogin() {
  $("login-name").focus();
  $("you-title").scrollIntoView({ behavior: "smooth", block: "center" });
}

function drawChannels() {
  for (const name of views.keys()) if (!rc.channels.has(name)) views.delete(name);
  for (const view of views.values()) view.draw();
  if (tab.name !== rc.tab || tab.user !== rc.user) {
    tab = { name: rc.tab, user: rc.user, element: rc.tab && panels.tab(rc.tab, rc.user) };
  }
  panels.place($("channels"), [...views.values(), ...refusals.values(), tab].map((v) => v.element).filter(Boolean));
  for (const chip of $("suggestions").children) chip.setAttribute("aria-pressed", rc.channels.has(chip.textContent));
  live.channels([...views.keys()]);
  drawActs();
}

$("suggestions").append(...SUGGESTED.map((name) => h("button", {
  type: "button", class: "chip", "data-testid": `suggest-${name}`, "aria-pressed": "false",
  onclick: () => (rc.channels.has(name) ? leave(name) : join(name)),
}, name)));

// The rest of the page

function log(subject, text, detail) {
  $("log").prepend(h("li", {}, h("time", {}, time()), h("span", { class: "subject" }, subject),
    h("span", { class: "event" }, text ?? "", detail ? h("code", {}, detail) : "")));
  while ($("log").children.length > 100) $("log").lastChild.remove();
}
$("clear").addEventListener("click", () => $("log").replaceChildren());

function showError(text, action) {
  const act = action && h("button", { type: "button", class: "link", onclick: action[1] }, action[0]);
  const close = h("button", { type: "button", class: "close", "aria-label": "Dismiss", onclick: clearError }, "×");
  $("error").replaceChildren(...[h("span", {}, text), act, close].filter(Boolean));
  $("error").hidden = false;
}
function clearError() {
  $("error").hidden = true;
  $("error").replaceChildren();
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // typed by hand
  }
}
const hashList = (names) => names.map(encodeURIComponent).join(",");

function remember() {
  const parts = [identity && `name=${encodeURIComponent(identity.name)}`, `join=${hashList([...views.keys(), ...refusals.keys()])}`];
  if (endBots) parts.push("bots");
  history.replaceState(null, "", `#${parts.filter(Boolean).join("&")}`);
}

// Bots and the panels that fold

function showBots(on) {
  endBots?.();
  endBots = on ? bots.start() : null;
  $("bots").setAttribute("aria-pressed", String(on));
}
$("bots").addEventListener("click", () => {
  showBots(!endBots);
  remember();
});
$("backend").open = !matchMedia("(max-width: 560px)").matches;

addEventListener("hashchange", () => location.reload()); // edited by hand; remember() does not cause this event

log("connecting", REASONS.start);
showState("start");
showMe();
// Split the list before decoding it, because a name may contain a comma.
const wanted = /[#&]join=([^&]*)/.exec(location.hash)?.[1] ?? "lobby";
for (const name of wanted.split(",").map(decode).filter(Boolean)) join(name);
drawChannels();
showBots(begin.has("bots"));
