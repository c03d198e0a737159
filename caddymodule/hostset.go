package caddymodule

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"weak"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/rollcall-gateway/rollcall/presence"
)

// hostSet is a set of hosts: every host, or those that one of the patterns matches. The zero value is empty.
//
// A pattern is a canonical host name in which labels can be "*". Such a label stands for exactly one label, as in
// Caddy's host matcher.
type hostSet struct {
	every    bool
	patterns []string           // in the order of the configuration, each once
	index    *hostMap[struct{}] // of the patterns; nil for few of them
}

var everyHost = hostSet{every: true}

// parseHostPattern returns the canonical form of a pattern of a host matcher. It reports false for a pattern that
// matches no canonical host.
func parseHostPattern(s string) (string, bool) {
	if !strings.Contains(s, "*") {
		name, err := presence.ParseHostName(s)
		return name.String(), err == nil
	}
	labels := strings.Split(strings.TrimSuffix(s, "."), ".")
	names := slices.Clone(labels)
	for i, label := range labels {
		if label == "*" {
			names[i] = "x"
		}
	}
	name, err := presence.ParseHostName(strings.Join(names, "."))
	if err != nil {
		return "", false
	}
	names = strings.Split(name.String(), ".")
	if len(names) != len(labels) {
		return "", false
	}
	for i, label := range labels {
		if label == "*" {
			names[i] = "*"
		}
	}
	return strings.Join(names, "."), true
}

// longestMatcher is the number of hosts in a matcher up to which they are read each time that they are asked for.
const longestMatcher = 16

// longMatchers has the hosts of longer ones, by the first, for as long as Caddy has the matcher. It is asked for each
// handler behind it, which would otherwise take time with the square of the number of hosts.
var longMatchers sync.Map // of hostSet by weak.Pointer[string]

// newHostSet returns the hosts that a host matcher lets through. A placeholder that is replaced at the time of a request
// can become any host.
func newHostSet(matcher caddyhttp.MatchHost) hostSet {
	if len(matcher) <= longestMatcher {
		return readHosts(matcher)
	}
	key := weak.Make(&matcher[0])
	if set, ok := longMatchers.Load(key); ok {
		return set.(hostSet)
	}
	set := readHosts(matcher)
	set.index = set.indexed()
	if _, known := longMatchers.LoadOrStore(key, set); !known {
		runtime.AddCleanup(&matcher[0], func(key weak.Pointer[string]) { longMatchers.Delete(key) }, key)
	}
	return set
}

func readHosts(matcher caddyhttp.MatchHost) hostSet {
	var set hostSet
	seen := make(map[string]bool, len(matcher))
	for _, host := range matcher {
		if strings.Contains(host, "{") {
			host = caddy.NewReplacer().ReplaceKnown(host, "")
			if strings.Contains(host, "{") {
				return everyHost
			}
		}
		if pattern, ok := parseHostPattern(host); ok && !seen[pattern] {
			seen[pattern] = true
			set.patterns = append(set.patterns, pattern)
		}
	}
	return set
}

// indexed returns the index of the patterns.
func (s hostSet) indexed() *hostMap[struct{}] {
	if s.index != nil {
		return s.index
	}
	index := new(hostMap[struct{}])
	for _, pattern := range s.patterns {
		index.insert(pattern, struct{}{})
	}
	return index
}

// hostMatcher returns the hosts that a matcher lets through. It reports false for any matcher but Caddy's host matcher.
func hostMatcher(matcher any) (hostSet, bool) {
	switch m := matcher.(type) {
	case *caddyhttp.MatchHost:
		return newHostSet(*m), true
	case caddyhttp.MatchHost:
		return newHostSet(m), true
	}
	return hostSet{}, false
}

// matcherHosts returns the hosts that a set of matchers can let through, and reports whether it lets all requests for
// them through. Matchers other than host are taken to match.
func matcherHosts(matchers caddyhttp.MatcherSet) (hosts hostSet, all bool) {
	hosts, all = everyHost, true
	for _, m := range matchers {
		if set, ok := hostMatcher(m); ok {
			hosts = hosts.intersect(set)
		} else {
			all = false
		}
	}
	return hosts, all
}

// routeHosts returns the hosts that the matchers of a route can let through.
func routeHosts(route *caddyhttp.Route) hostSet {
	if len(route.MatcherSets) == 0 {
		return everyHost
	}
	sets := make([]hostSet, 0, len(route.MatcherSets))
	for _, matchers := range route.MatcherSets {
		set, _ := matcherHosts(matchers)
		sets = append(sets, set)
	}
	return union(sets...)
}

// letsThrough reports whether a route gets every request for the hosts: it has no matcher, or host matchers alone.
func letsThrough(route *caddyhttp.Route, hosts hostSet) bool {
	return allThrough(route).contains(hosts)
}

// allThrough returns the hosts of which a route gets every request.
func allThrough(route *caddyhttp.Route) hostSet {
	if len(route.MatcherSets) == 0 {
		return everyHost
	}
	var sets []hostSet
	for _, matchers := range route.MatcherSets {
		if set, all := matcherHosts(matchers); all {
			sets = append(sets, set)
		}
	}
	return union(sets...)
}

// union returns the hosts that are in any of the sets.
func union(sets ...hostSet) hostSet {
	if len(sets) == 1 {
		return sets[0]
	}
	var sum hostSet
	seen := make(map[string]bool)
	for _, set := range sets {
		if set.every {
			return everyHost
		}
		for _, pattern := range set.patterns {
			if !seen[pattern] {
				seen[pattern] = true
				sum.patterns = append(sum.patterns, pattern)
			}
		}
	}
	return sum
}

// intersect returns the hosts that are in s and in other.
func (s hostSet) intersect(other hostSet) hostSet {
	switch {
	case other.every:
		return s
	case s.every:
		return other
	}
	if s.index != nil && len(other.patterns) < len(s.patterns) {
		s, other = other, s
	}
	index := other.indexed()
	seen := make(map[string]bool)
	var both hostSet
	for _, pattern := range s.patterns {
		for match := range index.overlapping(pattern) {
			if common := intersectPatterns(pattern, match); !seen[common] {
				seen[common] = true
				both.patterns = append(both.patterns, common)
			}
		}
	}
	return both
}

// contains reports whether each pattern of other is covered by one of s.
func (s hostSet) contains(other hostSet) bool {
	if s.every {
		return true
	}
	if other.every {
		return false
	}
	index := s.indexed()
	return !slices.ContainsFunc(other.patterns, func(pattern string) bool {
		for match := range index.overlapping(pattern) {
			if intersectPatterns(pattern, match) == pattern {
				return false
			}
		}
		return true
	})
}

// String names the first few hosts, for errors and logs.
func (s hostSet) String() string {
	const most = 3
	switch n := len(s.patterns); {
	case s.every:
		return "every host"
	case n == 0:
		return "no host"
	case n > most:
		return fmt.Sprintf("%s and %d more", strings.Join(s.patterns[:most], ", "), n-most)
	default:
		return strings.Join(s.patterns, ", ")
	}
}

// intersectPatterns returns the pattern of the hosts that both of two overlapping patterns match.
func intersectPatterns(a, b string) string {
	if a == b || !strings.Contains(a, "*") {
		return a
	}
	labels, others := strings.Split(a, "."), strings.Split(b, ".")
	for i := range labels {
		if labels[i] == "*" {
			labels[i] = others[i]
		}
	}
	return strings.Join(labels, ".")
}
