package browser

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// TestLargeChannel lets a channel grow above the option names and shrink again. Messages need not
// come back.
func TestLargeChannel(t *testing.T) {
	d := startDemo(t, false)
	d.reload(t, "show email info status", "show email info status\n\t\t\t\tnames 3")
	p := openBlank(t, newBrowser(t), d.url)
	p.run(chromedp.Evaluate[chromedp.Void](`
		Math.random = () => 0; // no pause before the next join
		Promise.all([import("/token.js"), import("/message/client.js")]).then(([{ person, sign }, { Rollcall }]) => {
			globalThis.come = (user) => new Rollcall({ getToken: () => sign(person(user)) }).join("salesRoom", { presence: "list" });
			globalThis.ada = come("ada");
			globalThis.others = [];
			globalThis.got = [];
			ada.on("message", (m) => got.push("ada " + m.text));
		});
		void 0`))
	p.waitFor("Ada", `ada.members.has("ada") && ada.names`)
	p.run(chromedp.Evaluate[chromedp.Void](`others = ["bob", "carol", "dave"].map(come);
		others[0].on("message", (m) => got.push("bob " + m.text)); void 0`))
	p.waitFor("a count alone", `[ada, ...others].every((ch) => ch.count === 4 && ch.members.size === 0 && !ch.names && ch.synced)`)

	p.run(chromedp.Evaluate[chromedp.Void](`ada.send({ text: "quiet" }, { echo: false }).then(() => ada.send({ text: "loud" })); void 0`))
	p.waitFor("the messages", `got.filter((m) => m.startsWith("bob")).join() === "bob quiet,bob loud" && got.includes("ada loud")`)
	if got := get(p, chromedp.Evaluate[int](`got.length`)); got != 3 {
		t.Errorf("%d messages arrived, want 3", got)
	}

	p.run(chromedp.Evaluate[chromedp.Void](`for (const ch of others) ch.leave(); void 0`))
	p.waitFor("the names again", `ada.names && ada.count === 1 && [...ada.members.keys()].join() === "ada"`)
}
