package docs

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/test/internal/process"
)

// backends is a folder like a clone of the repository after "make build", in which the commands of
// docs/backends/README.md run with free ports.
type backends struct {
	page
	server
	dir  string
	port string // of the backend
}

func newBackends(t *testing.T) *backends {
	t.Helper()
	b := &backends{
		page:   readPage(t, "docs/backends/README.md"),
		server: server{home: t.TempDir(), addr: freeAddr(t), admin: freeAddr(t)},
		dir:    t.TempDir(),
	}
	backend := freeAddr(t)
	_, b.port, _ = strings.Cut(backend, ":")
	b.pairs = []string{"localhost:3000", backend}
	if err := os.Mkdir(filepath.Join(b.dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(caddy, filepath.Join(b.dir, "bin", "caddy")); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(b.dir, "docs", "backends")
	if err := os.CopyFS(folder, os.DirFS(filepath.Join(root, "docs", "backends"))); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "Caddyfile")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(b.local(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := b.command(t, "bin/backend.env").CombinedOutput(); err != nil {
		t.Fatalf("making the secrets: %v\n%s", err, out)
	}
	return b
}

// block returns the block in a language that contains a text.
func (b *backends) block(t *testing.T, lang, with string) block {
	t.Helper()
	for _, of := range b.blocks {
		if of.lang == lang && strings.Contains(of.text, with) {
			return of
		}
	}
	t.Fatalf("%s has no %s block with %q", b.name, lang, with)
	return block{}
}

// command returns the commands of the block of the page that contains a text.
func (b *backends) command(t *testing.T, with string) *exec.Cmd {
	t.Helper()
	return b.shell(b.block(t, "sh", with).text)
}

func (b *backends) shell(script string) *exec.Cmd {
	cmd := exec.Command("sh", "-e", "-c", b.local(script))
	cmd.Dir = b.dir
	// Go keeps its cache below HOME, and Caddy its data in the other folders.
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+b.home, "XDG_CONFIG_HOME="+b.home,
		"PORT="+b.port, "CADDY_ADMIN="+b.admin, "ROLLCALL_URL=http://"+b.addr)
	return cmd
}

// start runs the last command of the block with a text, or another one in its place, in place of
// the shell, so that it gets the signal to end.
func (b *backends) start(t *testing.T, with, instead string, ready func() error) *process.Buffer {
	t.Helper()
	script := b.block(t, "sh", with).text
	i := strings.LastIndex(script, "\n") + 1
	last := script[i:]
	if instead != "" {
		last = instead
	}
	return process.Start(t, b.shell(script[:i]+"exec "+last), ready)
}

// said waits until the output of a backend has a line, which PHP begins with the time.
func said(t *testing.T, out *process.Buffer, line string) {
	t.Helper()
	saidTimes(t, out, `(?m)(^|\] )`+regexp.QuoteMeta(line)+` *$`, 1)
}

// saidTimes waits until the output of a backend matches a pattern n times.
func saidTimes(t *testing.T, out *process.Buffer, pattern string, n int) {
	t.Helper()
	line := regexp.MustCompile(pattern)
	deadline := time.Now().Add(3 * patience)
	for len(line.FindAllString(out.String(), n)) < n {
		if time.Now().After(deadline) {
			t.Fatalf("the backend does not say %q %d times", pattern, n)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (b *backends) ask(t *testing.T, method, path, body string, header http.Header) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequest(method, path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// startCommand is a command in the table of the page.
var startCommand = regexp.MustCompile("(?m)^\\| [^|]* \\| \\[(backend\\.\\w+)\\]\\(backend\\.\\w+\\) \\| `([^`]*)` \\|$")

// TestBackends follows docs/backends/README.md with each of its backends.
func TestBackends(t *testing.T) {
	commands := startCommand.FindAllStringSubmatch(readPage(t, "docs/backends/README.md").text, -1)
	if len(commands) != 4 {
		t.Errorf("%d backends found, want 4", len(commands))
	}
	for _, command := range commands {
		t.Run(command[1], func(t *testing.T) {
			b := newBackends(t)
			b.start(t, "bin/caddy run", "", func() error { return responds("http://" + b.addr + "/message/users") })
			run := command[2]
			if file, ok := strings.CutPrefix(run, "go run "); ok { // which does not pass signals on
				if out, err := b.shell("go build -o bin/backend " + file).CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				run = "bin/backend"
			}
			out := b.start(t, "backend.py", run, func() error { return responds("http://localhost:" + b.port + "/webhook") })
			b.follow(t, out)
			b.forge(t, out)
		})
	}
}

// follow does what the page says, with a websocket in place of the page in a browser.
func (b *backends) follow(t *testing.T, out *process.Buffer) {
	t.Helper()
	// Of a channel that is joined earlier, the backend gets channel.state instead of
	// channel.occupied. The threads of Python write into one another's lines.
	saidTimes(t, out, "epoch.complete", presence.Shards)
	site := "http://" + b.addr
	status, token := b.ask(t, http.MethodGet, site+"/api/token?user=ada", "", nil)
	if status != http.StatusOK {
		t.Fatalf("the token: status %d: %s", status, token)
	}
	c := b.connect(t, "ada")
	c.expect(t, "welcome")
	c.send(t, fmt.Sprintf(`{"type":"authenticate","token":%q}`, token))
	want := `{"type":"authenticated","user":{"id":"ada","email":"ada@example.com"}}`
	if got := c.receive(t); got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	c.send(t, `{"type":"join","channel":"salesRoom"}`)
	c.expect(t, "joined")
	for line := range strings.Lines(b.block(t, "text", "member.joined").text) {
		said(t, out, strings.TrimSpace(line))
	}
	for i, of := range b.blocks {
		if of.lang != "sh" || !strings.HasPrefix(of.text, "curl ") {
			continue
		}
		got, err := b.shell(of.text).Output()
		if err != nil {
			t.Fatalf("%s:%d: %v", b.name, of.line, err)
		}
		b.same(t, b.blocks[i+1], canonical(t, string(got)), canonical(t, b.blocks[i+1].text))
	}
	want = `{"type":"message","channel":"salesRoom","from":null,"backend":true,"message":{"user":"ada","text":"hello"}}`
	if got := c.receive(t); canonical(t, got) != canonical(t, want) {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, path := range []string{"GET /api/token", "GET /api/online?channel=salesRoom", "POST /api/send"} {
		method, path, _ := strings.Cut(path, " ")
		if status, _ := b.ask(t, method, site+path, `{"channel":"salesRoom","text":"x"}`, nil); status != http.StatusUnauthorized {
			t.Errorf("%s without a user: status %d", path, status)
		}
	}
	if status, _ := b.ask(t, http.MethodGet, site+"/api/other?user=ada", "", nil); status != http.StatusNotFound {
		t.Errorf("another path: status %d", status)
	}
	// Rollcall refuses it.
	if status, _ := b.ask(t, http.MethodPost, site+"/api/send?user=ada", `{"channel":"","text":"x"}`, nil); status != http.StatusInternalServerError {
		t.Errorf("a channel that is none: status %d", status)
	}
}

// forge sends webhooks that do not come from Rollcall.
func (b *backends) forge(t *testing.T, out *process.Buffer) {
	t.Helper()
	env, err := os.ReadFile(filepath.Join(b.dir, "bin", "backend.env"))
	if err != nil {
		t.Fatal(err)
	}
	_, secret, _ := strings.Cut(string(env), "ROLLCALL_EVENTS_SECRET=")
	secret = strings.TrimSpace(secret)
	const id = "evt_qvVkx3BhcRmXJVkWyPnC3Q"
	at := func(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }
	now := time.Now()
	body := func(user string) string {
		return fmt.Sprintf(`{"events":[{"type":"member.joined","channel":"büro","user":{"id":%q}}]}`, user)
	}
	for i, test := range []struct {
		name, time, signature string
		genuine               bool
	}{
		{"of Rollcall", at(now), standardSignature(t, secret, id, at(now), body("user-0")), true},
		{"with two secrets", at(now), "v1,AAAA " + standardSignature(t, secret, id, at(now), body("user-1")), true},
		{"other body", at(now), standardSignature(t, secret, id, at(now), body("ada")), false},
		{"other time", at(now), standardSignature(t, secret, id, at(now.Add(-time.Second)), body("user-3")), false},
		{"other ID", at(now), standardSignature(t, secret, "evt_other", at(now), body("user-4")), false},
		{"other secret", at(now), standardSignature(t, backendSecret, id, at(now), body("user-5")), false},
		{"old", at(now.Add(-time.Hour)), standardSignature(t, secret, id, at(now.Add(-time.Hour)), body("user-6")), false},
		{"of the future", at(now.Add(time.Hour)), standardSignature(t, secret, id, at(now.Add(time.Hour)), body("user-7")), false},
		{"no time", "", standardSignature(t, secret, id, "", body("user-8")), false},
		{"time that is no number", "now", standardSignature(t, secret, id, "now", body("user-9")), false},
		{"no signature", at(now), "", false},
		{"odd signature", at(now), "v1,ÿ v1", false},
	} {
		header := http.Header{"Content-Type": {"application/json"}, "Webhook-Id": {id}}
		if test.time != "" {
			header.Set("Webhook-Timestamp", test.time)
		}
		if test.signature != "" {
			header.Set("Webhook-Signature", test.signature)
		}
		user := fmt.Sprintf("user-%d", i)
		status, answer := b.ask(t, http.MethodPost, "http://localhost:"+b.port+"/webhook", body(user), header)
		line := "member.joined büro " + user
		if test.genuine {
			if status != http.StatusNoContent {
				t.Errorf("a webhook %s: status %d %s", test.name, status, answer)
			}
			said(t, out, line)
			continue
		}
		if status != http.StatusUnauthorized || strings.Contains(out.String(), line) {
			t.Errorf("a forged webhook, %s: status %d %s", test.name, status, answer)
		}
	}
}
