package caddymodule

import (
	"runtime"
	"strings"
	"sync"
	"weak"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
)

// longestMatcher is the number of hosts in a matcher up to which they are read each time that they are asked for.
const longestMatcher = 16

// longMatchers has the hosts of longer ones, by the first, for as long as Caddy has the matcher. It is asked for each
// handler behind it, which would otherwise take time with the square of the number of hosts.
var longMatchers sync.Map // of hostpattern.Set by weak.Pointer[string]

// newHostSet returns the hosts that a host matcher lets through. A placeholder that is replaced at the time of a request
// can become any host.
func newHostSet(matcher caddyhttp.MatchHost) hostpattern.Set {
	if len(matcher) <= longestMatcher {
		return readHosts(matcher)
	}
	key := weak.Make(&matcher[0])
	if set, ok := longMatchers.Load(key); ok {
		return set.(hostpattern.Set)
	}
	set := readHosts(matcher)
	if _, known := longMatchers.LoadOrStore(key, set); !known {
		runtime.AddCleanup(&matcher[0], func(key weak.Pointer[string]) { longMatchers.Delete(key) }, key)
	}
	return set
}

func readHosts(matcher caddyhttp.MatchHost) hostpattern.Set {
	patterns := make([]string, 0, len(matcher))
	for _, host := range matcher {
		if strings.Contains(host, "{") {
			host = caddy.NewReplacer().ReplaceKnown(host, "")
			if strings.Contains(host, "{") {
				return hostpattern.Every
			}
		}
		if pattern, ok := hostpattern.Parse(host); ok {
			patterns = append(patterns, pattern)
		}
	}
	return hostpattern.SetOf(patterns...)
}

// hostMatcher returns the hosts that a matcher lets through. It reports false for any matcher but Caddy's host matcher.
func hostMatcher(matcher any) (hostpattern.Set, bool) {
	switch m := matcher.(type) {
	case *caddyhttp.MatchHost:
		return newHostSet(*m), true
	case caddyhttp.MatchHost:
		return newHostSet(m), true
	}
	return hostpattern.Set{}, false
}

// matcherHosts returns the hosts that a set of matchers can let through, and reports whether it lets all requests for
// them through. Matchers other than host are taken to match.
func matcherHosts(matchers caddyhttp.MatcherSet) (hosts hostpattern.Set, all bool) {
	hosts, all = hostpattern.Every, true
	for _, m := range matchers {
		if set, ok := hostMatcher(m); ok {
			hosts = hosts.Intersect(set)
		} else {
			all = false
		}
	}
	return hosts, all
}

// routeHosts returns the hosts that the matchers of a route can let through.
func routeHosts(route *caddyhttp.Route) hostpattern.Set {
	if len(route.MatcherSets) == 0 {
		return hostpattern.Every
	}
	sets := make([]hostpattern.Set, 0, len(route.MatcherSets))
	for _, matchers := range route.MatcherSets {
		set, _ := matcherHosts(matchers)
		sets = append(sets, set)
	}
	return hostpattern.Union(sets...)
}

// letsThrough reports whether a route gets every request for the hosts: it has no matcher, or host matchers alone.
func letsThrough(route *caddyhttp.Route, hosts hostpattern.Set) bool {
	return allThrough(route).Contains(hosts)
}

// allThrough returns the hosts of which a route gets every request.
func allThrough(route *caddyhttp.Route) hostpattern.Set {
	if len(route.MatcherSets) == 0 {
		return hostpattern.Every
	}
	var sets []hostpattern.Set
	for _, matchers := range route.MatcherSets {
		if set, all := matcherHosts(matchers); all {
			sets = append(sets, set)
		}
	}
	return hostpattern.Union(sets...)
}
