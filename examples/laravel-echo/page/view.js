// What both pages show. It knows neither client.

const $ = (id) => document.getElementById(id);

// me is the user of this page: ?name=ada
export const me = new URLSearchParams(location.search).get("name") ?? "ada";
$("me").textContent = me;

export function showState(text) {
  $("state").textContent = text;
}

// showMembers shows users, each with an id and a name.
export function showMembers(users) {
  const items = users.map((user) => {
    const item = document.createElement("li");
    item.dataset.user = user.id;
    item.textContent = user.name ?? user.id;
    return item;
  });
  $("members").replaceChildren(...items);
}

export function log(text) {
  const item = document.createElement("li");
  item.textContent = text;
  $("log").append(item);
}

// ask sends a form to the backend of the example.
export async function ask(path, fields = {}) {
  const response = await fetch(path, { method: "POST", headers: { "X-User": me }, body: new URLSearchParams(fields) });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.text();
}

// onSay calls say with what the user wants to tell the room.
export function onSay(say) {
  const take = (f) => {
    const text = $("text").value.trim();
    $("text").value = "";
    if (text) f(text);
  };
  $("say").addEventListener("submit", (event) => {
    event.preventDefault();
    take((text) => {
      say(text);
      log(`${me}: ${text}`);
    });
  });
  $("announce").addEventListener("click", () => take((text) => ask("/announce", { text })));
}
