package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/rollcall-gateway/rollcall/caddymodule/routes"
)

func init() {
	caddy.RegisterModule(new(foreignContainer))
}

// foreignContainer stands for the containers of other plugins. Its configuration decides what it
// loads, and how.
type foreignContainer struct {
	Routes caddyhttp.RouteList            `json:"routes,omitempty"`
	Nested []struct{ caddyhttp.Subroute } `json:"nested,omitempty"`
	Raw    json.RawMessage                `json:"raw,omitempty" caddy:"namespace=http.handlers inline_key=handler"`

	hidden caddyhttp.RouteList
	Copied caddyhttp.RouteList `json:"copied,omitempty"`
	Hidden json.RawMessage     `json:"hidden,omitempty"`
}

func (*foreignContainer) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.rollcall_test_container",
		New: func() caddy.Module { return new(foreignContainer) },
	}
}

// Provision loads the lists from the last to the first, an order that only it knows.
func (c *foreignContainer) Provision(ctx caddy.Context) error {
	if c.Raw != nil {
		if _, err := ctx.LoadModule(c, "Raw"); err != nil {
			return err
		}
	}
	if c.Hidden != nil {
		if err := json.Unmarshal(c.Hidden, &c.hidden); err != nil {
			return err
		}
		if err := c.hidden.Provision(ctx); err != nil {
			return err
		}
	}
	for _, route := range c.Copied {
		if err := route.Provision(ctx, nil); err != nil {
			return err
		}
	}
	for i := len(c.Nested) - 1; i >= 0; i-- {
		if err := c.Nested[i].Provision(ctx); err != nil {
			return err
		}
	}
	return c.Routes.Provision(ctx)
}

func (*foreignContainer) ServeHTTP(http.ResponseWriter, *http.Request, caddyhttp.Handler) error {
	return nil
}

// shown returns a way as text: for each step the route and the position in it, with "!" for a list
// that handles errors, "~" where not every request enters the list, and "?" where it cannot be
// read.
func shown(w *routes.Way) string {
	if w.Named {
		return "named"
	}
	var b strings.Builder
	for _, s := range w.Steps {
		switch {
		case s.List == nil:
			b.WriteString("? ")
			continue
		case s.List.OnError:
			b.WriteString("!")
		case !s.Sure:
			b.WriteString("~")
		}
		fmt.Fprintf(&b, "%d.%d ", s.Index, s.Position)
	}
	return b.String() + "for " + w.Hosts.String()
}

