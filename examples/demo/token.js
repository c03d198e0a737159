// DEMO ONLY. In production, your backend signs tokens when a user logs in, and the secret never
// reaches a browser: with it, a client can be anybody. This demo has no backend, so that one
// Caddyfile is enough to try it.

const DEMO_SECRET = "rollcall-demo-secret-0123456789abcdef"; // the same as in the Caddyfile

// LIFETIME is the lifetime of a token, in seconds. The client renews it in time.
const LIFETIME = 900;

// What the backend of a real page knows about its users: here, some have a full name and a portrait.
const PEOPLE = {
  ada: { name: "Ada Lovelace", avatar: "avatars.svg#ada" },
  grace: { name: "Grace Hopper", avatar: "avatars.svg#grace" },
  alan: { name: "Alan Turing", avatar: "avatars.svg#alan" },
  pip: { name: "Pip", avatar: "avatars.svg#bot", bot: true },
  dot: { name: "Dot", avatar: "avatars.svg#bot", bot: true },
};

// person turns a typed name into the user of the token. Others see what `info` holds.
export function person(name) {
  name = name.trim();
  const id = name.toLowerCase().replace(/\s+/g, ".");
  return { name, id, email: id.includes("@") ? id : `${id}@example.com`, info: Object.hasOwn(PEOPLE, id) ? PEOPLE[id] : { name } };
}

// sign makes a JSON Web Token (RFC 7519) for a person, with HS256.
export async function sign({ id, email, info }) {
  if (!crypto.subtle) throw new Error("Browsers sign only on localhost and over https: open http://localhost:8080");
  const now = Math.floor(Date.now() / 1000);
  const claims = { sub: id, email, info, iat: now, exp: now + LIFETIME, jti: crypto.randomUUID() };
  const input = `${encode({ alg: "HS256", typ: "JWT" })}.${encode(claims)}`;
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", bytes(DEMO_SECRET), algorithm, false, ["sign"]);
  return `${input}.${base64url(new Uint8Array(await crypto.subtle.sign("HMAC", key, bytes(input))))}`;
}

const bytes = (text) => new TextEncoder().encode(text);
const encode = (value) => base64url(bytes(JSON.stringify(value)));

function base64url(octets) {
  return btoa(String.fromCharCode(...octets)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
