package caddymodule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// logged is a line of the log.
type logged struct{ Level, Msg, Host, At, Owner, Write string }

// loadLogged loads a Caddyfile, and returns its log lines of level warn and above.
func loadLogged(t *testing.T, caddyfile string) (configured, []logged) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "log")
	ctx := newContext(t, caddyfile, file)
	app, err := ctx.App("rollcall")
	if err != nil {
		t.Fatal(err)
	}
	sites, err := ctx.App("http")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var lines []logged
	for line := range bytes.Lines(text) {
		var l logged
		if json.Unmarshal(line, &l) == nil && l.Level != "info" && strings.Contains(l.Msg, "misdirected") {
			lines = append(lines, l)
		}
	}
	return configured{ctx, app.(*App), sites.(*caddyhttp.App)}, lines
}

// statusAt asks the server that listens on a port for users.
func (c configured) statusAt(t *testing.T, port, host, path, key string) int {
	t.Helper()
	for _, server := range c.http.Servers {
		if slices.Contains(server.Listen, ":"+port) {
			r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(fmt.Sprintf(`{"apiKey":%q}`, key)))
			r.Host = host
			w := httptest.NewRecorder()
			server.ServeHTTP(w, r)
			return w.Code
		}
	}
	t.Fatalf("no server listens on %s", port)
	return 0
}

func keyed(matcher, options string) string {
	return "rollcall " + matcher + " {\n" + options + "\n}\n"
}

