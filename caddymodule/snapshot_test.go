package caddymodule

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/caddymodule/pluginhost"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// route is a route of the JSON configuration, as text.
func route(hosts []string, handlers ...string) string {
	match := ""
	if hosts != nil {
		match = `"match":[{"host":["` + strings.Join(hosts, `","`) + `"]}],`
	}
	return `{` + match + `"handle":[` + strings.Join(handlers, ",") + `]}`
}

func subroute(routes ...string) string {
	return `{"handler":"subroute","routes":[` + strings.Join(routes, ",") + `]}`
}

// rollcallAt is a handler that is identified by its prefix.
func rollcallAt(prefix string) string { return `{"handler":"rollcall","prefix":"/` + prefix + `"}` }

func server(listen string, routes ...string) string {
	return `"` + listen + `":{"listen":[":` + listen + `"],"automatic_https":{"disable":true},"routes":[` + strings.Join(routes, ",") + `]}`
}

// served returns the prefix of the handler that serves each host, "-" for none.
func served(t *testing.T, c configured, hosts []string) string {
	t.Helper()
	s := c.snapshot()
	var all []string
	for _, host := range hosts {
		prefix := "-"
		found := s.Find(testkit.MustHost(t, host))
		for _, h := range c.app.handlers {
			if h.rollcall.Site == found {
				prefix = h.Prefix[1:]
				break
			}
		}
		all = append(all, prefix)
	}
	return strings.Join(all, " ")
}

// loadServers loads the servers of an HTTP app.
func loadServers(t *testing.T, servers ...string) configured {
	t.Helper()
	return loadJSON(t, `{"servers":{`+strings.Join(servers, ",")+`}}`)
}

func TestSnapshotFindsTheSite(t *testing.T) {
	for _, test := range []struct {
		name    string
		servers []string
		hosts   []string
		want    string
	}{
		{
			"hosts",
			[]string{server("80", route([]string{"a.example.com", "b.example.com"}, rollcallAt("x")), route([]string{"c.example.com"}, rollcallAt("y")))},
			[]string{"a.example.com", "B.EXAMPLE.com:8080", "c.example.com.", "d.example.com", "example.com"},
			"x x y - -",
		},
		{
			"host in upper case",
			[]string{server("80", route([]string{"A.Example.COM"}, rollcallAt("x")))},
			[]string{"a.example.com"},
			"x",
		},
		{
			"non-ASCII host",
			[]string{server("80", route([]string{"bücher.example"}, rollcallAt("x")))},
			[]string{"xn--bcher-kva.example", "BÜCHER.example"},
			"x x",
		},
		{
			"wildcard is one label",
			[]string{server("80", route([]string{"*.example.com"}, rollcallAt("x")))},
			[]string{"a.example.com", "example.com", "a.b.example.com", "aexample.com", "a.example.com.evil"},
			"x - - - -",
		},
		{
			"wildcard in the middle",
			[]string{server("80", route([]string{"a.*.com"}, rollcallAt("x")))},
			[]string{"a.b.com", "a.b.c.com"},
			"x -",
		},
		{
			"the most specific wins, whatever the order",
			[]string{server("80", route([]string{"*.example.com"}, rollcallAt("x")), route([]string{"a.example.com"}, rollcallAt("y")))},
			[]string{"a.example.com", "b.example.com"},
			"y x",
		},
		{
			"exact before wildcard",
			[]string{server("80", route([]string{"a.example.com"}, rollcallAt("y")), route([]string{"*.example.com"}, rollcallAt("x")))},
			[]string{"a.example.com", "b.example.com"},
			"y x",
		},
		{
			"catch-all",
			[]string{server("80", route([]string{"a.example.com"}, rollcallAt("x")), route(nil, rollcallAt("any")))},
			[]string{"a.example.com", "b.example.com", "192.0.2.1"},
			"x any any",
		},
		{
			"IP addresses",
			[]string{server("80", route([]string{"192.0.2.1", "[2001:db8::1]"}, rollcallAt("x")))},
			[]string{"192.0.2.1:80", "[2001:db8::1]:80", "192.0.2.2"},
			"x x -",
		},
		{
			"nested subroutes",
			[]string{server("80", route([]string{"*.example.com"}, subroute(
				route([]string{"a.example.com"}, subroute(route(nil, rollcallAt("x")))),
				route([]string{"b.example.com", "c.other.com"}, rollcallAt("y")),
			)))},
			[]string{"a.example.com", "b.example.com", "c.example.com", "c.other.com"},
			"x y - -",
		},
		{
			"several matcher sets",
			[]string{server("80", `{"match":[{"host":["a.example.com"]},{"path":["/b"],"host":["b.example.com"]}],"handle":[`+rollcallAt("x")+`]}`)},
			[]string{"a.example.com", "b.example.com", "c.example.com"},
			"x x -",
		},
		{
			"other matchers are taken to match",
			[]string{server("80", `{"match":[{"path":["/x/*"]}],"handle":[`+rollcallAt("x")+`]}`)},
			[]string{"a.example.com"},
			"x",
		},
		{
			"several handlers in a route",
			[]string{server("80", route([]string{"a.example.com"}, `{"handler":"vars"}`, rollcallAt("x"), rollcallAt("y")))},
			[]string{"a.example.com"},
			"x",
		},
		{
			"several servers",
			[]string{server("8080", route([]string{"a.example.com"}, rollcallAt("x"))), server("9090", route([]string{"b.example.com"}, rollcallAt("y")))},
			[]string{"a.example.com", "b.example.com", "c.example.com"},
			"x y -",
		},
		{
			"named route",
			[]string{`"80":{"listen":[":80"],"routes":[` + route([]string{"a.example.com"}, `{"handler":"invoke","name":"live"}`) +
				`],"named_routes":{"live":` + route(nil, rollcallAt("x")) + `}}`},
			[]string{"a.example.com", "b.example.com"},
			"x -",
		},
		{
			"named route with a host",
			[]string{`"80":{"listen":[":80"],"routes":[` + route([]string{"*.example.com"}, `{"handler":"invoke","name":"live"}`) +
				`],"named_routes":{"live":` + route([]string{"a.example.com"}, rollcallAt("x")) + `}}`},
			[]string{"a.example.com", "b.example.com"},
			"x -",
		},
		{
			"named routes that invoke each other",
			[]string{`"80":{"listen":[":80"],"routes":[` + route([]string{"a.example.com"}, `{"handler":"invoke","name":"one"}`) +
				`],"named_routes":{"one":` + route(nil, `{"handler":"invoke","name":"two"}`, rollcallAt("x")) +
				`,"two":` + route(nil, `{"handler":"invoke","name":"one"}`, `{"handler":"invoke","name":"two"}`) + `}}`},
			[]string{"a.example.com", "b.example.com"},
			"x -",
		},
		{
			"no site",
			[]string{server("80", route(nil, `{"handler":"vars"}`))},
			[]string{"a.example.com"},
			"-",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := loadServers(t, test.servers...)
			if got := served(t, c, test.hosts); got != test.want {
				t.Errorf("%v are served by %s, want %s", test.hosts, got, test.want)
			}
		})
	}
}

