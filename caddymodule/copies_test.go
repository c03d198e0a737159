package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/caddymodule/copies"
	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/caddymodule/routes"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
)

// listener is a backend that records the messages it gets, and answers as configured.
type listener struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	got    []string
}

func newListener(t *testing.T) *listener {
	t.Helper()
	l := &listener{status: http.StatusOK}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Host    string
			Message struct{ N int }
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.status == http.StatusOK {
			l.got = append(l.got, fmt.Sprint(body.Host, " ", body.Message.N))
		}
		w.WriteHeader(l.status)
	}))
	t.Cleanup(l.Close)
	return l
}

func (l *listener) answer(status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status = status
}

func (l *listener) messages() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.got)
}

func (l *listener) expect(t *testing.T, want ...string) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("the backend gets %q", want), func() bool { return len(l.messages()) >= len(want) })
	if got := l.messages(); !slices.Equal(got, want) {
		t.Errorf("the backend got %q, want %q", got, want)
	}
}

// siteWithBackend is a Caddyfile with one site that copies to a backend.
func siteWithBackend(host, url string) string {
	return "http://" + host + " {\n\trollcall {\n\t\tbackend " + url + " {\n\t\t\tsecret " + backendSecret + "\n\t\t}\n\t}\n}"
}

// nowhere is the endpoints of a pod without backends.
type nowhere struct{}

func (nowhere) Endpoint(backend.Stream) *backend.Endpoint { return nil }

// inEffect puts a configuration into effect, instead of the one before.
func inEffect(t *testing.T, caddyfile string, before *gateway.Configuration) (*site.Site, *gateway.Configuration) {
	t.Helper()
	c := mustLoad(t, caddyfile)
	h, s := c.app.hub, c.snapshot()
	h.Offer(s)
	if before != nil {
		h.TakeBack(before)
	}
	return c.handler(t).rollcall.Site, s
}

func copied(n int) backend.Message {
	return backend.Message{
		Channel: "sales", Mode: backend.Listen, From: &presence.User{ID: "ada"}, Message: fmt.Appendf(nil, `{"n":%d}`, n),
		Sent: time.Now(),
	}
}

// dataFolder gives the test a data folder of its own.
func dataFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_DATA_HOME", dir)
	return filepath.Join(dir, "caddy", "rollcall", "backend")
}

func TestCopiesFollowTheConfigurationInEffect(t *testing.T) {
	dataFolder(t)
	host, first, second := testkit.MustHost(t, "portal.example.com"), newListener(t), newListener(t)
	first.answer(http.StatusServiceUnavailable)
	site, now := inEffect(t, siteWithBackend("portal.example.com", first.URL), nil)
	for n := range 3 {
		if err := loadedHub().CopyToBackend(site, host, copied(n)); err != nil {
			t.Fatal(err)
		}
	}
	// The host leaves the configuration and comes back with another backend.
	_, now = inEffect(t, siteWithKey("other.example.com", "k"), now)
	if err := loadedHub().CopyToBackend(site, host, copied(9)); !errors.Is(err, copies.ErrNotCopied) {
		t.Errorf("of a host that has left: %v", err)
	}
	site, _ = inEffect(t, siteWithBackend("portal.example.com", second.URL), now)
	if err := loadedHub().CopyToBackend(site, host, copied(3)); err != nil {
		t.Fatal(err)
	}
	want := []string{"portal.example.com 0", "portal.example.com 1", "portal.example.com 2", "portal.example.com 3"}
	second.expect(t, want...)
	first.answer(http.StatusOK) // not earlier: an attempt could have been running
	if err := loadedHub().CopyToBackend(site, host, copied(4)); err != nil {
		t.Fatal(err)
	}
	second.expect(t, append(want, "portal.example.com 4")...)
	first.expect(t)
}