// Requests that are answered 421 although no listener is wrong are in the log, with a remedy.
func TestWarnsOfHostsThatAreMisdirected(t *testing.T) {
	const a, b = "api_key a", "api_key b"
	for _, test := range []struct {
		name, caddyfile string
		want            []logged // without level and message
	}{
		{
			"internal catch-all beside a public site",
			"http://a.example.com:8080 {\n" + keyed("", a) + "}\nhttp://:8081 {\n" + keyed("", b) + "}",
			[]logged{{
				Host: "a.example.com", At: "rollcall for every host (listener :8081, prefix /message)",
				Owner: "rollcall for a.example.com (listener :8080, prefix /message)",
				Write: "http://a.example.com:8080, http://a.example.com:8081 {",
			}},
		},
		{
			"public catch-all beside an internal site, with TLS",
			":443 {\ntls internal\n" + keyed("", a) + "}\na.example.com:8443 {\ntls internal\n" + keyed("", b) + "}",
			[]logged{{Host: "a.example.com", At: "(listener :443, ", Owner: "(listener :8443, ", Write: "a.example.com:8443, a.example.com {"}},
		},
		{
			"a pattern beside a catch-all, and in it an exact host",
			"http://*.example.com {\n" + keyed("", a) + "}\nhttp://:8081 {\n" + keyed("", b) + "}\nhttp://x.example.com:8082 {\n" + keyed("", "api_key c") + "}",
			[]logged{
				{Host: "*.example.com", At: "(listener :8081, ", Owner: "(listener :80, ", Write: "http://*.example.com, http://*.example.com:8081 {"},
				{Host: "x.example.com", At: "(listener :80, ", Owner: "(listener :8082, ", Write: "http://x.example.com:8082, http://x.example.com {"},
				{Host: "x.example.com", At: "(listener :8081, ", Owner: "(listener :8082, ", Write: "http://x.example.com:8082, http://x.example.com:8081 {"},
			},
		},
		{
			"the same settings: a catch-all is still less specific",
			"http://a.example.com:8080 {\n" + keyed("", a) + "}\nhttp://:8081 {\n" + keyed("", a) + "}",
			[]logged{{Host: "a.example.com", At: "(listener :8081, ", Owner: "(listener :8080, ", Write: "http://a.example.com:8080, http://a.example.com:8081 {"}},
		},
		{
			"the owner is on the listener, after what is not its own",
			"http://a.example.com:8080, http://a.example.com:8081 {\n" + keyed("", a) + "}\nhttp://:8081 {\n" + keyed("", b) + "}",
			nil,
		},
		{
			"the owner is on the listener, with another prefix",
			"http://:8080 {\n@a host a.example.com\nroute {\n" + keyed("@a", a+"\nprefix /chat") + keyed("", b) + "}\n}",
			[]logged{{Host: "a.example.com", At: "(listener :8080, prefix /message)", Owner: "prefix /chat)", Write: "http://a.example.com:8080 {"}},
		},
		{
			"another route has the host on that listener",
			"http://a.example.com:8080 {\n" + keyed("", a) + "}\nhttp://a.example.com:8081 {\nrespond ok\n}\nhttp://:8081 {\n" + keyed("", b) + "}",
			nil,
		},
		{
			"a route of the same group has the host",
			"http://a.example.com:8080 {\n" + keyed("", a) + "}\nhttp://:8081 {\n@a host a.example.com\nhandle @a {\nrespond ok\n}\nhandle {\n" + keyed("", b) + "}\n}",
			nil,
		},
		{
			"a `not` keeps the host out",
			"http://a.example.com:8080 {\n" + keyed("", a) + "}\nhttp://:8081 {\n@b not host a.example.com c.example.com\n" + keyed("@b", b) + "}",
			nil,
		},
		{
			"a `not` that keeps only some requests out",
			"http://a.example.com:8080 {\n" + keyed("", a) + "}\nhttp://:8081 {\n@b not {\nhost a.example.com\nheader X y\n}\n" + keyed("@b", b) + "}",
			[]logged{{Host: "a.example.com", At: "(listener :8081, ", Owner: "(listener :8080, "}},
		},
		{
			"the less specific one after the owner, which has some paths alone",
			"http://:8080 {\n@a {\nhost a.example.com\npath /message/users\n}\nroute {\n" + keyed("@a", a) + keyed("", b) + "}\n}",
			[]logged{{Host: "a.example.com", At: "for every host", Owner: "for a.example.com"}},
		},
		{
			"a more specific one with a `not` before",
			"http://:8080 {\n@a host a.example.com\n@b not host a.example.com\nroute {\n" + keyed("@b", b) + keyed("@a", a) + "}\n}",
			nil,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, got := loadLogged(t, test.caddyfile)
			if len(got) != len(test.want) {
				t.Fatalf("%d warnings, want %d: %+v", len(got), len(test.want), got)
			}
			order := func(a, b logged) int { return strings.Compare(a.Host+portOf(a.At), b.Host+portOf(b.At)) }
			slices.SortFunc(got, order)
			slices.SortFunc(test.want, order)
			for i, want := range test.want {
				g := got[i]
				if g.Level != "warn" || g.Msg != "requests for a host of another site are answered 421 misdirected" || g.Host != want.Host ||
					!strings.Contains(g.At, want.At) || !strings.Contains(g.Owner, want.Owner) || !strings.Contains(g.Write, want.Write) {
					t.Errorf("got %+v, want %+v", g, want)
				}
			}
			if _, err := c.app.settle(); err != nil {
				t.Errorf("settle: %v", err)
			}
		})
	}
}

// portOf returns the part of a label from the listener on.
func portOf(label string) string { return label[strings.Index(label, "(")+1:] }

func TestWarningsAreFew(t *testing.T) {
	const most = 10
	var b strings.Builder
	for i := range 3 * most {
		fmt.Fprintf(&b, "http://h%d.example.com:8080 {\n%s}\n", i, keyed("", fmt.Sprintf("api_key k%d", i)))
	}
	_, got := loadLogged(t, b.String()+"http://:8081 {\n"+keyed("", "api_key b")+"}")
	if len(got) != most+1 || got[most].Host != "more hosts, which are not named" {
		t.Errorf("%d warnings, the last is %+v", len(got), got[len(got)-1])
	}
}

