package caddymodule

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/rollcall-gateway/rollcall/caddymodule/routes"
)

func init() {
	caddy.RegisterModule(new(rollcallMark))
}

// rollcallMark stands for a rollcall, and marks the requests that it would serve.
type rollcallMark struct{}

func (*rollcallMark) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.rollcall_test_mark", New: func() caddy.Module { return new(rollcallMark) }}
}

func (*rollcallMark) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if !(routes.Endpoints{Prefix: defaultPrefix}).Has(r.URL.Path) {
		return next.ServeHTTP(w, r)
	}
	w.Header().Set("Rollcall-Mark", "reached")
	return nil
}

// randomRoutes makes random configurations around a rollcall.
type randomRoutes struct {
	*rand.Rand
	root string
}

func (g *randomRoutes) pick(texts ...string) string { return texts[g.IntN(len(texts))] }

func (g *randomRoutes) list(depth int, mustPlace bool) string {
	routes := make([]string, 1+g.IntN(4))
	at := -1
	if mustPlace {
		at = g.IntN(len(routes))
	}
	for i := range routes {
		routes[i] = g.route(depth, i == at)
	}
	return "[" + strings.Join(routes, ",") + "]"
}

func (g *randomRoutes) route(depth int, mustPlace bool) string {
	parts := []string{`"handle":[` + g.handlers(depth, mustPlace) + `]`}
	if g.IntN(2) == 0 {
		parts = append(parts, `"match":[`+g.matchers(0)+`]`)
	}
	if g.IntN(4) == 0 {
		parts = append(parts, `"group":"`+g.pick("g", "h")+`"`)
	}
	if g.IntN(10) == 0 {
		parts = append(parts, `"terminal":true`)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func (g *randomRoutes) handlers(depth int, mustPlace bool) string {
	handlers := make([]string, 1+g.IntN(2))
	for i := range handlers {
		handlers[i] = g.handler(depth)
	}
	if mustPlace {
		at := g.IntN(len(handlers))
		if depth < 2 && g.IntN(2) == 0 {
			handlers[at] = `{"handler":"subroute","routes":` + g.list(depth+1, true) + `}`
		} else {
			handlers[at] = `{"handler":"ROLLCALL"}`
		}
	}
	return strings.Join(handlers, ",")
}

func (g *randomRoutes) handler(depth int) string {
	switch n := g.IntN(16); {
	case n < 2 && depth < 2:
		return `{"handler":"subroute","routes":` + g.list(depth+1, false) + `}`
	case n < 4:
		return `{"handler":"rewrite","uri":"` + g.pick("{http.matchers.file.relative}", "/index.html", "/message{http.request.uri.path}",
			"/message/users", "{http.request.uri.path}", "?a=b", "{http.request.header.X-Path}") + `"}`
	case n < 5:
		return `{"handler":"rewrite","strip_path_prefix":"` + g.pick("/api", "/message", "/other/") + `"}`
	case n < 6:
		return `{"handler":"file_server","root":"` + g.root + `","pass_thru":` + g.pick("true", "false") + `}`
	case n < 7:
		return `{"handler":"reverse_proxy","upstreams":[{"dial":"127.0.0.1:1"}]` +
			g.pick("", `,"handle_response":[{"match":{"status_code":[5]},"routes":[]}]`) + `}`
	case n < 8:
		return `{"handler":"static_response","status_code":` + g.pick("204", "404") + `}`
	case n < 9:
		return `{"handler":"error","status_code":503}`
	}
	return g.pick(`{"handler":"headers"}`, `{"handler":"vars","a":"b"}`, `{"handler":"encode","encodings":{"gzip":{}}}`)
}

func (g *randomRoutes) matchers(depth int) string {
	matchers := []string{
		`"path":["` + g.pick("/message/*", "/api/*", "/MESSAGE/users", "*", "*.js", "/other", "/{http.request.header.X-Path}/*", "/index.html") + `"]`,
		`"path_regexp":{"pattern":"` + g.pick("^/message", "html$", "^/api/") + `"}`,
		`"method":["` + g.pick("get", "POST") + `"]`,
		`"host":[` + g.pick(`"a.example.com"`, `"a.example.com","b.example.com"`, `"*.example.com"`, `"c.example.com"`) + `]`,
		`"header":{"X-Path":["` + g.pick("*", "other") + `"]}`,
		`"file":{"root":"` + g.root + `","try_files":[` + g.pick(`"{http.request.uri.path}"`, `"{http.request.uri.path}","/index.html"`,
			`"{http.request.uri.path}","=404"`, `"/index.html"`, `"{http.request.uri.path}.html"`) + `]}`,
	}
	if depth == 0 {
		matchers = append(matchers, `"not":[`+g.matchers(1)+`]`)
	}
	g.Shuffle(len(matchers), func(i, j int) { matchers[i], matchers[j] = matchers[j], matchers[i] })
	return "{" + strings.Join(matchers[:1+g.IntN(2)], ",") + "}"
}

// A configuration in which Caddy sends any request to rollcall is never refused.
func TestNoConfigurationThatWorksIsRefused(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"index.html", "index.php"} {
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	base := newContext(t, "{\n}", "")
	g := &randomRoutes{Rand: rand.New(rand.NewPCG(10, 3)), root: root}
	refused, working := 0, 0
	for i := range 1200 {
		routes := `[{"match":[{"host":["a.example.com","b.example.com"]}],"handle":[{"handler":"subroute","routes":` + g.list(0, true) + `}],"terminal":true}]`
		err := loadRoutes(base, strings.ReplaceAll(routes, "ROLLCALL", "rollcall"), nil)
		if err == nil && i%8 > 0 {
			continue // few configurations that load are checked
		}
		var reached []string
		if markErr := loadRoutes(base, strings.ReplaceAll(routes, "ROLLCALL", "rollcall_test_mark"), func(h caddyhttp.Handler) {
			reached = reachedBy(t, h)
		}); markErr != nil {
			t.Fatalf("%s: %v", routes, markErr)
		}
		switch {
		case err == nil:
			if len(reached) > 0 {
				working++
			}
		case len(reached) > 0:
			t.Fatalf("%s\nis refused although rollcall gets %q: %v", routes, reached, err)
		case strings.Contains(err.Error(), "before rollcall gets it"):
			refused++
		}
	}
	t.Logf("%d configurations are refused, and %d of the others work", refused, working)
	if refused < 100 || working < 50 {
		t.Errorf("only %d configurations are refused, and %d work", refused, working)
	}
}

// loadRoutes loads the routes of a server, and calls use with them.
func loadRoutes(base caddy.Context, routes string, use func(caddyhttp.Handler)) error {
	ctx, cancel := caddy.NewContext(base)
	defer cancel()
	v, err := ctx.LoadModuleByID("http", json.RawMessage(
		`{"servers":{"s":{"listen":["127.0.0.1:0"],"automatic_https":{"disable":true},"routes":`+routes+`}}}`))
	if err != nil || use == nil {
		return err
	}
	empty := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	use(v.(*caddyhttp.App).Servers["s"].Routes.Compile(empty))
	return nil
}

// reachedBy returns the endpoints that a handler lets a request through to.
func reachedBy(t *testing.T, h caddyhttp.Handler) (reached []string) {
	t.Helper()
	for _, host := range []string{"a.example.com", "b.example.com"} {
		for _, e := range []struct{ method, name string }{{http.MethodGet, "/socket"}, {http.MethodPost, "/users"}, {http.MethodGet, "/client.js"}} {
			for _, path := range []string{"/message" + e.name, "/api/message" + e.name, "/other/message" + e.name, "/message/message" + e.name, e.name, "/other", "/"} {
				for _, header := range []string{"", "/message/users", "other", "message"} {
					r := httptest.NewRequest(e.method, "http://"+host+path, http.NoBody)
					if header != "" {
						r.Header.Set("X-Path", header)
					}
					w := httptest.NewRecorder()
					r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, new(caddyhttp.Server))
					ctx, cancel := context.WithCancel(r.Context())
					_ = h.ServeHTTP(w, r.WithContext(ctx)) // it may end before rollcall
					cancel()
					if w.Header().Get("Rollcall-Mark") != "" {
						reached = append(reached, fmt.Sprintf("%s %s%s (%s)", e.method, host, path, header))
					}
				}
			}
		}
	}
	return reached
}
