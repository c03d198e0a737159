package routes

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// The tests here count work. What the checks find out is tested with Caddy, in package caddymodule.

// work counts what the model is asked for.
type work struct{ routes, handlers, matches int }

// list returns a list of routes. Each is for a host and a path, "" for any, and has the handlers.
func (w *work) list(length int, of func(i int) (host, path string, handlers []Handler)) *List {
	return NewList(length, false, func(i int) *Route {
		w.routes++
		host, path, handlers := of(i)
		return w.route(host, path, handlers...)
	})
}

func (w *work) route(host, path string, handlers ...Handler) *Route {
	var set MatcherSet
	if host != "" {
		set = append(set, Hosts{hostpattern.SetOf(host)})
	}
	if path != "" {
		set = append(set, &Paths{Patterns: []string{path + "/*"}, Match: func(u *url.URL) bool {
			w.matches++
			return strings.HasPrefix(u.Path, path+"/")
		}})
	}
	var sets []MatcherSet
	if set != nil {
		sets = []MatcherSet{set}
	}
	return NewRoute("", false, sets, func() []Handler {
		w.handlers++
		return handlers
	})
}

var (
	rollcall = Handler{KeepsPath: true}
	proxy    = Handler{Does: Answer{By: "reverse_proxy"}, KeepsPath: true}
)

// atMessage returns a handler with the default prefix.
func atMessage() *Rollcall { return &Rollcall{Endpoints: Endpoints{Prefix: "/message"}} }

func newOwners() (*Owners, *observer.ObservedLogs) {
	core, logs := observer.New(zapcore.WarnLevel)
	return &Owners{
		NewSite: func(of site.Settings) *site.Site { return &site.Site{Settings: of} },
		Logger:  zap.New(core),
	}, logs
}