// Handlers with the same settings are doors of one site.
func TestDoorsOfOneSite(t *testing.T) {
	for _, test := range []struct {
		name, caddyfile string
		sites           int
		served          []string // port, host, path
	}{
		{
			"one block with two addresses",
			"http://a.example.com:8080, http://a.example.com:8081 {\n" + keyed("", "api_key k") + "}",
			1,
			[]string{"8080 a.example.com /message", "8081 a.example.com /message"},
		},
		{
			"a snippet with another prefix and api_from",
			"(rc) {\nrollcall {\napi_key k\n{args[:]}\n}\n}\nhttp://a.example.com:8080 {\nimport rc prefix /chat\n}\nhttp://a.example.com:8081 {\nimport rc api_from 192.0.2.0/24\n}",
			1,
			[]string{"8080 a.example.com /chat", "8081 a.example.com /message"},
		},
		{
			"an expression beside a catch-all with the same settings",
			"http://:8080 {\n@a expression host('a.example.com')\n" + keyed("@a", "api_key k\nprefix /chat") + "}\nhttp://:8081 {\n" + keyed("", "api_key k") + "}",
			1,
			[]string{"8080 a.example.com /chat", "8081 b.example.com /message"},
		},
		{
			"two sites that a third one joins",
			"http://a.example.com:8080 {\n" + keyed("", "api_key k") + "}\nhttp://b.example.com:8081 {\n" + keyed("", "api_key k") +
				"}\nhttp://a.example.com:8082, http://b.example.com:8082 {\n" + keyed("", "api_key k") + "}",
			1,
			[]string{"8080 a.example.com /message", "8081 b.example.com /message", "8082 a.example.com /message", "8082 b.example.com /message"},
		},
		{
			"patterns that overlap",
			"http://a.*.com:8080 {\n" + keyed("", "api_key k") + "}\nhttp://*.b.com:8081 {\n" + keyed("", "api_key k") + "}",
			1,
			[]string{"8080 a.b.com /message", "8081 a.b.com /message", "8080 a.c.com /message", "8081 c.b.com /message"},
		},
		{
			"the same settings for other hosts are another site",
			"http://a.example.com:8080 {\n" + keyed("", "api_key k") + "}\nhttp://b.example.com:8080 {\n" + keyed("", "api_key k") + "}",
			2,
			[]string{"8080 a.example.com /message", "8080 b.example.com /message"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := mustLoad(t, test.caddyfile)
			if n := len(c.snapshot().Sites); n != test.sites {
				t.Errorf("%d sites, want %d", n, test.sites)
			}
			for _, door := range test.served {
				f := strings.Fields(door)
				if got := c.statusAt(t, f[0], f[1], f[2]+"/users", "k"); got != http.StatusOK && got != http.StatusForbidden {
					t.Errorf("%s: status %d", door, got)
				}
			}
			seen := make(map[*site.Site]bool)
			for _, h := range c.app.handlers {
				if h.rollcall.Site.Rules() == nil {
					t.Errorf("%s has a site that was never made", h.way.Label(h.Prefix))
				}
				seen[h.rollcall.Site] = true
			}
			if len(seen) != test.sites {
				t.Errorf("the handlers have %d sites, want %d", len(seen), test.sites)
			}
		})
	}
}

// Two equally specific handlers with different settings conflict, in whatever they differ.
func TestConflictNamesWhatDiffers(t *testing.T) {
	for options, want := range map[string]string{
		"api_key other-canary": "differ in api_key,",
		"api_key k\njwt {\nkey canary-0123456789abcdef0123456789abcdef\n}": "differ in jwt,",
		"api_key k\nchannels {\ndefault anonymous\n}":                      "differ in channels,",
		"api_key k\ngrace 1s\norigins https://canary.example":              "differ in grace, origins,",
	} {
		_, err := load(t, "http://a.example.com:8080 {\n"+keyed("", "api_key k")+"}\nhttp://a.example.com:8081 {\n"+keyed("", options)+"}")
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Fatalf("%s: error %v", options, err)
		}
		for _, part := range []string{
			want, "are both for a.example.com", "(listener :8080, prefix /message)", "(listener :8081, prefix /message)",
			"one block with both addresses (http://a.example.com:808", "one snippet that both import", "api_from instead of an internal copy",
		} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: error %v lacks %q", options, err, part)
			}
		}
	}
}