func TestWayToAHandler(t *testing.T) {
	const (
		page    = `{"handler":"static_response"}`
		x       = `{"handler":"rollcall","prefix":"/x"}`
		y       = `{"handler":"rollcall","prefix":"/y"}`
		z       = `{"handler":"rollcall","prefix":"/z"}`
		box     = `{"handler":"rollcall_test_container",`
		noMatch = `{"handle":[` + x + `]}`
	)
	a, b := []string{"a.example.com"}, []string{"b.example.com"}
	for _, test := range []struct {
		name   string
		routes []string
		more   string            // more JSON of the server
		want   map[string]string // way by prefix
	}{
		{"alone", []string{route(nil, x)}, "", map[string]string{"/x": "0.0 for every host"}},
		{
			"several routes and handlers",
			[]string{route(a, page), route(nil), route(a, page, x), route(b, page, page, z, page, y)},
			"",
			map[string]string{
				"/x": "2.1 for a.example.com", "/y": "3.4 for b.example.com", "/z": "3.2 for b.example.com",
			},
		},
		{
			"nested",
			[]string{route(nil, page), route([]string{"*.example.com"}, page, subroute(route(nil, page)), subroute(
				route(b, page), route(a, subroute(route(nil, x))), route(b, y)))},
			"",
			map[string]string{
				"/x": "1.2 1.0 0.0 for a.example.com",
				"/y": "1.2 2.0 for b.example.com",
			},
		},
		{
			"hosts that exclude each other",
			[]string{route(a, subroute(route(b, x)))},
			"",
			map[string]string{"/x": "0.0 0.0 for no host"},
		},
		{
			"errors of a subroute",
			[]string{route(a, `{"handler":"subroute","routes":[`+route(nil, page)+`],"errors":{"routes":[`+route(nil, page)+`,`+route(nil, x)+`]}}`)},
			"",
			map[string]string{"/x": "0.0 !1.0 for a.example.com"},
		},
		{
			"errors of the server",
			[]string{route(nil, page)},
			`,"errors":{"routes":[` + route(a, subroute(route(nil, x))) + `]}`,
			map[string]string{"/x": "!0.0 0.0 for a.example.com"},
		},
		{
			"responses of a proxy",
			[]string{route(a, `{"handler":"reverse_proxy","upstreams":[{"dial":"127.0.0.1:9"}],"handle_response":[{"routes":[`+route(nil, page)+`]},{"routes":[`+
				route(nil, page)+`,`+route([]string{"*.example.com"}, x)+`]}]}`)},
			"",
			map[string]string{"/x": "0.0 ~1.0 for a.example.com"},
		},
		{
			"responses that are intercepted",
			[]string{route(a, `{"handler":"intercept","handle_response":[{"routes":[`+route(b, page)+`]},{"routes":[`+route(nil, x)+`]}]}`)},
			"",
			map[string]string{"/x": "0.0 ~0.0 for a.example.com"},
		},
		{
			"named route",
			[]string{route(a, `{"handler":"invoke","name":"n"}`)},
			`,"named_routes":{"n":` + route(b, subroute(route(nil, x))) + `}`,
			map[string]string{"/x": "named"},
		},
		{
			"named route beside others",
			[]string{route(a, y)},
			`,"errors":{"routes":[` + route(b, page) + `]},"named_routes":{"n":` + noMatch + `,"m":` + noMatch + `}`,
			map[string]string{"/x": "named", "/y": "0.0 for a.example.com"},
		},
		{
			"routes of another plugin",
			[]string{route([]string{"*.example.com"}, page, box+`"routes":[`+route(nil, page)+`,`+route(a, x)+`]}`)},
			"",
			map[string]string{"/x": "0.1 ~1.0 for a.example.com"},
		},
		{
			"a handler of another plugin",
			[]string{route(a, box+`"raw":`+x+`}`)},
			"",
			map[string]string{"/x": "0.0 ? for a.example.com"},
		},
		{
			"routes of another plugin that nobody can read",
			[]string{route([]string{"*.example.com"}, box+`"hidden":[`+route(a, x)+`]}`)},
			"",
			map[string]string{"/x": "0.0 ? for *.example.com"},
		},
		{
			"routes of another plugin that are copied",
			[]string{route([]string{"*.example.com"}, box+`"copied":[`+route(a, x)+`]}`)},
			"",
			map[string]string{"/x": "0.0 ? for *.example.com"},
		},
		{
			"lists of another plugin in an order of its own",
			[]string{route([]string{"*.example.com"}, box+`"nested":[{"routes":[`+route(a, page)+`]},{"routes":[`+route(nil, page)+`,`+route(b, x)+`]}]}`)},
			"",
			map[string]string{"/x": "0.0 ~1.0 for b.example.com"},
		},
		{
			"lists of another plugin of which any can be under way",
			[]string{route([]string{"*.example.com"}, box+`"nested":[{"routes":[`+route(nil, page)+`]},{"routes":[`+route(b, x)+`]}]}`)},
			"",
			map[string]string{"/x": "0.0 ? for *.example.com"},
		},
		{
			"several matcher sets",
			[]string{`{"match":[{"host":["a.example.com"],"path":["/m"]},{"host":["b.example.com"]}],"handle":[` + x + `]}`},
			"",
			map[string]string{"/x": "0.0 for a.example.com, b.example.com"},
		},
		{
			"a matcher set without a host",
			[]string{`{"match":[{"host":["a.example.com"]},{"path":["/m"]}],"handle":[` + x + `]}`},
			"",
			map[string]string{"/x": "0.0 for every host"},
		},
		{
			"matchers other than host match",
			[]string{`{"match":[{"not":[{"host":["a.example.com"]}],"expression":"{http.request.host} == 'b.example.com'"}],"handle":[` + x + `]}`},
			"",
			map[string]string{"/x": "0.0 for every host"},
		},
		{
			"placeholder of the request",
			[]string{route([]string{"a.example.com", "{http.request.header.X}.example.com"}, x)},
			"",
			map[string]string{"/x": "0.0 for every host"},
		},
		{
			"placeholder of the environment",
			[]string{route([]string{"{env.ROLLCALL_TEST_HOST}"}, x)},
			"",
			map[string]string{"/x": "0.0 for e.example.com"},
		},
		{
			"canonical hosts",
			[]string{route([]string{"A.Example.COM", "bücher.example", "c.example.com.", "::ffff:192.0.2.1", "*.D.example"}, subroute(
				route([]string{"a.example.com", "xn--bcher-kva.example", "c.example.com", "192.0.2.1", "e.d.example"}, x)))},
			"",
			map[string]string{"/x": "0.0 0.0 for a.example.com, xn--bcher-kva.example, c.example.com and 2 more"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("ROLLCALL_TEST_HOST", "e.example.com")
			c := loadServers(t, `"s":{"listen":[":80"],"automatic_https":{"disable":true},"routes":[`+strings.Join(test.routes, ",")+`]`+test.more+`}`)
			got := make(map[string]string)
			for _, h := range c.app.handlers {
				got[h.Prefix] = shown(h.way)
			}
			for prefix, want := range test.want {
				if got[prefix] != want {
					t.Errorf("the way to %s is %q, want %q", prefix, got[prefix], want)
				}
			}
		})
	}
}

