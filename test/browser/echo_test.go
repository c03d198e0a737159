package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/rollcall-gateway/rollcall/internal/loopback"
	"github.com/rollcall-gateway/rollcall/test/internal/process"
)

// startEcho runs Caddy and the backend of examples/laravel-echo as its README says, on free ports,
// and returns the address of the page.
func startEcho(t *testing.T) string {
	t.Helper()
	example, err := filepath.Abs(filepath.Join(root, "examples/laravel-echo"))
	if err != nil {
		t.Fatal(err)
	}
	packages, home := os.Getenv("ROLLCALL_BROWSER_NPM"), t.TempDir()
	if packages == "" {
		t.Fatal("ROLLCALL_BROWSER_NPM is not set: run make browser")
	}
	_, port, _ := net.SplitHostPort(loopback.AddressFor(t))
	_, own, _ := net.SplitHostPort(loopback.AddressFor(t))
	// npm ci has not run in the folder of the example: the backend runs beside the packages of the
	// tests.
	code, err := os.ReadFile(filepath.Join(example, "backend.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(home, "backend.mjs")
	if err := os.WriteFile(file, code, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(packages, "node_modules"), filepath.Join(home, "node_modules")); err != nil {
		t.Fatal(err)
	}
	backend := exec.Command("node", file)
	backend.Env = append(os.Environ(), "PORT="+own, "ROLLCALL_PORT="+port)
	process.Start(t, backend, answers("http://localhost:"+own))

	text, err := os.ReadFile(filepath.Join(example, "Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	config := strings.Replace(string(text), "http://localhost:8080 {", "http://localhost:"+port+" {", 1)
	if config == string(text) {
		t.Fatal("the Caddyfile has another address than http://localhost:8080")
	}
	config = strings.Replace(config, "admin off", "admin off\n\tpersist_config off", 1)
	file = filepath.Join(home, "Caddyfile")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	caddy := exec.Command(os.Getenv("ROLLCALL_CADDY"), "run", "--config", file)
	caddy.Dir = example
	caddy.Env = append(os.Environ(), process.Home(home)...)
	caddy.Env = append(caddy.Env, "BACKEND=localhost:"+own, "LIBRARIES="+filepath.Join(packages, "node_modules"))
	process.Start(t, caddy, answers("http://localhost:"+port))
	return "http://localhost:" + port
}

// answers returns a function that reports whether there is any response.
func answers(address string) func() error {
	return func() error {
		resp, err := http.Get(address)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
}

// enter opens a page of the example in a tab of its own.
func enter(t *testing.T, browser context.Context, address string) page {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	p := page{t, ctx}
	if err := chromedp.Do(ctx); err != nil { // without a timeout, which would end the tab
		t.Fatal(err)
	}
	p.run(chromedp.Navigate(address))
	return p
}

// waitForUsers waits until the page shows exactly these users.
func (p page) waitForUsers(users ...string) {
	p.t.Helper()
	want, _ := json.Marshal(users)
	p.waitFor(fmt.Sprintf("the members %s", want), fmt.Sprintf(
		`JSON.stringify([...document.querySelectorAll('#members [data-user]')].map(e => e.dataset.user).sort()) === %q`, want))
}

// waitForLine waits until the page has a line among its messages, and fails if it has it twice.
func (p page) waitForLine(line string) {
	p.t.Helper()
	defer func() {
		if p.t.Failed() {
			p.t.Logf("the page shows %s", get(p, chromedp.Evaluate[string](`document.querySelector('main').innerText`)))
		}
	}()
	count := fmt.Sprintf(`[...document.querySelectorAll('#log li')].filter(e => e.textContent === %q).length`, line)
	p.waitFor("the line "+line, count+" > 0")
	if n := get(p, chromedp.Evaluate[int](count)); n != 1 {
		p.t.Errorf("the line %q is there %d times", line, n)
	}
}

func (p page) waitForState(text string) {
	p.t.Helper()
	p.waitFor("the state "+text, fmt.Sprintf(`document.querySelector('#state').textContent.includes(%q)`, text))
}

// say types a text and presses a button.
func (p page) say(text, button string) {
	p.t.Helper()
	get(p, chromedp.Evaluate[bool](fmt.Sprintf(
		`(() => { document.querySelector('#text').value = %q; document.querySelector(%q).click(); return true })()`, text, button)))
}

// TestLaravelEchoExample does what the README of the example says: Echo and Rollcall's client see
// each other, talk, and hear the backend.
func TestLaravelEchoExample(t *testing.T) {
	address, browser := startEcho(t), newBrowser(t)
	ada := enter(t, browser, address+"/echo.html?name=ada")
	ada.waitForUsers("ada")
	grace := enter(t, browser, address+"/native.html?name=grace")
	grace.waitForUsers("ada", "grace")
	ada.waitForUsers("ada", "grace")
	ada.waitForLine("Grace came")

	grace.say("hello", "#say button")
	ada.waitForLine("grace: hello")
	grace.waitForLine("grace: hello")
	ada.say("welcome", "#say button")
	grace.waitForLine("ada: welcome")
	ada.waitForLine("ada: welcome")

	// A second tab by the other client is the same user.
	second := enter(t, browser, address+"/native.html?name=ada")
	second.waitForUsers("ada", "grace")
	ada.say("closing at six", "#announce")
	for _, p := range []page{ada, grace, second} {
		p.waitForLine("the backend, for Ada: closing at six")
		p.waitForUsers("ada", "grace")
	}
	announce(t, address, url.Values{"to": {"ada"}, "text": {"your order has left"}})
	for _, p := range []page{ada, second} {
		p.waitForLine("the backend, to you alone: your order has left")
	}
	if got, want := listed(t, address), strings.Join(strings.Fields(exampleAnswer(t)), ""); got != want {
		t.Errorf("/message/users answers %s, the README shows %s", got, want)
	}
	if get(grace, chromedp.Evaluate[bool](`document.querySelector('#log').textContent.includes('order')`)) {
		t.Error("Grace gets a message to Ada")
	}
	second.close()
	ada.close()
	grace.waitForLine("Ada went")
	grace.waitForUsers("grace")

	eve := enter(t, browser, address+"/echo.html?name=eve")
	eve.waitForState("401")
	grace.waitForUsers("grace")
}

// announce lets the backend of the example say something for Grace.
func announce(t *testing.T, address string, fields url.Values) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address+"/announce", strings.NewReader(fields.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-User", "grace")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		t.Fatalf("the backend answers %s: %s", resp.Status, body)
	}
}

// listed returns the room's answer to /message/users, without white space.
func listed(t *testing.T, address string) string {
	t.Helper()
	resp, err := http.Post(address+"/message/users", "application/json",
		strings.NewReader(`{"apiKey":"demo-key","channel":"presence-room","includeInfo":true}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(body)), "")
}

// exampleAnswer returns the answer that the README of the example shows.
func exampleAnswer(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "examples/laravel-echo/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "```json\n")
	answer, _, _ := strings.Cut(rest, "```")
	if !found {
		t.Fatal("the README shows no answer")
	}
	return answer
}

// TestLaravelEchoExampleHasTheTestedPackages compares the packages of the example with those of the
// tests, and the size of the backend with what the README promises.
func TestLaravelEchoExampleHasTheTestedPackages(t *testing.T) {
	read := func(file string) map[string]string {
		t.Helper()
		raw, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		var list struct{ Dependencies map[string]string }
		if err := json.Unmarshal(raw, &list); err != nil {
			t.Fatal(err)
		}
		return list.Dependencies
	}
	tested := read("test/browser/npm/package.json")
	example := read("examples/laravel-echo/package.json")
	if len(example) != 3 {
		t.Errorf("the example has the packages %v", example)
	}
	for name, version := range example {
		if tested[name] != version {
			t.Errorf("the example has %s %s, the tests %q", name, version, tested[name])
		}
	}
	code, err := os.ReadFile(filepath.Join(root, "examples/laravel-echo/backend.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for line := range strings.Lines(string(code)) {
		if strings.TrimSpace(line) != "" {
			lines++
		}
	}
	if lines > 50 {
		t.Errorf("the backend has %d lines", lines)
	}
}
