// DEMO ONLY. In production, your backend signs tokens when a user logs in, and the secret never
// reaches a browser: with it, a client can be anybody. There is no backend here, so that one
// Caddyfile is enough to try it.

const DEMO_SECRET = "rollcall-demo-secret-0123456789abcdef"; // the same as in the Caddyfile

// LIFETIME is the lifetime of a token, in seconds. A connection whose login ends requests a new
// one.
const LIFETIME = 8 * 3600;

// sign makes a JSON Web Token (RFC 7519) for a user, with HS256.
export async function sign(id) {
  if (!crypto.subtle) throw new Error("Browsers sign only on localhost and over https: open a page of localhost");
  const now = Math.floor(Date.now() / 1000);
  const claims = { sub: id, email: `${id}@example.com`, iat: now, exp: now + LIFETIME, jti: crypto.randomUUID() };
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
