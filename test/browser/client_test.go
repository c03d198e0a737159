package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	chromium "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/network"
	lifecycle "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/golang-jwt/jwt/v5"
)

// throttled are options with which Chromium slows down the timers of hidden pages, as it does for
// users.
var throttled = []chromedp.ExecAllocatorOption{
	chromedp.Flag("disable-background-timer-throttling", false),
	chromedp.Flag("disable-backgrounding-occluded-windows", false),
	chromedp.Flag("disable-renderer-backgrounding", false),
}

// openBlank opens an empty page of the demo.
func openBlank(t *testing.T, browser context.Context, url string) page {
	t.Helper()
	return openTab(t, browser, url+"/token.js")
}

func openTab(t *testing.T, browser context.Context, url string) page {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	p := page{t, ctx}
	if err := chromedp.Do(ctx); err != nil { // without a timeout, which would end the tab
		t.Fatal(err)
	}
	p.run(chromedp.Navigate(url))
	return p
}

// connect makes a client rc in the page; the array states has its states.
func (p page) connect(options string) {
	p.t.Helper()
	p.run(chromedp.Evaluate[chromedp.Void](`void import("/message/client.js").then(({ Rollcall }) => {
		globalThis.states = [];
		globalThis.rc = new Rollcall(` + options + `);
		rc.on("state", ({ state, reason }) => states.push(state + " " + reason));
	})`))
	defer func() {
		if p.t.Failed() {
			p.t.Logf("the states are %s", get(p, chromedp.Evaluate[string](`JSON.stringify(globalThis.states)`)))
		}
	}()
	p.waitFor("the client to be open", `rc.state === "open"`)
}

// show minimizes the window of the page, or restores it.
func (p page) show(visible bool) {
	p.t.Helper()
	window, err := chromedp.Call(p.ctx, chromium.GetWindowForTarget, chromium.GetWindowForTargetParams{})
	if err != nil {
		p.t.Fatal(err)
	}
	state := chromium.WindowStateMinimized
	if visible {
		state = chromium.WindowStateNormal
	}
	if _, err := chromedp.Call(p.ctx, chromium.SetWindowBounds, chromium.SetWindowBoundsParams{
		WindowID: window.WindowID, Bounds: &chromium.Bounds{WindowState: state},
	}); err != nil {
		p.t.Fatal(err)
	}
	p.waitFor(fmt.Sprintf("the page to be visible: %t", visible), fmt.Sprintf(`document.hidden === %t`, !visible))
}

// TestHiddenPageJoinsAgain gives a page, whose timers run once a second, 20 s to join a hundred
// channels.
func TestHiddenPageJoinsAgain(t *testing.T) {
	d := startDemo(t, false)
	way := newPath(t, d.url)
	p := openBlank(t, newBrowser(t, throttled...), way.url)
	p.connect("")
	p.run(chromedp.Evaluate[chromedp.Void](`for (let i = 0; i < 100; i++) rc.join("lobby-" + i, { presence: "list" })`))
	const all = `[...rc.channels.values()].filter((ch) => ch.synced).length === 100`
	p.waitFor("a hundred channels", all)
	p.show(false)
	way.cut()
	p.waitFor("another connection", `states.filter((s) => s === "open welcome").length === 2`)
	p.waitFor("a hundred channels again", all)
	if !get(p, chromedp.Evaluate[bool](`document.hidden`)) {
		t.Error("the page is visible")
	}
}

