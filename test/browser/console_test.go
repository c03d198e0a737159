package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// console is a tab with the operator's page of a demo.
type console struct {
	page

	url string // of the page
}

// openConsole loads the console of a server in a new tab.
func openConsole(t *testing.T, browser context.Context, server string) console {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	c := console{page{t, ctx}, server + "/console/"}
	if err := chromedp.Do(ctx); err != nil { // without a timeout, which would end the tab
		t.Fatal(err)
	}
	c.run(chromedp.Navigate(c.url))
	c.show("#/")
	return c
}

// show opens a view, and waits for its first snapshot.
func (c console) show(address string) {
	c.t.Helper()
	get(c.page, chromedp.Evaluate[bool](fmt.Sprintf(`new Promise((done) => {
		if (location.hash === %[1]q) return done(true);
		addEventListener("hashchange", () => done(true), { once: true });
		location.hash = %[1]q;
	})`, address), chromedp.EvalAwaitPromise))
	c.waitFor("the view "+address, `document.getElementById("live").dataset.state === "live" && main.getAttribute("aria-busy") === "false"`)
}

// has waits until the page shows a text.
func (c console) has(text string) {
	c.t.Helper()
	c.waitFor("the text "+text, `document.body.innerText.includes(`+quoted(text)+`)`)
}

// quoted returns a text as JavaScript.
func quoted(text string) string {
	b, _ := json.Marshal(text) // never fails for a string
	return string(b)
}

// press presses a key, with the focus where it is.
func (c console) press(key string) {
	c.t.Helper()
	c.run(chromedp.KeyEvent(key))
}

// tabTo presses Tab until the focus is on an element with the text.
func (c console) tabTo(text string) {
	c.t.Helper()
	for range 80 {
		c.press(kb.Tab)
		if get(c.page, chromedp.Evaluate[bool](`(document.activeElement.textContent || document.activeElement.name || "").trim() === `+quoted(text))) {
			return
		}
	}
	c.t.Fatalf("no Tab leads to %q", text)
}

// join connects a user from a page of the demo's origin, and joins channels. The address of a demo
// page has no user whose ID is markup.
func join(t *testing.T, browser context.Context, d demo, user string, channels ...string) {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	p := page{t, ctx}
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	p.run(chromedp.Navigate(d.url + "/style.css"))
	names, _ := json.Marshal(channels)
	joined := get(p, chromedp.Evaluate[bool](`(async () => {
		const { Rollcall } = await import("/message/client.js");
		const { sign } = await import("/token.js");
		const id = `+quoted(user)+`;
		window.rc = new Rollcall({ getToken: () => sign({ id, email: "secret-address@example.com", name: id }) });
		await Promise.all(`+string(names)+`.map((name) => rc.join(name).ready));
		return true;
	})()`, chromedp.EvalAwaitPromise))
	if !joined {
		t.Fatalf("%s has not joined", user)
	}
}

// markup is the ID of a user, and the name of a channel, that would run if it were taken for HTML.
const markup = `<img src=x onerror="window.ran=1">`

// spoof is the ID of a user in which characters that nobody sees turn the order of what follows.
const spoof = "eve\u202eada \u2066\u200bgrace"

// TestConsole opens the console of a demo with users, one of them with markup as ID.
func TestConsole(t *testing.T) {
	d := startDemo(t, false)
	browser := newBrowser(t)
	join(t, browser, d, "ada", "salesRoom", "support", markup)
	join(t, browser, d, "grace", "salesRoom", "lobby")
	takePictures(t, browser, d)
	join(t, browser, d, markup, "salesRoom")
	join(t, browser, d, spoof, "support", "tall")
	join(t, browser, d, strings.Repeat("x", 256), "tall")
	c := openConsole(t, browser, d.url)
	for _, part := range []struct {
		name string
		test func(*testing.T, console)
	}{
		{"takes nothing for markup", testMarkup},
		{"refuses another origin", func(t *testing.T, c console) { testForeignOrigin(t, browser, d, c) }},
		{"is accessible", testAccessible},
		{"shows unseen characters", testUnseen},
		{"has room for long names", testLongNames},
		{"by keyboard", testKeyboard},                                                           // disconnects a user
		{"says that the login ended", func(t *testing.T, c console) { testLoggedOut(t, d, c) }}, // the last, as it replaces the configuration
	} {
		t.Run(part.name, func(t *testing.T) {
			c := c
			c.t = t
			part.test(t, c)
		})
	}
}

