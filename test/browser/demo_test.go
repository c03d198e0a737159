package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// newBrowser starts Chromium. Tabs are made from the context that it returns.
func newBrowser(t *testing.T, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("Chromium is not installed: run make deps")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // tests run as root
		chromedp.UserDataDir(t.TempDir()),
		chromedp.WindowSize(1440, 1000),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("ignore-certificate-errors", true), // certificates come from Caddy's own CA
		chromedp.WSURLReadTimeout(60*time.Second),
	)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, append(options, more...)...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting Chromium: %v", err)
	}
	return ctx
}

// page is a tab with the demo.
type page struct {
	t   *testing.T
	ctx context.Context
}

// open loads the demo in a new tab and waits until it is connected.
func open(t *testing.T, browser context.Context, url string) page {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	p := page{t, ctx}
	if err := chromedp.Do(ctx); err != nil { // without a timeout, which would end the tab
		t.Fatal(err)
	}
	p.run(chromedp.Navigate(url))
	p.waitFor("the connection", `document.querySelector('[data-testid=state]').dataset.state === 'open'`)
	return p
}

func (p page) run(action chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	get(p, action)
}

// close closes the tab.
func (p page) close() {
	p.t.Helper()
	if err := chromedp.Cancel(p.ctx); err != nil {
		p.t.Fatal(err)
	}
}

// get runs an action and returns its value.
func get[T any](p page, action chromedp.Action[T]) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 30*time.Second)
	defer cancel()
	value, err := chromedp.Run(ctx, action)
	if err != nil {
		p.t.Fatal(err)
	}
	return value
}

// waitFor polls an expression until it is true. An exception counts as false: elements come and go.
func (p page) waitFor(what, expression string) {
	p.t.Helper()
	testkit.Eventually(p.t, what, func() bool {
		return get(p, chromedp.Evaluate[bool](`(() => { try { return !!(`+expression+`) } catch { return false } })()`))
	})
}

// text returns the text of an element, by its test ID.
func (p page) text(id string) string {
	p.t.Helper()
	return get(p, chromedp.Evaluate[string](fmt.Sprintf(`document.querySelector('[data-testid=%q]').textContent.trim()`, id)))
}

func (p page) click(id string) {
	p.t.Helper()
	p.run(chromedp.Click(fmt.Sprintf(`[data-testid=%q]`, id)))
}

// waitForMembers waits until a channel shows exactly these users.
func (p page) waitForMembers(channel string, users ...string) {
	p.t.Helper()
	want, _ := json.Marshal(users)
	defer func() {
		if p.t.Failed() {
			p.t.Logf("%s shows %s", channel, p.text("members-"+channel))
		}
	}()
	p.waitFor(fmt.Sprintf("%s to have %s", channel, want), fmt.Sprintf(
		`JSON.stringify([...document.querySelectorAll('[data-testid="members-%s"] [data-user]')].map(e => e.dataset.user).sort()) === %q`,
		channel, want))
}

// membersText is an expression for the addresses of the members of salesRoom.
const membersText = `[...document.querySelectorAll('[data-testid="members-salesRoom"] .email')].map(e => e.textContent).sort().join(' ')`

func TestDemo(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			d := startDemo(t, scheme == "https")
			browser := newBrowser(t)

			ada := open(t, browser, d.url+"/#name=Ada&join=salesRoom,anonymousChat")
			ada.waitForMembers("salesRoom", "ada")
			grace := open(t, browser, d.url+"/#name=Grace&join=salesRoom")
			second := open(t, browser, d.url+"/?second#name=Ada&join=salesRoom")
			visitor := open(t, browser, d.url+"/#join=anonymousChat")
			for _, p := range []page{ada, grace, second} {
				p.waitForMembers("salesRoom", "ada", "grace")
			}
			ada.waitFor("two in anonymousChat", `document.querySelector('[data-testid=count-anonymousChat]').textContent === '2'`)

			// The plugin of the demo masks the addresses, for browsers and for the backend.
			second.waitFor("masked addresses", membersText+` === 'a***@example.com g***@example.com'`)
			checkMessages(ada, grace, second)
			checkAnswers(t, ada)
			checkLogin(visitor)
			ada.waitForMembers("salesRoom", "ada", "grace")

			// A reload is invisible to users, except for the changes that it makes.
			before := ada.text("connection-id")
			d.reload(t, "", "")
			d.reload(t, "anonymous anonymous* lobby lobby-*", "authenticated anonymousChat")
			visitor.waitFor("the visitor to be put out", `document.querySelector('[data-testid="channel-anonymousChat"]').dataset.kind === 'refused'`)
			d.reload(t, "keep 1", "keep 2")
			ada.waitFor("the plugin's new option to show", `document.querySelector('[data-testid=users-answer]').textContent.includes('gr***@example.com')`)
			ada.waitFor("the members to follow", membersText+` === 'ad***@example.com gr***@example.com'`)
			if after := ada.text("connection-id"); after != before {
				t.Errorf("the connection was %s and is %s after three reloads", before, after)
			}

			// Closing one of two tabs changes nothing; closing the other does.
			second.close()
			grace.close()
			ada.waitForMembers("salesRoom", "ada")
			checkLooks(t, ada, scheme)
		})
	}
}

