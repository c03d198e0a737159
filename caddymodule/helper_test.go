package caddymodule

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/internal/description"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// adapt returns the JSON of a Caddyfile.
func adapt(t testing.TB, caddyfile string) []byte {
	t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatalf("adapting the Caddyfile: %v", err)
	}
	return config
}

// mustRefuse checks the error about an option. Secrets of these tests have the word canary.
func mustRefuse(t testing.TB, err error, prefix, want string) {
	t.Helper()
	if err == nil || !strings.HasPrefix(err.Error(), prefix) || !strings.Contains(err.Error(), want) {
		t.Fatalf("the error is %v, want %q", err, want)
	}
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("%q shows a part of a secret", err)
	}
}

// newContext returns a context for the apps of a Caddyfile, without starting any. The test cleans
// up everything that was loaded. Log lines go to the named file, or are dropped.
func newContext(t testing.TB, caddyfile, logFile string) caddy.Context {
	t.Helper()
	var config caddy.Config
	if err := json.Unmarshal(adapt(t, caddyfile), &config); err != nil {
		t.Fatal(err)
	}
	writer := `{"output":"discard"}`
	if logFile != "" {
		writer = `{"output":"file","filename":"` + logFile + `"}`
	}
	apps := config.AppsRaw
	config = caddy.Config{
		Admin:   &caddy.AdminConfig{Disabled: true},
		Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(writer)}}}},
	}
	base, err := caddy.ProvisionContext(&config)
	if err != nil {
		t.Fatal(err)
	}
	// The apps are set afterwards, so that they belong to a context that can be canceled.
	config.AppsRaw = apps
	ctx, cancel := caddy.NewContext(base)
	t.Cleanup(cancel)
	return ctx
}

// configured is a configuration that is loaded but not started.
type configured struct {
	ctx  caddy.Context
	app  *App
	http *caddyhttp.App
}

// load loads the sites of a Caddyfile.
func load(t testing.TB, caddyfile string) (configured, error) {
	t.Helper()
	ctx := newContext(t, caddyfile, "")
	app, err := ctx.App("rollcall")
	if err != nil {
		return configured{}, err
	}
	sites, err := ctx.App("http")
	if err != nil {
		return configured{}, err
	}
	return configured{ctx, app.(*App), sites.(*caddyhttp.App)}, nil
}

func mustLoad(t testing.TB, caddyfile string) configured {
	t.Helper()
	c, err := load(t, caddyfile)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// handler returns the only handler of a configuration.
func (c configured) handler(t testing.TB) *Handler {
	t.Helper()
	if len(c.app.handlers) != 1 {
		t.Fatalf("%d handlers, want 1", len(c.app.handlers))
	}
	return c.app.handlers[0]
}

func (c configured) snapshot() *gateway.Configuration {
	s, err := c.app.settle()
	if err != nil {
		panic(err)
	}
	return s
}

// loadHandler returns the handler of a site with the options, for two hosts.
func loadHandler(t testing.TB, options string) *Handler {
	t.Helper()
	return mustLoad(t, "http://portal.example.com, http://other.example.com {\n\trollcall {\n"+options+"\n\t}\n}").handler(t)
}

// prepare adds to a request what Caddy's server adds.
func prepare(w http.ResponseWriter, r *http.Request) *http.Request {
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil)
}

// notFound stands for the rest of the site.
var notFound = caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
	http.Error(w, "next handler", http.StatusTeapot)
	return nil
})

// serve sends a request to the handler.
func serve(t testing.TB, h *Handler, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	var body bytes.Buffer
	if r.Body != nil {
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(r.Body, &body), r.Body}
	}
	if err := h.ServeHTTP(w, prepare(w, r), notFound); err != nil {
		t.Fatal(err)
	}
	exchange := description.Exchange{
		Method: r.Method, Path: r.URL.Path, Request: body.String(), Status: w.Code, Header: w.Header(), Response: w.Body.String(),
		Shaped: h.rollcall.Site != nil && h.rollcall.Site.Chain.Has(plugins.HookShape),
	}
	if err := exchange.Check(); err != nil {
		t.Error(err)
	}
	return w
}

// post asks an endpoint.
func post(t testing.TB, h *Handler, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	return serve(t, h, httptest.NewRequest(http.MethodPost, "http://portal.example.com"+path, strings.NewReader(body)))
}

// sink is an Outbox that drops everything.
type sink struct{}

func (sink) Push([]byte) {}

func (sink) Queue([]byte, int) bool { return false }

func (sink) Flush() {}

// arrive connects a user to the host, or an anonymous client with an empty ID, and joins the
// channels.
func arrive(t testing.TB, h *Handler, host, id, email string, channels ...string) *presence.Conn {
	t.Helper()
	var user *presence.User
	if id != "" {
		user = &presence.User{ID: id, Email: email}
	}
	conn, err := h.app.hub.Registry.Connect(testkit.MustHost(t, host), h.rollcall.Site.Rules(), user, sink{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	for _, channel := range channels {
		if err := conn.Join(channel, presence.WatchNone, ""); err != nil {
			t.Fatal(err)
		}
	}
	return conn
}

// loadJSON loads an HTTP app from its JSON.
func loadJSON(t testing.TB, httpApp string) configured {
	t.Helper()
	ctx := newContext(t, "{\n}", "")
	app, err := ctx.App("rollcall")
	if err != nil {
		t.Fatal(err)
	}
	sites, err := ctx.LoadModuleByID("http", json.RawMessage(httpApp))
	if err != nil {
		t.Fatal(err)
	}
	return configured{ctx, app.(*App), sites.(*caddyhttp.App)}
}

// startDraining offers the configuration of a handler and stops it, as at exit.
func startDraining(t testing.TB, h *Handler) {
	t.Helper()
	s, err := h.app.settle()
	if err != nil {
		t.Fatal(err)
	}
	h.app.hub.Offer(s)
	h.app.hub.StartDrain(s, true)
}

// startLogged loads a Caddyfile and settles its sites, as a start does, and returns the error and
// the warnings, without those about missing API keys.
func startLogged(t *testing.T, caddyfile string) (warnings string, err error) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "log")
	ctx := newContext(t, caddyfile, log)
	a, err := ctx.App("rollcall")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = ctx.App("http"); err == nil {
		_, err = a.(*App).settle()
	}
	text, readErr := os.ReadFile(log)
	if readErr != nil && !os.IsNotExist(readErr) {
		t.Fatal(readErr)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, `"level":"warn"`) && !strings.Contains(line, "no api_key") {
			warnings += line
		}
	}
	return warnings, err
}