func TestCopiesAreKeptWhenCaddyStops(t *testing.T) {
	folder := dataFolder(t)
	host, l := testkit.MustHost(t, "portal.example.com"), newListener(t)
	l.answer(http.StatusServiceUnavailable)
	site, now := inEffect(t, siteWithBackend("portal.example.com", l.URL), nil)
	for n := range 3 {
		if err := loadedHub().CopyToBackend(site, host, copied(n)); err != nil {
			t.Fatal(err)
		}
	}
	h := loadedHub()
	h.TakeBack(now) // the last configuration: the hub drains
	if err := loadedHub().CopyToBackend(site, host, copied(9)); !errors.Is(err, copies.ErrNotCopied) {
		t.Errorf("while it stops: %v", err)
	}
	other, err := backend.Open(backend.Config{Folder: folder, Endpoints: nowhere{}, Observer: unobserved{}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatalf("the file is not let go of: %v", err)
	}
	if err := other.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.answer(http.StatusOK)
	// Waiting copies are delivered although no new message is sent.
	inEffect(t, siteWithBackend("portal.example.com", l.URL), nil)
	l.expect(t, "portal.example.com 0", "portal.example.com 1", "portal.example.com 2")
}

func TestWithoutABackendListenersGetTheirMessages(t *testing.T) {
	folder := dataFolder(t)
	site, _ := inEffect(t, siteWithKey("portal.example.com", "k"), nil)
	core, logs := observer.New(zapcore.WarnLevel)
	site.Logger = zap.New(core)
	host, m := testkit.MustHost(t, "portal.example.com"), copied(1)
	for range 3 {
		if err := loadedHub().CopyToBackend(site, host, m); err != nil {
			t.Errorf("mode listen: %v", err)
		}
	}
	m.Mode = backend.Receive
	if err := loadedHub().CopyToBackend(site, host, m); !errors.Is(err, copies.ErrNotCopied) || !strings.Contains(err.Error(), "the site has no backend") {
		t.Errorf("mode receive: %v", err)
	}
	if logs.Len() != 1 {
		t.Errorf("%d lines are logged", logs.Len())
	}
	if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an unneeded file is made: %v", err)
	}
}

// stuck is an Outbox whose writes wait.
type stuck struct {
	sink
	writing, gate chan struct{} // writing has room for one
}

func (s stuck) Queue([]byte, int) bool { return true }

func (s stuck) Flush() {
	select {
	case s.writing <- struct{}{}:
	default:
	}
	<-s.gate
}

// A sender who learns that nothing was sent sends again: the backend must not get both.
func TestMessageThatIsNotSentIsNotCopied(t *testing.T) {
	dataFolder(t)
	host, l := testkit.MustHost(t, "portal.example.com"), newListener(t)
	site, now := inEffect(t, "http://portal.example.com {\n\trollcall {\n\t\tapi_key k\n\t\tbackend "+l.URL+
		" {\n\t\t\tsecret "+backendSecret+"\n\t\t}\n\t\tlimits {\n\t\t\tqueue 8MiB\n\t\t}\n\t}\n}", nil)
	h := handlerAt(now.Owners.(*routes.Owners).Doors(host)[0])
	registry := loadedHub().Registry
	wantCreated(t, h, "adduser", `[{"id":"ada","channels":[{"name":"sales","mode":"listen"}]}]`, "ada")
	ada := mustDial(t, listen(t, h), "portal.example.com", "Test-User", "ada")
	answer := func(kinds ...string) string {
		for {
			var frame struct{ Type, Code string }
			if err := ada.ReadJSON(&frame); err != nil {
				t.Fatal(err)
			}
			if slices.Contains(kinds, frame.Type) {
				return frame.Type + frame.Code
			}
		}
	}
	answer("joined")

	slow := stuck{writing: make(chan struct{}, 1), gate: make(chan struct{})}
	conn, err := registry.Connect(host, site.Rules(), &presence.User{ID: "bob"}, slow)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Join("sales", presence.WatchNone, ""); err != nil {
		t.Fatal(err)
	}
	message := fmt.Appendf(nil, "{%s}", strings.Repeat(" ", 100))
	for n := 0; ; n++ {
		err := registry.Send(host, presence.Message{Channels: []string{"sales"}, Body: message})
		if errors.Is(err, presence.ErrBusy) {
			break
		}
		if err != nil || n > 100_000 {
			t.Fatalf("%d messages wait, %v", n, err)
		}
		if n == 0 {
			<-slow.writing
		}
	}
	send := func(n int) string {
		text := fmt.Sprintf(`{"n":%d,"text":%q}`, n, strings.Repeat("x", len(message)))
		if err := ada.WriteJSON(map[string]any{"type": "send", "channels": []string{"sales"}, "message": json.RawMessage(text)}); err != nil {
			t.Fatal(err)
		}
		return answer("sent", "error")
	}
	if got := send(1); got != "errorrate_limited" {
		t.Errorf("the answer is %s", got)
	}
	close(slow.gate)
	testkit.Eventually(t, "there is room again", func() bool { return send(2) == "sent" })
	l.expect(t, "portal.example.com 2")
}

