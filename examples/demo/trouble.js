// What a client sees of a plugin that refuses or fails: the plugin `trouble` of the Caddyfile does it
// on purpose. Each attempt has a connection of its own.
import { Rollcall } from "/message/client.js";
import { $, h } from "./dom.js";
import { person, sign } from "./token.js";

const WAYS = { refuse: "it refuses", trap: "crashes it", loop: "keeps it busy forever", rubbish: "it answers with rubbish" };

// message sends a message that the plugin fails on, and counts what arrives.
async function message(way) {
  const rc = new Rollcall();
  const room = rc.join("lobby-trouble");
  let arrived = 0;
  room.on("message", () => arrived++);
  try {
    await room.ready;
    await room.send({ trouble: way });
    return "sent";
  } catch (e) {
    return `${e.code}: ${e.message}. ${arrived} messages arrived.`;
  } finally {
    rc.close();
  }
}

// login logs in as a user that the plugin fails on.
async function login(way) {
  const rc = new Rollcall({ getToken: () => sign(person(`trouble ${way}`)) });
  try {
    const result = await new Promise((done) => {
      rc.on("error", (e) => done(`${e.code}: ${e.message}.`));
      rc.on("user", (user) => done(`logged in as ${user.id}`));
    });
    return `${result} The client is ${rc.state}.`;
  } finally {
    rc.close();
  }
}

function buttons(what, attempt) {
  return Object.entries(WAYS).map(([way, text]) => h("button", {
    type: "button", class: "chip", "data-testid": `trouble-${what}-${way}`,
    onclick: async () => {
      const result = $("trouble-result");
      Object.assign(result.dataset, { what, way, done: "" });
      result.textContent = "…";
      result.textContent = await attempt(way);
      result.dataset.done = "yes";
    },
  }, text));
}

$("trouble-messages").append(...buttons("message", message));
$("trouble-logins").append(...buttons("login", login));