// takePictures makes the pictures of docs/console.md, console*.png without a size in their names,
// if ROLLCALL_SCREENSHOTS has a folder.
func takePictures(t *testing.T, browser context.Context, d demo) {
	t.Helper()
	if os.Getenv("ROLLCALL_SCREENSHOTS") == "" {
		return
	}
	for _, user := range []string{"alan", "katherine", "niklaus"} {
		join(t, browser, d, user, "salesRoom", "support")
	}
	c := openConsole(t, browser, d.url)
	for _, picture := range []struct {
		name, address, scheme, text string
		width, height               int64
	}{
		{"console.png", "#/", "light", "Connections since", 1100, 560},
		{"console-channel.png", "#/host/localhost/channel/salesRoom", "light", "niklaus", 1100, 560},
		{"console-plugins.png", "#/plugins", "dark", "members", 1100, 640},
		{"console-phone.png", "#/host/localhost", "dark", "salesRoom", 360, 900},
	} {
		c.run(chromedp.EmulateViewport(picture.width, picture.height))
		prefer(c.page, picture.scheme)
		c.show(picture.address)
		c.has(picture.text)
		c.waitFor("a plot that has begun", `!document.querySelector(".plot-empty") && document.fonts.ready`)
		keep(t, c.page, picture.name, chromedp.CaptureScreenshot())
	}
	c.run(chromedp.EmulateViewport(1440, 1000))
	c.close()
}

// consoleViews has the addresses of all views of the scene.
var consoleViews = map[string]string{
	"hosts": "#/", "host": "#/host/localhost", "channel": "#/host/localhost/channel/salesRoom", "user": "#/host/localhost/user/ada",
	"traffic": "#/traffic", "plugins": "#/plugins", "queues": "#/queues", "cluster": "#/cluster",
}

