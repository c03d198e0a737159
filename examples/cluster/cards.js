// A card for each data center with its users. It has a panel for each pod, with the tabs that were
// opened there.
import { Rollcall } from "/message/client.js";
import { $, avatar, h } from "./dom.js";
import { sign } from "./token.js";

const PEOPLE = ["ada", "grace", "alan"];
const SAYS = { same: "same answer", incomplete: "incomplete answer", differs: "differs for now", none: "no answer", yours: "your pod" };

// start draws the cards. It returns a function that shows answers on them.
export function start(pods, channel) {
  const names = [...new Set(pods.map((p) => p.dataCenter))];
  const dcs = names.map((name) => dataCenter(name, pods.filter((p) => p.dataCenter === name).map((p) => panel(p, channel))));
  $("data-centers").append(...dcs.map((d) => d.element));
  return {
    show(results, mine) {
      const answer = results.get(mine.pod).body;
      for (const d of dcs) d.show(answer, results, mine);
    },
  };
}

function dataCenter(name, panels) {
  const users = h("span", { class: "number", "data-testid": `users-${name}` });
  const unit = h("span", { class: "unit" }, "users");
  const anonymous = h("span", { class: "number", "data-testid": `anonymous-${name}` });
  const list = h("div", { class: "names", "data-testid": `names-${name}` });
  const element = h("section", { class: "card dc", "data-testid": `dc-${name}`, "aria-label": `Data center ${name}` },
    h("div", { class: "card-head" }, h("h2", {}, name),
      h("p", { class: "counts" }, users, unit, anonymous, h("span", { class: "unit" }, "anonymous"))),
    list,
    h("div", { class: "pods" }, panels.map((p) => p.element)));

  function show(answer, results, mine) {
    for (const p of panels) p.show(results, mine);
    if (!answer) return; // keep showing the last one
    const dc = answer[name];
    element.classList.toggle("gone", !dc);
    users.textContent = dc?.authenticatedCount ?? "–";
    unit.textContent = dc?.authenticatedCount === 1 ? "user" : "users";
    anonymous.textContent = dc?.anonymous ?? "–";
    list.replaceChildren(...(dc?.authenticated ?? []).map((u) => h("span", { class: "name", "data-user": u.id }, avatar(u.id), u.id)));
    if (!list.children.length) list.append(h("span", { class: "empty" }, dc ? "Nobody by name" : "Not in the answer"));
  }
  return { element, show };
}

// Commands of the script `run`, and their buttons.
const COMMANDS = [["kill", "Kill"], ["stop", "Goodbye"], ["pause", "Pause"], ["resume", "Continue"], ["start", "Start"]];

// buttons are the commands for a pod. They go to a server beside the pods, because a pod that has ended cannot start.
function buttons(pod, control) {
  const result = h("span", { class: "result", "data-testid": `result-${pod}`, role: "status" });
  async function command(action) {
    result.textContent = "";
    try {
      const r = await fetch(`${control}/${pod}/${action}`, { method: "POST", headers: { "Content-Type": "application/json" } });
      if (!r.ok) result.textContent = await r.text();
    } catch {
      result.textContent = "No answer: is the script running?";
    }
  }
  return h("div", { class: "commands", role: "group", "aria-label": `Commands for ${pod}` }, COMMANDS.map(([action, label]) => h("button", {
    type: "button", class: "quiet", "data-testid": `${action}-${pod}`, "aria-label": `${label} ${pod}`, onclick: () => command(action),
  }, label)), result);
}

function panel({ pod, url, control }, channel) {
  const says = h("span", { class: "says", "data-testid": `says-${pod}` });
  const tabs = h("ul", { class: "tabs", "data-testid": `tabs-${pod}` });
  const add = (user) => h("button", {
    type: "button", "data-testid": `open-${user ?? "visitor"}-${pod}`, "aria-label": `Open ${user ?? "a visitor"} on ${pod}`,
    onclick: () => tabs.append(tab(user, pod, `${url}/message/socket`, channel)),
  }, user ?? "visitor");
  const element = h("article", { class: "pod", "data-testid": `pod-${pod}`, "aria-label": `Pod ${pod}` },
    h("div", { class: "pod-head" }, h("a", { href: `${url}/`, title: "The page of this pod" }, pod), says),
    control && buttons(pod, control),
    h("div", { class: "pod-body" }, h("div", { class: "adds" }, PEOPLE.map(add), add(null)), tabs));

  function show(results, mine) {
    const { body, complete } = results.get(pod);
    const reference = results.get(mine.pod);
    let how = "none";
    if (body) {
      if (complete !== "true") how = "incomplete";
      else if (pod === mine.pod) how = "yours";
      else how = JSON.stringify(body) === JSON.stringify(reference.body) ? "same" : "differs";
    }
    says.dataset.says = how;
    says.textContent = SAYS[how];
  }
  return { element, show };
}

// tab represents a browser tab of a user, null for an anonymous one: a connection of its own.
function tab(user, pod, url, channel) {
  const rc = new Rollcall({ url, getToken: () => (user ? sign(user) : null) });
  if (user) rc.join(channel);
  const state = h("span", { class: "state" });
  rc.on("state", (s) => { state.textContent = s.state === "open" ? "" : s.state; });
  const name = user ?? "visitor";
  const act = (kind, label, onclick) => h("button", {
    type: "button", class: kind, "aria-label": `${label} the tab of ${name} on ${pod}`, onclick,
  }, label);
  const element = h("li", { class: "tab", "data-tab": name },
    user ? avatar(user) : h("span", { class: "avatar nobody", "aria-hidden": "true" }), name, state,
    h("span", { class: "act" },
      act("reload", "Reload", () => { rc.close(); rc.connect(); }),
      act("close", "Close", () => { rc.close(); element.remove(); })));
  return element;
}
