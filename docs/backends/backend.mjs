// A backend in Node.js 20. README.md says how to run it.
import { createHmac, timingSafeEqual } from "node:crypto";
import http from "node:http";

const env = process.env;
const webhookKey = Buffer.from(env.ROLLCALL_EVENTS_SECRET.replace("whsec_", ""), "base64");

// Whoever asks is believed. Take the user from your session instead.
function login(url) {
  const id = url.searchParams.get("user");
  return id ? { id, email: `${id}@example.com` } : null;
}

function sign(user) {
  const encode = (part) => Buffer.from(JSON.stringify(part)).toString("base64url");
  const now = Math.floor(Date.now() / 1000);
  const content = `${encode({ alg: "HS256", typ: "JWT" })}.${encode({ sub: user.id, email: user.email, iat: now, exp: now + 3600 })}`;
  return `${content}.${createHmac("sha256", env.ROLLCALL_JWT_SECRET).update(content).digest("base64url")}`;
}

async function ask(endpoint, fields) {
  const answer = await fetch(`${env.ROLLCALL_URL ?? "http://localhost:8080"}/message/${endpoint}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Api-Key": env.ROLLCALL_API_KEY },
    body: JSON.stringify(fields),
  });
  if (!answer.ok) throw new Error(`${endpoint}: ${await answer.text()}`);
  return answer.text();
}

function isFromRollcall(headers, body) {
  const id = headers["webhook-id"], time = headers["webhook-timestamp"];
  if (!(Math.abs(Date.now() / 1000 - time) <= 300)) return false;
  const want = Buffer.from("v1," + createHmac("sha256", webhookKey).update(`${id}.${time}.${body}`).digest("base64"));
  return (headers["webhook-signature"] ?? "").split(" ").map((s) => Buffer.from(s))
    .some((s) => s.length === want.length && timingSafeEqual(s, want));
}

async function respond(request) {
  const url = new URL(request.url, "http://localhost");
  let body = "";
  for await (const part of request.setEncoding("utf8")) body += part;
  if (url.pathname === "/webhook") {
    if (!isFromRollcall(request.headers, body)) return [401, "not from Rollcall"];
    for (const e of JSON.parse(body).events) console.log(e.type, e.channel ?? "", e.user?.id ?? "");
    return [204, ""];
  }
  const user = login(url);
  if (!user) return [401, "log in first"];
  switch (`${request.method} ${url.pathname}`) {
    case "GET /api/token":
      return [200, sign(user)];
    case "GET /api/online":
      return [200, await ask("users", { channel: url.searchParams.get("channel") })];
    case "POST /api/send": {
      const { channel, text } = JSON.parse(body);
      return [201, await ask("sendmessage", { channels: [channel], message: { user: user.id, text } })];
    }
  }
  return [404, "not found"];
}

http.createServer(async (request, response) => {
  try {
    const [status, text] = await respond(request);
    response.writeHead(status).end(text);
  } catch (e) {
    console.error(e);
    response.writeHead(500).end();
  }
}).listen(env.PORT ?? 3000, "localhost");