// TestDeadPathIsFound makes the path to the server dead without a notice, and fires an event that
// hints at it. Without that, the client would notice only after 35 s of silence.
func TestDeadPathIsFound(t *testing.T) { //nolint:tparallel // the pages of one browser are throttled together
	t.Parallel()
	d := startDemo(t, false)
	browser := newBrowser(t, throttled...)
	freeze := func(p page, state lifecycle.SetWebLifecycleStateState) {
		if _, err := chromedp.Call(p.ctx, lifecycle.SetWebLifecycleState,
			lifecycle.SetWebLifecycleStateParams{State: state}); err != nil {
			p.t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name         string
		before, sign func(p page)
	}{
		{"offline", func(page) {}, func(p page) {
			if _, err := chromedp.Call(p.ctx, network.OverrideNetworkState,
				network.OverrideNetworkStateParams{Offline: true}); err != nil {
				p.t.Fatal(err)
			}
			p.waitFor("the page to be offline", `!navigator.onLine`)
		}},
		{"visible", func(p page) { p.show(false) }, func(p page) { p.show(true) }},
		{
			"resume", // Chromium closes the websockets of a frozen page, and reports that when it resumes
			func(p page) { freeze(p, lifecycle.SetWebLifecycleStateStateFrozen) },
			func(p page) { freeze(p, lifecycle.SetWebLifecycleStateStateActive) },
		},
		{"a message without an answer", func(page) {}, func(p page) {
			p.run(chromedp.Evaluate[chromedp.Void](`void rc.send(["lobby"], {}).catch(() => {})`))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			way := newPath(t, d.url)
			p := openBlank(t, browser, way.url)
			p.connect("")
			p.run(chromedp.Evaluate[chromedp.Void](`void rc.join("lobby")`))
			p.waitFor("the channel", `rc.channels.get("lobby").synced`)
			tt.before(p)
			way.goDead()
			tt.sign(p)
			p.waitFor("another connection", `states.filter((s) => s === "open welcome").length === 2`)
			p.waitFor("the channel again", `rc.channels.get("lobby").synced`)
		})
	}
}

// sign returns a token for the demo that is valid for the given time.
func sign(t *testing.T, user string, lasts time.Duration) string {
	t.Helper()
	const secret = "rollcall-demo-secret-0123456789abcdef" // secret in the Caddyfile
	claims := jwt.MapClaims{"sub": user, "email": user + "@example.com", "exp": time.Now().Add(lasts).Unix()}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// setCookie logs the browser in, with a token that is valid for the given time.
func (p page) setCookie(user string, lasts time.Duration) {
	p.t.Helper()
	token := sign(p.t, user, lasts)
	p.run(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`document.cookie = "rollcall_token=%s; path=/"`, token)))
}

// TestCookieThatExpires lets the cookie's token expire, with and without a renewal.
func TestCookieThatExpires(t *testing.T) { //nolint:tparallel // the pages of one browser share its cookies
	t.Parallel()
	d := startDemo(t, false)
	d.reload(t, "algorithms HS256", "algorithms HS256\n\t\t\tcookie rollcall_token")
	browser := newBrowser(t)
	for _, tt := range []struct {
		name    string
		renewed bool
		states  string
		user    string
	}{
		{"renewed", true, `["open welcome","waiting token_expired","connecting retry","open welcome"]`, "ada"},
		{"not renewed", false, `["open welcome","waiting token_expired","connecting retry","closed token_expired"]`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := openBlank(t, browser, d.url)
			p.setCookie("ada", 6*time.Second)
			p.connect("")
			p.run(chromedp.Evaluate[chromedp.Void](`void rc.join("salesRoom", { presence: "list" })`))
			p.waitFor("the log-in", `rc.user.id === "ada" && rc.channels.get("salesRoom").synced`)
			if tt.renewed {
				p.setCookie("ada", time.Hour)
			}
			p.waitFor("the states "+tt.states, fmt.Sprintf(`JSON.stringify(states) === %q`, tt.states))
			if user := get(p, chromedp.Evaluate[string](`rc.user?.id ?? ""`)); user != tt.user {
				t.Errorf("the user is %q, want %q", user, tt.user)
			}
			if tt.renewed {
				p.waitFor("the channel again", `rc.channels.get("salesRoom").members.has("ada") && rc.channels.get("salesRoom").synced`)
			}
		})
	}
}