// unobserved counts nothing.
type unobserved struct{}

func (unobserved) Delivered(backend.Stream, int)                {}
func (unobserved) Failed(backend.Stream, backend.Reason)        {}
func (unobserved) NotTaken(backend.Stream, backend.Reason, int) {}
func (unobserved) Dropped(backend.Stream, backend.Reason, int)  {}

func TestCopiesWaitForAnotherProcessToLetGoOfTheFile(t *testing.T) {
	folder := dataFolder(t)
	other, err := backend.Open(backend.Config{
		Folder: folder, Endpoints: nowhere{}, Observer: unobserved{}, Logger: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	host, l := testkit.MustHost(t, "portal.example.com"), newListener(t)
	site, _ := inEffect(t, siteWithBackend("portal.example.com", l.URL), nil)
	if err := loadedHub().CopyToBackend(site, host, copied(0)); !errors.Is(err, copies.ErrNotCopied) || !errors.Is(err, backend.ErrLocked) {
		t.Fatalf("the error is %v", err)
	}
	if err := other.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the file is opened", func() bool { return loadedHub().CopyToBackend(site, host, copied(0)) == nil })
	l.expect(t, "portal.example.com 0")
}

func TestBackendMetrics(t *testing.T) {
	dataFolder(t)
	l := newListener(t)
	c := mustLoad(t, siteWithBackend("portal.example.com", l.URL)+"\n"+siteWithBackend("*.example.org", l.URL))
	h := c.app.hub
	h.Offer(c.snapshot())
	named, canary := testkit.MustHost(t, "portal.example.com"), testkit.MustHost(t, "canary.example.org")
	site := c.app.handlers[0].rollcall.Site
	lines := func() (found []string) {
		for line := range strings.Lines(scrape(t, c.ctx.GetMetricsRegistry())) {
			if line, ok := strings.CutPrefix(line, "backend_"); ok {
				found = append(found, strings.TrimSpace(line))
			}
		}
		return found
	}
	expect := func(want ...string) {
		t.Helper()
		testkit.Eventually(t, fmt.Sprintf("the metrics are %q, they are %q", want, lines()), func() bool { return slices.Equal(lines(), want) })
	}
	if err := loadedHub().CopyToBackend(site, named, copied(0)); err != nil {
		t.Fatal(err)
	}
	expect("delivered_total{host=portal.example.com} 1", "dropped_total{host=portal.example.com,reason=damaged} 0",
		"dropped_total{host=portal.example.com,reason=refused} 0", "oldest_seconds{host=portal.example.com} 0",
		"queued_bytes{host=portal.example.com} 0", "queued_messages{host=portal.example.com} 0")

	l.answer(http.StatusInternalServerError)
	if err := loadedHub().CopyToBackend(site, canary, copied(0)); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "an attempt fails", func() bool {
		return strings.Contains(strings.Join(lines(), "\n"), "failures_total{host=_other,reason=server_error}")
	})
	all := strings.Join(lines(), "\n")
	if !strings.Contains(all, "queued_messages{host=_other} 1") || strings.Contains(all, "canary") {
		t.Errorf("the metrics are\n%s", all)
	}
}
