"""A backend in Python 3. README.md says how to run it."""

import base64, hashlib, hmac, json, os, time, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

env = os.environ
webhook_key = base64.b64decode(env["ROLLCALL_EVENTS_SECRET"].removeprefix("whsec_"))


def login(query):
    """Whoever asks is believed. Take the user from your session instead."""
    id = query.get("user")
    return {"id": id, "email": f"{id}@example.com"} if id else None


def sign(user):
    def encode(part):
        return base64.urlsafe_b64encode(part).rstrip(b"=")

    now = int(time.time())
    claims = {"sub": user["id"], "email": user["email"], "iat": now, "exp": now + 3600}
    content = encode(b'{"alg":"HS256","typ":"JWT"}') + b"." + encode(json.dumps(claims).encode())
    signature = hmac.digest(env["ROLLCALL_JWT_SECRET"].encode(), content, "sha256")
    return (content + b"." + encode(signature)).decode()


def ask(endpoint, fields):
    url = env.get("ROLLCALL_URL", "http://localhost:8080") + "/message/" + endpoint
    headers = {"Content-Type": "application/json", "X-Api-Key": env["ROLLCALL_API_KEY"]}
    request = urllib.request.Request(url, json.dumps(fields).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as answer:  # raises for 400 and above
        return answer.read().decode()


def is_from_rollcall(headers, body):
    id, sent = headers.get("Webhook-Id", ""), headers.get("Webhook-Timestamp", "")
    if not sent.isdecimal() or abs(time.time() - int(sent)) > 300:
        return False
    mac = hmac.digest(webhook_key, f"{id}.{sent}.".encode() + body, hashlib.sha256)
    want = b"v1," + base64.b64encode(mac)
    given = headers.get("Webhook-Signature", "").split()
    return any(hmac.compare_digest(s.encode(), want) for s in given)


class Backend(BaseHTTPRequestHandler):
    def respond(self):
        path, query = urlsplit(self.path).path, dict(parse_qs(urlsplit(self.path).query))
        query = {name: values[0] for name, values in query.items()}
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path == "/webhook":
            if not is_from_rollcall(self.headers, body):
                return 401, "not from Rollcall"
            for e in json.loads(body)["events"]:
                print(e["type"], e.get("channel", ""), e.get("user", {}).get("id", ""), flush=True)
            return 204, ""
        user = login(query)
        if not user:
            return 401, "log in first"
        match f"{self.command} {path}":
            case "GET /api/token":
                return 200, sign(user)
            case "GET /api/online":
                return 200, ask("users", {"channel": query.get("channel")})
            case "POST /api/send":
                wish = json.loads(body)
                message = {"user": user["id"], "text": wish["text"]}
                return 201, ask("sendmessage", {"channels": [wish["channel"]], "message": message})
        return 404, "not found"

    def do_GET(self):
        try:
            status, text = self.respond()
        except Exception as e:
            self.log_error("%s", e)
            status, text = 500, ""
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    do_POST = do_GET


ThreadingHTTPServer(("localhost", int(env.get("PORT", 3000))), Backend).serve_forever()