// A number that floating point cannot represent is a difference too.
func TestSettingsAreComparedExactly(t *testing.T) {
	a := &Handler{Plugins: []*PluginConfig{{Path: "x", Config: json.RawMessage(`{"n":9007199254740993}`)}}}
	b := &Handler{Plugins: []*PluginConfig{{Path: "x", Config: json.RawMessage(`{"n":9007199254740992}`)}}}
	c := &Handler{Plugins: []*PluginConfig{{Path: "x", Config: json.RawMessage(`{ "n": 9007199254740993 }`)}}, Prefix: "/y", APIFrom: []string{"192.0.2.1"}}
	if a.newSettings() == b.newSettings() {
		t.Error("two numbers are one")
	}
	if a.newSettings() != c.newSettings() {
		t.Error("white space, prefix and api_from are settings")
	}
}

// The handlers in a named route belong to the hosts of the routes that invoke it.
func TestNamedRoutes(t *testing.T) {
	const x, y = `{"handler":"rollcall","api_key":["x"]}`, `{"handler":"rollcall","api_key":["y"],"prefix":"/y"}`
	invoke := func(hosts []string, name string) string {
		return route(hosts, `{"handler":"invoke","name":"`+name+`"}`)
	}
	named := func(routes []string, named ...string) string {
		return `"80":{"listen":[":80"],"automatic_https":{"disable":true},"routes":[` + strings.Join(routes, ",") + `],"named_routes":{` + strings.Join(named, ",") + `}}`
	}
	a, b := []string{"a.example.com"}, []string{"b.example.com"}
	const proxy = `{"handler":"reverse_proxy","upstreams":[{"dial":"127.0.0.1:9"}]}`
	const page = `{"handler":"subroute","routes":[{"match":[{"file":{"try_files":["{http.request.uri.path}","/index.html"]}}],` +
		`"handle":[{"handler":"rewrite","uri":"{http.matchers.file.relative}"}]}]}`
	levels := []string{`"n24":` + route(nil, x)}
	for i := range 24 {
		next := fmt.Sprintf(`{"handler":"invoke","name":"n%d"}`, i+1)
		levels = append(levels, fmt.Sprintf(`"n%d":`, i)+route(nil, next, next))
	}
	for _, test := range []struct {
		name, server string
		want         map[string]int // status by host, with the key x
		err          string
	}{
		{
			"invoked by two", named([]string{invoke(a, "n"), invoke(b, "n"), route([]string{"c.example.com"}, y)}, `"n":`+route(nil, subroute(route(nil, x)))),
			map[string]int{"a.example.com": 200, "b.example.com": 200},
			"",
		},
		{
			"invoked by nobody", named([]string{route(a, x)}, `"n":`+route(nil, y)),
			map[string]int{"a.example.com": 200},
			"",
		},
		{
			"with a host inside", named([]string{invoke([]string{"*.example.com"}, "n")}, `"n":`+route(nil, subroute(route(a, x)))),
			map[string]int{"a.example.com": 200, "b.example.com": 200 /* of Caddy, nobody answers */},
			"",
		},
		{
			"in a container of another plugin",
			named([]string{invoke(a, "n"), invoke(b, "n")}, `"n":`+route(nil, `{"handler":"rollcall_test_container","hidden":[`+route(nil, x)+`]}`)),
			nil, "",
		},
		{
			"behind a proxy in the named route", named([]string{invoke(a, "n")}, `"n":`+route(nil, proxy, x)),
			nil, "rollcall for a.example.com (listener :80, prefix /message): reverse_proxy answers every request",
		},
		{
			"behind a proxy in a route of the named route", named([]string{invoke(a, "n")}, `"n":`+route(nil, subroute(route(nil, proxy), route(nil, x)))),
			nil, "reverse_proxy answers every request",
		},
		{
			"invoked after a proxy", named([]string{invoke(b, "n"), route(a, proxy), invoke(a, "n")}, `"n":`+route(nil, x)),
			nil, "rollcall for a.example.com (listener :80, prefix /message): reverse_proxy answers every request",
		},
		{
			"invoked after an invoked proxy", named([]string{route(a, `{"handler":"invoke","name":"p"}`), invoke(a, "n")}, `"n":`+route(nil, x), `"p":`+route(nil, proxy)),
			nil, "reverse_proxy answers every request",
		},
		{
			"invoked before and after a proxy", named([]string{invoke(a, "n"), route(a, proxy), invoke(a, "n")}, `"n":`+route(nil, x)),
			map[string]int{"a.example.com": 200},
			"",
		},
		{
			"invoked before a proxy for some hosts, and behind it for others", named([]string{
				invoke([]string{"a.example.com", "b.example.com", "c.example.com", "d.example.com"}, "n"),
				route([]string{"e.example.com"}, proxy),
				invoke([]string{"e.example.com"}, "n"),
			}, `"n":`+route(nil, x)),
			nil, "rollcall for e.example.com (listener :80, prefix /message): reverse_proxy answers every request",
		},
		{
			"the same with sets of hosts that begin alike", named([]string{
				invoke([]string{"a.example.com", "b.example.com", "c.example.com", "d.example.com"}, "n"),
				route([]string{"a.example.com", "b.example.com", "c.example.com", "e.example.com"}, proxy),
				invoke([]string{"a.example.com", "b.example.com", "c.example.com", "e.example.com"}, "n"),
			}, `"n":`+route(nil, x)),
			nil, "and 1 more (listener :80, prefix /message): reverse_proxy answers every request",
		},
		{
			"behind a page in the named route", named([]string{invoke(a, "n")}, `"n":`+route(nil, page, x)),
			nil, "try_files answers or rewrites every request",
		},
		{
			"a named route that invokes itself", named([]string{invoke(a, "n")}, `"n":`+route(nil, `{"handler":"invoke","name":"n"}`, x)),
			nil, "", // it loads; Caddy cannot serve it
		},
		{
			"two that invoke each other", named([]string{invoke(a, "n")}, `"n":`+route(nil, `{"handler":"invoke","name":"m"}`, x), `"m":`+route(nil, `{"handler":"invoke","name":"n"}`)),
			nil, "", // it loads; Caddy cannot serve it
		},
		{
			"two invocations a level", named([]string{invoke(a, "n0")}, levels...),
			nil, "named routes invoke each other in more than 20000 ways",
		},
		{
			"two for one host", named([]string{invoke(a, "n"), invoke(a, "m")}, `"n":`+route(nil, x), `"m":`+route(nil, strings.Replace(y, `,"prefix":"/y"`, "", 1))),
			nil, "are both for a.example.com and differ in api_key",
		},
		{
			"beside a route", named([]string{route(a, y), invoke(a, "n")}, `"n":`+route(nil, x)),
			nil, "are both for a.example.com and differ in api_key",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := loadServers(t, test.server)
			s, err := c.app.settle()
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("error %v, want %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for host, want := range test.want {
				if got := c.statusAt(t, "80", host, "/message/users", "x"); got != want {
					t.Errorf("%s: status %d, want %d", host, got, want)
				}
			}
			for _, host := range []string{"a.example.com", "b.example.com"} {
				if test.name == "in a container of another plugin" && s.Find(testkit.MustHost(t, host)) == nil {
					t.Errorf("%s has no owner", host)
				}
			}
			if s.Find(testkit.MustHost(t, "nowhere.example.com")) != nil {
				t.Error("a host for which no route invokes it has an owner")
			}
		})
	}
}

