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

// avatar shows a person's initials in one of a few colors, the same for the same ID everywhere.
export function avatar(id, name = id) {
  const initials = name.split(/[^\p{L}\p{N}]+/u).filter(Boolean).slice(0, 2).map((w) => [...w][0]).join("");
  let hash = 0x811c9dc5; // FNV-1a, whose high bits are the better ones
  for (const c of id) hash = Math.imul(hash ^ c.codePointAt(0), 0x01000193) >>> 0;
  return h("span", { class: `avatar tint-${(hash >>> 16) % 6}`, "aria-hidden": "true" }, initials.toUpperCase() || "?");
}