// The page shows that nothing gets through while a plugin refuses or fails, and that the sender is
// told.
func TestDemoOfPluginsThatRefuseAndFail(t *testing.T) {
	d := startDemo(t, false)
	browser := newBrowser(t)
	p := open(t, browser, d.url+"/#name=Ada&join=salesRoom")
	p.waitForMembers("salesRoom", "ada")
	for _, step := range []struct{ what, way, want string }{
		{"message", "refuse", `denied: a plugin of this site refuses the message in channel "lobby-trouble". 0 messages arrived.`},
		{"message", "trap", "unavailable: try again later. 0 messages arrived."},
		{"message", "loop", "unavailable: try again later. 0 messages arrived."},
		{"message", "rubbish", "unavailable: try again later. 0 messages arrived."},
		{"login", "refuse", "denied: a plugin of this site refuses the login. The client is closed."},
		{"login", "trap", "unavailable: try again later. The client is waiting."},
		{"login", "loop", "unavailable: try again later. The client is waiting."},
		{"login", "rubbish", "unavailable: try again later. The client is waiting."},
	} {
		p.click("trouble-" + step.what + "-" + step.way)
		p.waitFor("the result of "+step.what+" "+step.way, fmt.Sprintf(
			`(({ what, way, done }) => what === %q && way === %q && done)(document.querySelector('[data-testid=trouble-result]').dataset)`, step.what, step.way))
		if got := p.text("trouble-result"); got != step.want {
			t.Errorf("%s %s: the page says %q, want %q", step.what, step.way, got, step.want)
		}
	}
	second := open(t, browser, d.url+"/#name=Grace&join=salesRoom") // joins and log-ins go on
	second.waitForMembers("salesRoom", "ada", "grace")
}

// checkMessages sends a message from the first page, which all pages see, and one from the backend.
func checkMessages(first page, others ...page) {
	first.t.Helper()
	const line = `Good <b>morning</b>`
	first.run(chromedp.SendKeys(`[data-testid="say-salesRoom"]`, line))
	first.click("send-salesRoom")
	pages := append(others, first)
	for _, p := range pages {
		p.waitFor("the line", fmt.Sprintf(
			`document.querySelector('[data-testid="lines-salesRoom"] [data-from="ada"] .said').textContent === 'Ada Lovelace %s'`, line))
	}
	first.run(chromedp.Evaluate[chromedp.Void](`void fetch("/message/sendmessage", {
		method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({
		apiKey: "demo-key", channels: ["salesRoom", "tab|" + document.querySelector('[data-testid="connection-id"]').textContent],
		message: { text: "closing at six" } }) })`))
	for _, p := range pages {
		p.waitFor("the backend's line", `document.querySelector('[data-testid="lines-salesRoom"] [data-from=""] .said').textContent === 'Somebody closing at six'`)
	}
	first.waitFor("the line for the tab", `document.querySelector('[data-testid=log]').textContent.includes('the backend says: closing at six')`)
}

// checkAnswers compares the endpoints' answers on the page with the actual users.
func checkAnswers(t *testing.T, p page) {
	t.Helper()
	type user struct{ ID, Email string }
	var sales []user
	var total map[string]struct{ Authenticated, Anonymous int }
	testkit.Eventually(t, "the answers to be up to date", func() bool {
		var users map[string]json.RawMessage
		if json.Unmarshal([]byte(p.text("users-answer")), &users) != nil ||
			json.Unmarshal([]byte(p.text("allusers-answer")), &total) != nil {
			return false
		}
		return json.Unmarshal(users["salesRoom"], &sales) == nil && len(sales) == 2 && total["_total"].Anonymous == 1
	})
	if want := []user{{"ada", "a***@example.com"}, {"grace", "g***@example.com"}}; !reflect.DeepEqual(sales, want) {
		t.Errorf("salesRoom is %v, want %v", sales, want)
	}
	if got := total["us-east-1"]; got.Authenticated != 2 || got != total["_total"] {
		t.Errorf("/message/allusers says %v", total)
	}
}

// checkLogin checks that a visitor is refused, logs in, and logs out again.
func checkLogin(p page) {
	p.t.Helper()
	p.click("suggest-salesRoom")
	p.waitFor("an error", `!document.querySelector('[data-testid=error]').hidden`)
	if got := p.text("error"); !strings.Contains(strings.ToLower(got), "log in") {
		p.t.Errorf("the visitor sees %q", got)
	}
	p.run(chromedp.SendKeys(`[data-testid="login-name"]`, "Joan"))
	p.click("login-button")
	p.waitForMembers("salesRoom", "ada", "grace", "joan")
	p.click("logout-button")
	p.waitFor("the visitor to be anonymous again", `document.querySelector('[data-testid=login-button]').offsetParent !== null`)
}

// checkLooks takes a picture, and fails if the page is wider than the window. It keeps the pictures
// if ROLLCALL_SCREENSHOTS names a folder.
func checkLooks(t *testing.T, p page, scheme string) {
	t.Helper()
	for _, width := range []int64{1440, 390} {
		p.run(chromedp.EmulateViewport(width, 1000))
		overflow := get(p, chromedp.Evaluate[int](`document.documentElement.scrollWidth - document.documentElement.clientWidth`))
		png := get(p, chromedp.FullScreenshot(100))
		if overflow > 0 {
			t.Errorf("at a width of %d the page is %d pixels too wide", width, overflow)
		}
		if len(png) < 20_000 {
			t.Errorf("at a width of %d the picture has %d bytes: is the page empty?", width, len(png))
		}
		if dir := os.Getenv("ROLLCALL_SCREENSHOTS"); dir != "" {
			if err := os.WriteFile(fmt.Sprintf("%s/demo-%s-%d.png", dir, scheme, width), png, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}