// The hosts of a handler in an unreadable container are those of the innermost readable route
// around it.
func TestOwnerInContainers(t *testing.T) {
	const inner = `{"handler":"rollcall","api_key":["x"]}`
	for name, container := range map[string]string{
		"another plugin's handler": `{"handler":"rollcall_test_container","raw":` + inner + `}`,
		"another plugin's routes":  `{"handler":"rollcall_test_container","hidden":[` + route(nil, inner) + `]}`,
		"intercepted responses":    `{"handler":"intercept","handle_response":[{"routes":[` + route(nil, inner) + `]}]}`,
		"responses of a proxy":     `{"handler":"reverse_proxy","upstreams":[{"dial":"127.0.0.1:9"}],"handle_response":[{"routes":[` + route(nil, inner) + `]}]}`,
		"errors of a subroute":     `{"handler":"subroute","routes":[` + route(nil, `{"handler":"error"}`) + `],"errors":{"routes":[` + route(nil, inner) + `]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := loadServers(t, server("80", route([]string{"a.example.com"}, container)), server("81", route(nil, `{"handler":"rollcall","api_key":["any"]}`))).snapshot()
			a, other := s.Find(testkit.MustHost(t, "a.example.com")), s.Find(testkit.MustHost(t, "b.example.com"))
			if a == nil || !a.Keys.Allow("x") || other == nil || !other.Keys.Allow("any") {
				t.Errorf("a.example.com is of %+v, another host of %+v", a, other)
			}
		})
	}
}

func TestHandlerThatIsLoadedLateIsRefused(t *testing.T) {
	c := loadServers(t, server("80", route(nil, `{"handler":"rollcall"}`)))
	c.snapshot()
	if _, err := c.ctx.LoadModuleByID("http.handlers.rollcall", json.RawMessage(`{}`)); err == nil || !strings.Contains(err.Error(), "loaded after the start") {
		t.Errorf("error %v", err)
	}
}

// HTTP can serve requests before this app starts. The first request makes the handler in the named
// route and the other handler one site.
func TestRequestsBeforeTheStart(t *testing.T) {
	const x = `{"handler":"rollcall","api_key":["x"],"api_from":["192.0.2.2"]}`
	c := loadServers(t, `"80":{"listen":[":80"],"automatic_https":{"disable":true},"routes":[`+
		route([]string{"a.example.com"}, `{"handler":"invoke","name":"n"}`)+`],"named_routes":{"n":`+route(nil, x)+`}},`+
		`"81":{"listen":[":81"],"automatic_https":{"disable":true},"routes":[`+route([]string{"a.example.com"}, x)+`]}`)
	var requests sync.WaitGroup
	for range 4 {
		requests.Go(func() {
			if status := c.statusAt(t, "81", "a.example.com", "/message/users", "x"); status != http.StatusForbidden {
				t.Errorf("status %d", status)
			}
		})
		requests.Go(func() {
			if status := c.statusAt(t, "80", "a.example.com", "/message/socket", "x"); status != http.StatusMethodNotAllowed {
				t.Errorf("status %d for a socket", status)
			}
		})
		requests.Go(func() {
			if _, err := c.app.settle(); err != nil {
				t.Error(err)
			}
		})
	}
	requests.Wait()
}

// Very many sites may share named routes that invoke each other: the limit is for each invocation
// alone.
func TestNamedRoutesOfManySites(t *testing.T) {
	invoke := func(name string) caddyhttp.Route {
		return caddyhttp.Route{Handlers: []caddyhttp.MiddlewareHandler{&caddyhttp.Invoke{Name: name}}}
	}
	common, headers := invoke("headers"), caddyhttp.Route{}
	server := &caddyhttp.Server{NamedRoutes: map[string]*caddyhttp.Route{"common": &common, "headers": &headers}}
	for range maxNested + 2 {
		server.Routes = append(server.Routes, invoke("common"))
	}
	w := newNamedWalker(newWayFinder(caddy.Context{}), server, nil)
	w.container(server, nil)
	if w.nested > maxNested {
		t.Errorf("%d invocations are counted", w.nested)
	}
}