// enter enters a handler with settings that a number tells apart.
func enter(t *testing.T, o *Owners, settings int, prefix string, w *Way) *Rollcall {
	t.Helper()
	h := &Rollcall{Endpoints: Endpoints{Prefix: prefix}, Settings: site.Settings{byte(settings), byte(settings >> 8)}}
	if err := CheckPaths(w, Endpoints{Prefix: prefix}); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Enter(h, w); err != nil {
		t.Fatal(err)
	}
	if err := h.CheckReach(w, false, zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	return h
}

// In a list of very many routes, a handler looks at those for its hosts.
func TestRoutesOfOtherHostsAreNotLookedAt(t *testing.T) {
	const sites = 5000
	list := new(work).list(2*sites, func(i int) (host, path string, handlers []Handler) {
		if i%2 == 0 {
			host = fmt.Sprintf("%d.example.com", i/2)
		}
		return host, "", nil
	})
	for i := range list.Len() {
		hosts := list.At(i).Matchers.mayLetThrough()
		got := list.before(i, hosts)
		if most := longestList + 1; len(got) > most || !slices.IsSorted(got) || len(got) > 0 && got[len(got)-1] >= i {
			t.Fatalf("before %d: %d routes up to %d", i, len(got), got[len(got)-1])
		}
	}
	got := list.before(2*sites-1, hostpattern.SetOf("3.example.com", "*.example.org"))
	if !slices.Contains(got, 6) || slices.Contains(got, 8) || !slices.Contains(got, 2*sites-3) {
		t.Errorf("got %d", got)
	}
}

// Each route is looked at once, however many handlers stand after it.
func TestRewritesAreFoundByOneLookAtEachRoute(t *testing.T) {
	var w work
	list := w.list(1000, func(i int) (host, path string, handlers []Handler) {
		if i == 500 {
			return "", "", []Handler{{Does: new(Rewrite)}}
		}
		return "", "", []Handler{rollcall}
	})
	for i := range list.Len() {
		if got, want := list.rewritesBetween(0, i), i > 500; got != want {
			t.Fatalf("a rewrite before %d: %v", i, got)
		}
		if got, want := list.rewritesBetween(i, list.Len()-1), i <= 500; i > 0 && got != want {
			t.Fatalf("a rewrite after %d: %v", i, got)
		}
	}
	if w.routes > list.Len() || w.handlers > list.Len() {
		t.Errorf("%d routes and the handlers of %d were loaded", w.routes, w.handlers)
	}
}

// Thousands of doors to one host, each for a path of its own, are not compared with each other:
// neither in a site nor in a route that is for some paths itself.
func TestDoorsOfOneHostAreComparedByTheirLimit(t *testing.T) {
	const doors = 500
	strip := Handler{Does: &Rewrite{Apply: func(r Request) Request { return r }}} // as handle_path has it
	for _, outer := range []string{"", "/x"} {
		var w work
		inner := w.list(doors, func(i int) (host, path string, handlers []Handler) {
			return "", fmt.Sprintf("/t%d", i), []Handler{strip, rollcall}
		})
		server := new(Server)
		list := w.list(1, func(int) (host, path string, handlers []Handler) {
			return "a.example.com", outer, []Handler{strip, {Does: inner, Inside: []*List{inner}, KeepsPath: true}}
		})
		o, _ := newOwners()
		for i := range doors {
			enter(t, o, 0, "/message", NewWay(server, []Step{
				{List: list, Position: 1, Sure: true}, {List: inner, Index: i, Position: 1, Sure: true},
			}))
		}
		claim := o.owner(testkit.MustHost(t, "a.example.com"))
		claim.index()
		if len(claim.doors) != doors || len(claim.limited) != doors {
			t.Errorf("below %q: %d doors with %d limits", outer, len(claim.doors), len(claim.limited))
		}
		// A request for each endpoint meets the matchers of the nearest routes.
		if most := doors * (longestList + 4) * len(native); w.matches > most {
			t.Errorf("below %q: matchers are asked %d times, want at most %d", outer, w.matches, most)
		}
	}
}

// Thousands of handlers in one route, each with a prefix of its own, are loaded once. No request is
// sent to them, since none of them can end it.
func TestHandlersOfOneRouteAreLoadedOnce(t *testing.T) {
	const doors = 1000
	var w work
	list := w.list(1, func(int) (host, path string, handlers []Handler) {
		return "a.example.com", "", slices.Repeat([]Handler{rollcall}, doors)
	})
	server := new(Server)
	o, _ := newOwners()
	for i := range doors {
		way := NewWay(server, []Step{{List: list, Position: i, Sure: true}})
		enter(t, o, 0, fmt.Sprintf("/t%d", i), way)
		if r := newReach(way, Endpoints{Prefix: fmt.Sprintf("/t%d", i)}); r.blocked {
			t.Fatalf("something stands before %d", i)
		}
	}
	if w.routes != 1 || w.handlers != 1 {
		t.Errorf("%d routes and the handlers of %d were loaded", w.routes, w.handlers)
	}
	claim := o.owner(testkit.MustHost(t, "a.example.com"))
	claim.index()
	for at, doors := range claim.limited {
		if len(doors) != 1 {
			t.Errorf("%d doors at %s are compared", len(doors), at.prefix)
		}
	}
}

// Comparing n doors for every host with n doors for one host each takes time with n, in whatever
// order they come. A few are all compared.
func TestCatchAllsAreComparedWithSomeHosts(t *testing.T) {
	for _, test := range []struct {
		name  string
		order func(n int, catchAll, host func(i int))
		taken bool // the requests for all hosts end before they get to a door for every host
	}{
		{"in turns", func(n int, catchAll, host func(i int)) {
			for i := range n {
				catchAll(i)
				host(i)
			}
		}, false},
		{"hosts first", func(n int, catchAll, host func(i int)) { each(n, host); each(n, catchAll) }, false},
		{"hosts last", func(n int, catchAll, host func(i int)) { each(n, catchAll); each(n, host) }, false},
		{"hosts first, taken", func(n int, catchAll, host func(i int)) { each(n, host); each(n, catchAll) }, true},
		{"hosts last, taken", func(n int, catchAll, host func(i int)) { each(n, catchAll); each(n, host) }, true},
	} {
		for _, n := range []int{10, comparedPerDoor, 500} {
			var w work
			internal, public := new(Server), new(Server)
			list := w.list(2, func(i int) (host, path string, handlers []Handler) {
				if i == 0 {
					return "*.example.com", "", []Handler{proxy}
				}
				return "", "", slices.Repeat([]Handler{rollcall}, n)
			})
			list.At(0).Terminal = test.taken
			hosts := w.list(n, func(i int) (host, path string, handlers []Handler) {
				return fmt.Sprintf("h%d.example.com", i), "", []Handler{rollcall}
			})
			o, logs := newOwners()
			test.order(n, func(i int) {
				enter(t, o, 0, fmt.Sprintf("/t%d", i), NewWay(internal, []Step{{List: list, Index: 1, Position: i, Sure: true}}))
			}, func(i int) {
				enter(t, o, 1+i, "/message", NewWay(public, []Step{{List: hosts, Index: i, Sure: true}}))
			})
			if most := (comparedPerDoor + 1) * 2 * n; o.compared > most {
				t.Errorf("%s, %d: %d comparisons, want at most %d", test.name, n, o.compared, most)
			}
			switch want := n * min(n, maxNamed+1); {
			case test.taken && logs.Len() > 0, !test.taken && logs.Len() == 0:
				t.Errorf("%s, %d: %d warnings", test.name, n, logs.Len())
			case !test.taken && n <= comparedPerDoor && logs.Len() != want:
				t.Errorf("%s, %d: %d warnings, want %d", test.name, n, logs.Len(), want)
			}
		}
	}
}

func each(n int, do func(i int)) {
	for i := range n {
		do(i)
	}
}

// Very many sites take time with their number: no handler is compared with all others.
func TestManySitesAreComparedByLookups(t *testing.T) {
	const sites = 5000
	var w work
	server := new(Server)
	list := w.list(2*sites, func(i int) (host, path string, handlers []Handler) {
		return fmt.Sprintf("%sh%d.example.com", []string{"", "*."}[i%2], i/2), "", []Handler{rollcall}
	})
	o, _ := newOwners()
	for i := range list.Len() {
		enter(t, o, i, "/message", NewWay(server, []Step{{List: list, Index: i, Sure: true}}))
	}
	if o.compared > sites || w.routes > list.Len() {
		t.Errorf("%d comparisons, and %d routes were loaded", o.compared, w.routes)
	}
	if o.Find(testkit.MustHost(t, "x.h4999.example.com")) == o.Find(testkit.MustHost(t, "h4999.example.com")) {
		t.Error("two sites are one")
	}
}

// A request goes through a named route once while it stays as it is, however many ways lead there.
func TestNamedRoutesAreProbedOnce(t *testing.T) {
	const levels = 7 // up to which a probe follows
	var w work
	server := new(Server)
	named := make([]*Route, levels)
	for i := range named {
		handlers := []Handler{{Does: w.list(1, func(int) (host, path string, handlers []Handler) {
			return "", "/api", []Handler{proxy}
		})}}
		if i+1 < levels {
			next := Handler{Does: Invoke(fmt.Sprint(i + 1))}
			handlers = append(handlers, next, next)
		}
		named[i] = w.route("", "", handlers...)
	}
	server.Named = func(name string) *Route { return named[name[0]-'0'] }
	list := w.list(2, func(i int) (host, path string, handlers []Handler) {
		return "", "", []Handler{[]Handler{{Does: Invoke("0")}, rollcall}[i]}
	})
	if err := atMessage().CheckReach(NewWay(server, []Step{{List: list, Index: 1, Sure: true}}), false, zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	if want := levels * len(native); w.matches != want {
		t.Errorf("matchers are asked %d times, want %d: once a request for each level", w.matches, want)
	}
}

// A request that has gone through a route is not for those of its group inside. They are warned of,
// although no route stands before the handler.
func TestGroupOfTheRouteAround(t *testing.T) {
	for _, group := range []string{"g", "h"} {
		inner := new(work).list(1, func(int) (host, path string, handlers []Handler) { return "", "", []Handler{rollcall} })
		inner.At(0).Group = group
		list := new(work).list(1, func(int) (host, path string, handlers []Handler) { return "", "", []Handler{{Does: inner}} })
		list.At(0).Group = "g"
		core, logs := observer.New(zapcore.WarnLevel)
		way := NewWay(new(Server), []Step{{List: list, Sure: true}, {List: inner, Sure: true}})
		if err := atMessage().CheckReach(way, true, zap.New(core)); err != nil {
			t.Fatal(err)
		}
		if got, want := logs.FilterMessageSnippet("another route answers them before").Len() == 1, group == "g"; got != want {
			t.Errorf("group %s: warned %v", group, got)
		}
	}
}

// An error names the options that differ, of a block those inside, and no value.
func TestDiffering(t *testing.T) {
	options := func(text string) func() map[string]any {
		return func() (v map[string]any) {
			d := json.NewDecoder(strings.NewReader(text))
			d.UseNumber()
			if err := d.Decode(&v); err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	a := &Rollcall{Options: options(`{"api_key":["a"],"jwt":{"key":"x","issuer":"i"},"plugins":[{"n":9007199254740993}]}`)}
	b := &Rollcall{Options: options(`{"api_key":["a"],"jwt":{"key":"y","issuer":"i"},"plugins":[{"n":9007199254740992}],"grace":1}`)}
	if got := differing(a, b); !slices.Equal(got, []string{"grace", "jwt.key", "plugins"}) {
		t.Errorf("got %q", got)
	}
}

// Each host has the doors that are for it, however the hosts of doors overlap.
func TestDoorsOfOverlappingHosts(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	names := []string{"a.example.com", "b.example.com", "c.example.com", "d.example.com", "*.example.com", "*.example.org"}
	for range 300 {
		o, _ := newOwners()
		want := make(map[string][]string)
		for i := range 12 {
			hosts := hostpattern.Every
			if r.IntN(8) > 0 {
				var some []string
				for range 1 + r.IntN(3) {
					some = append(some, names[r.IntN(len(names))])
				}
				hosts = hostpattern.SetOf(some...)
			}
			h := &Rollcall{Endpoints: Endpoints{Prefix: fmt.Sprintf("/%d", i)}}
			if _, err := o.Enter(h, &Way{Server: new(Server), Hosts: hosts}); err != nil {
				t.Fatal(err)
			}
			for _, pattern := range patternsOf(hosts) {
				want[pattern] = append(want[pattern], h.Prefix)
			}
		}
		for pattern, prefixes := range want {
			var got []string
			c := o.get(pattern)
			for _, d := range c.doors {
				got = append(got, d.Prefix)
				if d.Site != c.site {
					t.Errorf("a door of %s is of another site", pattern)
				}
			}
			if !slices.Equal(got, prefixes) {
				t.Fatalf("%q has the doors %q, want %q", pattern, got, prefixes)
			}
		}
	}
}

// Many doors to many hosts take time with the sum of their numbers: what the hosts have in common
// is kept once, also when some doors are for one of them alone.
func TestManyDoorsToManyHosts(t *testing.T) {
	const n = 500
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("h%d.example.com", i)
	}
	o, _ := newOwners()
	server := new(Server)
	for i := range n {
		for _, hosts := range []hostpattern.Set{hostpattern.SetOf(names...), hostpattern.SetOf(names[0])} {
			h := &Rollcall{Endpoints: Endpoints{Prefix: fmt.Sprintf("/%d/%d", i, len(hosts.Patterns()))}}
			if _, err := o.Enter(h, &Way{Server: server, Hosts: hosts}); err != nil {
				t.Fatal(err)
			}
		}
	}
	holdings := make(map[*holding]int)
	for _, c := range o.hosts.All() {
		holdings[c.holding]++
	}
	if len(holdings) != 2 || holdings[o.get(names[0]).holding] != 1 || len(o.get(names[0]).doors) != 2*n || len(o.get(names[1]).doors) != n {
		t.Errorf("%d holdings; the hosts have %d and %d doors", len(holdings), len(o.get(names[0]).doors), len(o.get(names[1]).doors))
	}
}
