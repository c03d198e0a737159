package browser

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/chromedp/chromedp"
)

// newerServer wraps the websocket of a page: every frame has keys that no client knows yet, and a
// frame of an unknown type follows it.
const newerServer = `
	globalThis.WebSocket = class extends WebSocket {
		set onmessage(listener) {
			super.onmessage = ({ data }) => {
				const frame = JSON.parse(data);
				listener({ data: JSON.stringify({ ...frame, later: { a: [1] }, hint: null }) });
				listener({ data: JSON.stringify({ type: "later", channel: frame.channel ?? "lobby", members: 7 }) });
			};
		}
	};
	void 0`

// loadOld makes a client rc of testdata/client-2026-11.js, which pages may still have in a cache or
// a bundle, and joins a channel as the user.
func (p page) loadOld(user string) {
	p.t.Helper()
	script, err := os.ReadFile("testdata/client-2026-11.js")
	if err != nil {
		p.t.Fatal(err)
	}
	source, _ := json.Marshal(string(script))
	p.run(chromedp.Evaluate[chromedp.Void](newerServer))
	p.run(chromedp.Evaluate[chromedp.Void](`
		Promise.all([import("/token.js"), import(URL.createObjectURL(new Blob([` + string(source) + `], { type: "text/javascript" })))])
			.then(([{ person, sign }, { Rollcall }]) => {
				Object.assign(globalThis, { states: [], got: [], went: [], errors: [], left: "" });
				globalThis.rc = new Rollcall({ url: "/message/socket", getToken: () => sign(person("` + user + `")) });
				rc.on("state", ({ state }) => states.push(state));
				globalThis.room = rc.join("salesRoom", { presence: "list" });
				room.on("message", (message, from) => got.push([message.text, from?.id]));
				room.on("leave", (user) => went.push(user.id));
				room.on("error", (e) => (left = e.code));
				rc.on("error", (e) => errors.push(e.code));
			});
		void 0`))
	p.waitFor("the old client to be open", `rc.state === "open" && rc.user.id === "`+user+`"`)
}

// TestOldClient uses the client of an earlier release with this server.
func TestOldClient(t *testing.T) {
	d := startDemo(t, false)
	browser := newBrowser(t)
	way := newPath(t, d.url)
	ada, bob := openBlank(t, browser, way.url), openBlank(t, browser, d.url)
	ada.loadOld("ada")
	bob.loadOld("bob")
	const both = `room.synced && room.kind === "authenticated" && room.count === 2 && [...room.members.keys()].sort().join() === "ada,bob"`
	ada.waitFor("both users", both)
	bob.waitFor("both users", both)

	ada.run(chromedp.Evaluate[chromedp.Void](`room.send({ text: "hello" }).then(() => (globalThis.sent = true)); void 0`))
	ada.waitFor("the answer and the message", `sent && JSON.stringify(got) === '[["hello","ada"]]'`)
	bob.waitFor("the message", `JSON.stringify(got) === '[["hello","ada"]]'`)

	// It knows nothing of statuses: the answer, and the members that have one.
	bob.run(chromedp.Evaluate[chromedp.Void](`rc._ws.send('{"type":"status","status":{"away":true}}')`))
	ada.waitFor("the status", both+` && room.members.get("bob").status.away === true`)

	way.cut()
	ada.waitFor("another connection", `states.filter((s) => s === "open").length === 2`)
	ada.waitFor("both users again", both)

	bob.run(chromedp.Evaluate[chromedp.Void](`void room.leave()`))
	ada.waitFor("Bob to leave", `room.count === 1 && !room.members.has("bob") && went.join() === "bob"`)
	if got := get(bob, chromedp.Evaluate[string](`JSON.stringify([rc.channels.size, errors, left])`)); got != `[0,[],""]` {
		t.Errorf("after leaving, channels and errors are %s", got)
	}

	// New rules deny the channel.
	d.reload(t, "default authenticated", "default granted")
	ada.waitFor("the denial", `left === "denied" && rc.channels.size === 0 && rc.state === "open"`)
	if got := get(ada, chromedp.Evaluate[string](`JSON.stringify(errors)`)); got != `[]` {
		t.Errorf("the errors are %s", got)
	}
}