// testAccessible looks at every view with axe-core: wide and narrow, light and dark.
func testAccessible(t *testing.T, c console) {
	t.Helper()
	folder := os.Getenv("ROLLCALL_BROWSER_NPM")
	if folder == "" {
		t.Fatal("ROLLCALL_BROWSER_NPM is not set: run make browser")
	}
	axe, err := os.ReadFile(filepath.Join(folder, "node_modules/axe-core/axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	c.run(chromedp.Evaluate[chromedp.Void](string(axe) + `;undefined`))
	for name, address := range consoleViews {
		c.show(address)
		if name == "user" {
			c.has("Listed because of 1 connection")
			c.run(chromedp.Evaluate[chromedp.Void](`document.querySelector("button[data-do]").click()`))
			c.check(t, "dialog")
			c.press(kb.Escape)
		}
		c.check(t, name)
	}
}

// check looks at what is open, in each size and color scheme.
func (c console) check(t *testing.T, name string) {
	t.Helper()
	const look = `axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) =>
		violations.map((v) => v.id + ": " + v.nodes.map((n) => n.html + " " + n.failureSummary).join("; ")).join("\n"))`
	for _, width := range []int64{1440, 360} {
		for _, scheme := range []string{"light", "dark"} {
			c.run(chromedp.EmulateViewport(width, 844))
			prefer(c.page, scheme)
			keep(t, c.page, fmt.Sprintf("console-%s-%d-%s.png", name, width, scheme), chromedp.CaptureScreenshot())
			at := fmt.Sprintf("%s, %d pixels, %s", name, width, scheme)
			if found := get(c.page, chromedp.Evaluate[string](look, chromedp.EvalAwaitPromise)); found != "" {
				t.Errorf("%s:\n%s", at, found)
			}
			if wide := get(c.page, chromedp.Evaluate[int](`document.documentElement.scrollWidth - innerWidth`)); wide > 0 {
				t.Errorf("%s: the page is %d pixels too wide", at, wide)
			}
		}
	}
}

// testKeyboard goes from the list of hosts to a user and disconnects it, without a mouse.
func testKeyboard(t *testing.T, c console) {
	t.Helper()
	c.run(chromedp.EmulateViewport(1440, 1000))
	c.run(chromedp.Navigate(c.url))
	c.show("#/")
	c.press(kb.Tab)
	c.press(kb.Enter) // skips the navigation
	c.tabTo("localhost")
	c.press(kb.Enter)
	c.has("support")
	c.tabTo("filter")
	c.run(chromedp.KeyEvent("sales" + kb.Enter))
	c.waitFor("the filtered list", `document.querySelectorAll("tr[data-key=salesRoom]").length === 1 && !document.body.innerText.includes("support")`)
	c.tabTo("salesRoom")
	c.press(kb.Enter)
	c.has("grace")
	c.tabTo("grace")
	c.press(kb.Enter)
	c.has("Listed because of 1 connection")
	c.tabTo("Disconnect")
	c.press(kb.Enter)
	c.waitFor("the question", `document.getElementById("dialog").open && document.activeElement.textContent === "Cancel"`)
	c.press(kb.Escape)
	c.waitFor("the focus to come back", `!document.getElementById("dialog").open && document.activeElement.textContent === "Disconnect"`)
	c.press(kb.Enter)
	c.tabTo("Disconnect")
	c.press(kb.Enter)
	c.has("Done: closed 1 connection.")
	c.has("Not listed")
}

// testMarkup shows names that are HTML, and looks for what must not be there: what they would make,
// and e-mail addresses.
func testMarkup(t *testing.T, c console) {
	t.Helper()
	for _, address := range []string{"#/host/localhost", "#/host/localhost/channel/salesRoom"} {
		c.show(address)
		c.has(markup)
	}
	for _, view := range []string{"channel", "user"} {
		c.show("#/host/localhost/" + view + "/" + strings.NewReplacer("<", "%3C", ">", "%3E", " ", "%20", `"`, "%22", "=", "%3D").Replace(markup))
		c.waitFor("the heading", `document.querySelector("h1").textContent === `+quoted(markup))
		if view == "user" {
			c.has("Listed because of 1 connection")
		}
		if n := get(c.page, chromedp.Evaluate[int](`document.querySelectorAll("img, script:not([src='app.js'])").length`)); n != 0 {
			t.Errorf("%s: %d elements come from a name", view, n)
		}
		if text := get(c.page, chromedp.Evaluate[string](`document.documentElement.outerHTML`)); strings.Contains(text, "secret-address") {
			t.Errorf("%s shows an e-mail address", view)
		}
	}
	if ran := get(c.page, chromedp.Evaluate[bool](`"ran" in window`)); ran {
		t.Error("a name has run")
	}
}

// testUnseen looks for characters of a name that could make it look like another, or change what a question asks.
func testUnseen(t *testing.T, c console) {
	t.Helper()
	const written = `eve\u{202e}ada \u{2066}\u{200b}grace`
	c.show("#/host/localhost/channel/support")
	c.has(written)
	c.run(chromedp.Evaluate[chromedp.Void](`[...document.querySelectorAll("tr button.danger")].find((b) => b.dataset.what.includes("eve")).click()`))
	c.waitFor("the question", `document.getElementById("dialog-title")?.innerText === `+quoted("Close 1 connection of "+written+"?"))
	c.press(kb.Escape)
	c.run(chromedp.Evaluate[chromedp.Void](`[...document.querySelectorAll("td a")].find((a) => a.innerText.includes("eve")).click()`))
	c.has("Listed because of 1 connection")
	if unseen := get(c.page, chromedp.Evaluate[bool](`/[\u200b\u202e\u2066]/.test(document.title + document.body.innerText)`)); unseen {
		t.Error("the page of the user has them")
	}
}

// testLongNames shows a user with the longest ID. It must leave room for the other columns, and no row may draw outside
// of itself, like a letter with many marks.
func testLongNames(t *testing.T, c console) {
	t.Helper()
	c.run(chromedp.EmulateViewport(1440, 1000))
	c.show("#/host/localhost/channel/tall")
	c.has("xxxx")
	for _, what := range []string{".tags li", "td .buttons"} {
		if high := get(c.page, chromedp.Evaluate[float64](`Math.max(...[...document.querySelectorAll("`+what+`")].map((e) => e.getBoundingClientRect().height))`)); high > 40 {
			t.Errorf("%s has %g pixels, so several lines", what, high)
		}
	}
	if drawn := get(c.page, chromedp.Evaluate[string](`[...document.querySelectorAll("h1, td > div")].map((e) => getComputedStyle(e).overflowY).find((v) => v !== "clip") ?? ""`)); drawn != "" {
		t.Errorf("overflow is %s", drawn)
	}
}

// testLoggedOut ends the login while the page is open: its requests then lead to a page where one logs in.
func testLoggedOut(t *testing.T, d demo, c console) {
	t.Helper()
	c.show("#/host/localhost/channel/salesRoom")
	c.has("Send a message")
	d.reload(t, "rollcall_console open", `@out path /console/events /console/action
	redir @out /
	rollcall_console open`)
	c.waitFor("the page to say that the login ended", `document.getElementById("live-text").textContent.startsWith("You are no longer logged in")`)
	c.run(chromedp.Evaluate[chromedp.Void](`document.querySelector(".actions button").click(); document.querySelector("dialog [type=submit]").click()`))
	c.has("Not done: you are no longer logged in.")
}

// testForeignOrigin checks that a page of another origin can neither read the stream nor act.
func testForeignOrigin(t *testing.T, browser context.Context, d demo, c console) {
	t.Helper()
	other := strings.Replace(d.url, "localhost", "127.0.0.1", 1)
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	foreign := page{t, ctx}
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	foreign.run(chromedp.Navigate(other + "/nothing"))
	action := `{"action":"disconnect","host":"localhost","users":["ada"]}`
	for _, try := range []string{
		`fetch(%q + "action", { method: "POST", headers: { "Content-Type": "application/json" }, body: %q }).then((r) => "status " + r.status, () => "refused")`,
		`fetch(%q + "action", { method: "POST", mode: "no-cors", headers: { "Content-Type": "text/plain" }, body: %q }).then((r) => r.type, () => "refused")`,
		`fetch(%q + "events?view=hosts", { credentials: "include" }).then((r) => "status " + r.status, () => %[2]q && "refused")`,
	} {
		got := get(foreign, chromedp.Evaluate[string](fmt.Sprintf(try, c.url, action), chromedp.EvalAwaitPromise))
		if got != "refused" && got != "opaque" { // opaque: sent, but nothing can be read
			t.Errorf("another origin got %q", got)
		}
	}
	c.show("#/host/localhost/user/ada")
	c.has("Listed because of 1 connection")
	if resp, err := http.Get(c.url); err != nil || resp.Body.Close() != nil || !strings.Contains(resp.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
		t.Errorf("another page may frame the console: %v", err)
	}
}
