// The backend of this example: it says who somebody is, and who may enter which room. In Laravel,
// Broadcast::routes() and routes/channels.php do the same.
import crypto from "node:crypto";
import http from "node:http";
import Pusher from "pusher";

const port = process.env.ROLLCALL_PORT ?? "8080"; // of Caddy, on this machine
const pusher = new Pusher({
  appId: "101", key: "rollcall-demo-app", secret: "rollcall-demo-pusher-secret",
  host: "localhost", port, useTLS: false,
});

// Of a real user, your session or your token says who it is. Here, everybody is whom they say.
const users = { ada: { id: "ada", name: "Ada" }, grace: { id: "grace", name: "Grace" } };
const rooms = { ada: ["presence-room"], grace: ["presence-room"] };

const routes = {
  // Laravel Echo asks for a signature for one channel and one connection.
  "POST /broadcasting/auth"(user, form) {
    const channel = form.get("channel_name");
    if (!rooms[user.id].includes(channel)) throw Object.assign(new Error("this room is closed"), { status: 403 });
    return pusher.authorizeChannel(form.get("socket_id"), channel, { user_id: user.id, user_info: user });
  },

  // signin() of Echo's connector asks for one that says who the connection is, so that the backend can send to it.
  "POST /broadcasting/user-auth": (user, form) => pusher.authenticateUser(form.get("socket_id"), { id: user.id, user_info: user }),

  // Rollcall's own client asks for a token, which names the rooms.
  "POST /token": (user) => sign({ sub: user.id, info: user, channels: rooms[user.id], exp: Math.floor(Date.now() / 1000) + 900 }),

  // The backend says something in the room, or to one user.
  async "POST /announce"(user, form) {
    const data = { text: form.get("text"), by: user.name };
    if (form.has("to")) await pusher.sendToUser(form.get("to"), "announcement", data);
    else await pusher.trigger("presence-room", "announcement", data);
    return {};
  },
};

// sign returns a JSON Web Token (RFC 7519).
function sign(claims) {
  const [head, body] = [{ alg: "HS256", typ: "JWT" }, claims].map((v) => Buffer.from(JSON.stringify(v)).toString("base64url"));
  const mac = crypto.createHmac("sha256", "rollcall-demo-secret-0123456789abcdef").update(`${head}.${body}`);
  return `${head}.${body}.${mac.digest("base64url")}`;
}

http.createServer(async (request, response) => {
  try {
    let body = "";
    for await (const part of request.setEncoding("utf8")) body += part;
    const route = routes[`${request.method} ${request.url}`], user = users[request.headers["x-user"]];
    if (!route || !user) return response.writeHead(route ? 401 : 404).end();
    const answer = await route(user, new URLSearchParams(body));
    response.end(typeof answer === "string" ? answer : JSON.stringify(answer));
  } catch (e) { response.writeHead(e.status ?? 500).end(e.message); }
}).listen(process.env.PORT ?? 3000, "localhost");
