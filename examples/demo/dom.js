// Small helpers for building the page.

export const $ = (id) => document.getElementById(id);

// h builds an element. A property that starts with "on" is a listener; false or null omits a
// property.
export function h(tag, properties = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) e.setAttribute(name, value === true ? "" : value);
  }
  e.append(...children.flat().filter((c) => c != null && c !== false));
  return e;
}

export const time = () => new Date().toLocaleTimeString([], { hour12: false });

export const plural = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;

// copyButton copies what text() returns.
export function copyButton(label, text) {
  const button = h("button", { type: "button", class: "copy", "aria-label": label, onclick: copy }, "Copy");
  async function copy() {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed";
    }
    clearTimeout(button.timer);
    button.timer = setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }
  return button;
}

// nameOf is what a person is called: members without `info` are called by their address or ID.
export const nameOf = ({ id, email, info }) => (typeof info?.name === "string" && info.name.trim()) || email || id;

// avatar shows the portrait of a person, if `info` names one of this page. Otherwise it shows the initials in one of a
// few colors, the same for the same ID everywhere. Pictures of other addresses are not loaded: `info` is data.
export function avatar(person) {
  const { id, info } = person;
  if (/^avatars\.svg#[a-z]+$/.test(info?.avatar)) {
    return h("img", { class: "avatar", src: info.avatar, alt: "", width: 32, height: 32 });
  }
  const initials = nameOf(person).split(/[^\p{L}\p{N}]+/u).filter(Boolean).slice(0, 2).map((w) => [...w][0]).join("");
  let hash = 0x811c9dc5; // FNV-1a, whose high bits are the better ones
  for (const c of id) hash = Math.imul(hash ^ c.codePointAt(0), 0x01000193) >>> 0;
  return h("span", { class: `avatar tint-${(hash >>> 16) % 6}`, "aria-hidden": "true" }, initials.toUpperCase() || "?");
}