// TestMoreChannelsThanAllowed joins more than twice as many channels as the burst of a small frame
// limit allows, and stays connected.
func TestMoreChannelsThanAllowed(t *testing.T) {
	t.Parallel()
	d := startDemo(t, false)
	d.reload(t, "\tdefault authenticated\n\t\t\t}", "\tdefault authenticated\n\t\t\t}\n\t\t\tlimits {\n"+
		"\t\t\t\tframes_per_second 20\n\t\t\t\tchannels_per_connection 20\n\t\t\t}")
	p := openBlank(t, newBrowser(t), d.url)
	p.connect("")
	p.run(chromedp.Evaluate[chromedp.Void](`
		globalThis.refused = [];
		for (let i = 0; i < 90; i++) rc.join("lobby-" + i).on("error", (e) => refused.push(e.code));`))
	p.waitFor("an answer to each join",
		`refused.length === 70 && [...rc.channels.values()].filter((ch) => ch.synced).length === 20`)
	if got := get(p, chromedp.Evaluate[string](`JSON.stringify([[...new Set(refused)], states])`)); got != `[["too_many_channels"],["open welcome"]]` {
		t.Errorf("the errors and states are %s", got)
	}
}

// TestClientInABundle bundles client.js with esbuild into scripts, which have no import.meta.
func TestClientInABundle(t *testing.T) {
	esbuild := os.Getenv("ROLLCALL_ESBUILD")
	if esbuild == "" {
		t.Fatal("ROLLCALL_ESBUILD is not set: run make browser")
	}
	app := filepath.Join(t.TempDir(), "app.js")
	client, err := filepath.Abs(filepath.Join(root, "clients/js/rollcall.js"))
	if err != nil {
		t.Fatal(err)
	}
	imported, _ := json.Marshal(client)
	source := fmt.Sprintf(`import { Rollcall } from %s;
		globalThis.rc = new Rollcall({ url: "/message/socket" });
		export const room = rc.join("lobby", { presence: "count" });`, imported)
	if err := os.WriteFile(app, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	d := startDemo(t, false)
	browser := newBrowser(t)
	for _, format := range []string{"iife", "cjs"} {
		t.Run(format, func(t *testing.T) {
			var script, said bytes.Buffer
			cmd := exec.Command(esbuild, "--bundle", "--minify", "--format="+format, app)
			cmd.Stdout, cmd.Stderr = &script, &said
			if err := cmd.Run(); err != nil {
				t.Fatalf("esbuild: %v\n%s", err, said.String())
			}
			p := openBlank(t, browser, d.url)
			p.run(chromedp.Evaluate[chromedp.Void](`{ const module = { exports: {} }; ` + script.String() + ` } void 0`))
			p.waitFor("the channel", `rc.channels.get("lobby").count === 1`)
			if url := get(p, chromedp.Evaluate[string](`rc.url.href`)); url != "ws"+d.url[len("http"):]+"/message/socket" {
				t.Errorf("the client of %s connects to %s", d.url, url)
			}
			p.close()
		})
	}
}

// TestPageFromTheCacheConnectsAgain visits another page and returns. Chromium has closed the
// connection meanwhile.
func TestPageFromTheCacheConnectsAgain(t *testing.T) {
	d := startDemo(t, false)
	p := openBlank(t, newBrowser(t), d.url)
	p.connect("")
	p.run(chromedp.Evaluate[chromedp.Void](`rc.join("lobby");
		addEventListener("pageshow", (e) => { globalThis.restored = e.persisted; });`))
	p.waitFor("the channel", `rc.channels.get("lobby").synced`)
	p.run(chromedp.Navigate(d.url + "/dom.js"))
	p.run(chromedp.Evaluate[chromedp.Void](`history.back()`))
	p.waitFor("the page from the cache", `restored`)
	p.waitFor("another connection", `states.filter((s) => s === "open welcome").length === 2`)
	p.waitFor("the channel again", `rc.channels.get("lobby").synced`)
}