func TestSnapshotPlaceholderHosts(t *testing.T) {
	t.Setenv("ROLLCALL_TEST_HOST", "a.example.com")
	c := loadServers(t, server("80", route([]string{"{env.ROLLCALL_TEST_HOST}"}, rollcallAt("x"))))
	if got := served(t, c, []string{"a.example.com", "b.example.com"}); got != "x -" {
		t.Errorf("served by %s", got)
	}
}

// Only hosts that are named in full are labels; a client chooses the others.
func TestSnapshotLabels(t *testing.T) {
	s := loadServers(t, server("80",
		route([]string{"A.example.com", "bücher.example"}, rollcallAt("x")),
		route([]string{"*.example.com"}, rollcallAt("y")),
		route([]string{"elsewhere.example.com"}, `{"handler":"vars"}`),
		route(nil, rollcallAt("any")),
	)).snapshot()
	for host, want := range map[string]string{
		"a.example.com":         "a.example.com",
		"xn--bcher-kva.example": "xn--bcher-kva.example",
		"b.example.com":         pluginhost.OtherHosts,
		"elsewhere.example.com": pluginhost.OtherHosts,
		"made-up.example":       pluginhost.OtherHosts,
	} {
		if got := s.Label(testkit.MustHost(t, host)); got != want {
			t.Errorf("%s has the label %q, want %q", host, got, want)
		}
	}
}

func TestSnapshotOfManySites(t *testing.T) {
	var routes []string
	for i := range 2000 {
		routes = append(routes, route([]string{fmt.Sprintf("h%d.example.com", i)}, rollcallAt(fmt.Sprint("p", i%3))))
	}
	s := loadServers(t, server("80", routes...)).snapshot()
	if n := len(maps.Collect(s.Names())); n != 2000 || s.Find(testkit.MustHost(t, "h1999.example.com")) == nil || s.Find(testkit.MustHost(t, "h2000.example.com")) != nil {
		t.Errorf("%d hosts are known by name", n)
	}
}