func TestWayIsSeenWhileTheConfigurationIsLoaded(t *testing.T) {
	c := loadServers(t, server("80", route([]string{"a.example.com"}, subroute(
		route(nil, `{"handler":"headers"}`, `{"handler":"rollcall","prefix":"/x"}`, `{"handler":"vars"}`)))))
	w := c.app.handlers[0].way
	inner := w.Steps[1]
	if n := len(inner.List.At(inner.Index).Handlers()); n != 3 || inner.Position != 1 {
		t.Errorf("position %d of %d", inner.Position, n)
	}
	if got, want := w.Label("/x"), "rollcall for a.example.com (listener :80, prefix /x)"; got != want {
		t.Errorf("label %q, want %q", got, want)
	}
}

// A handler that is loaded outside of the HTTP app, as some plugins do, has a way without routes.
func TestWayOutsideOfTheServers(t *testing.T) {
	ctx := newContext(t, "{\n}", "")
	v, err := ctx.LoadModuleByID("http.handlers.rollcall", json.RawMessage(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	w := v.(*Handler).way
	if w.Server != nil || len(w.Steps) > 0 || !w.Hosts.IsEvery() {
		t.Errorf("the way is %s", shown(w))
	}
}

// A look-up for each of very many sites must not look at all of them.
func TestWayFinderLooksAtEachRouteOnce(t *testing.T) {
	list := make(caddyhttp.RouteList, 1000)
	for i := range list {
		list[i].HandlersRaw = []json.RawMessage{json.RawMessage(`{}`)}
	}
	f := newWayFinder(caddy.Context{})
	for want := range list {
		if got, ok := f.loadingIn(list); !ok || got != want {
			t.Fatalf("route %d is under way, want %d", got, want)
		}
		if f.loading[&list[0]] != want {
			t.Fatalf("the next look begins at %d, want %d", f.loading[&list[0]], want)
		}
		list[want].HandlersRaw = nil
	}
}

// A text "rollcall" is not mistaken for a handler if there are several candidates.
func TestRollcallsIn(t *testing.T) {
	const (
		header = `{"handler":"headers","response":{"set":{"X":["rollcall"]}}}`
		text   = `{"handler":"vars","x":"{\"handler\":\"rollcall\"}","y":"rollcall"}`
		ours   = `{"handler":"rollcall"}`
		inside = `{"handler":"subroute","routes":[{"handle":[{"handler":"vars"},{"handler":"rollcall"}]}]}`
	)
	for _, test := range []struct {
		handlers []string
		want     []int
	}{
		{[]string{ours}, []int{0}},
		{[]string{`{"handler":"vars"}`, inside}, []int{1}},
		{[]string{header, text, inside, header, ours}, []int{2, 4}},
	} {
		raw := make([]json.RawMessage, len(test.handlers))
		for i, h := range test.handlers {
			raw[i] = json.RawMessage(h)
		}
		if got := rollcallsIn(raw); !slices.Equal(got, test.want) {
			t.Errorf("%s: got %d, want %d", test.handlers, got, test.want)
		}
	}
}
