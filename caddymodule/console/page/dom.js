// Builds and updates the page. Text from the server only ever becomes text nodes and attribute values.

const svgNames = new Set(["svg", "path", "line", "text", "g", "title", "desc", "rect"]);

// Characters that nobody sees, or that change the order of the text around them: with them, a name could look like
// another, or change what a question asks.
const unseen = /[\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

// visible returns a text with such characters written as \u{202e}.
export const visible = (text) => text.replace(unseen, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);

// h returns an element. Attributes that are null, undefined or false are left out.
export function h(name, attributes, ...children) {
  const e = svgNames.has(name) && name !== "title"
    ? document.createElementNS("http://www.w3.org/2000/svg", name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    e.setAttribute(key, value === true ? "" : value);
  }
  const shown = children.flat(3).filter((c) => c !== null && c !== undefined && c !== false);
  e.append(...shown.map((c) => (typeof c === "string" ? visible(c) : c)));
  return e;
}

// update changes the children of an element into those of the other list, and keeps elements that stay: what has
// the focus keeps it, and a selection is not lost. Elements with data-key are the same if the key is.
export function update(parent, wanted) {
  const keyed = new Map();
  for (const child of parent.children) {
    if (child.dataset?.key) keyed.set(child.dataset.key, child);
  }
  let at = parent.firstChild;
  for (const next of wanted) {
    const node = typeof next === "string" ? document.createTextNode(visible(next)) : next;
    const key = node.dataset?.key;
    const old = key ? keyed.get(key) : at && !at.dataset?.key ? at : null;
    if (!old || !same(old, node)) {
      parent.insertBefore(node, at);
      continue;
    }
    if (old === at) at = at.nextSibling;
    else parent.insertBefore(old, at);
    become(old, node);
  }
  while (at) {
    const rest = at.nextSibling;
    at.remove();
    at = rest;
  }
}

function same(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.dataset?.key ?? "") === (b.dataset?.key ?? "");
}

function become(old, node) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== node.data) old.data = node.data;
    return;
  }
  for (const name of old.getAttributeNames()) {
    if (!node.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const name of node.getAttributeNames()) {
    const value = node.getAttribute(name);
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  update(old, [...node.childNodes]);
}
