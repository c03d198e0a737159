package hostpattern

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"a.example.com":        "a.example.com",
		"A.Example.com.":       "a.example.com",
		"*.EXAMPLE.com":        "*.example.com",
		"*.example.com.":       "*.example.com",
		"bücher.*.example":     "xn--bcher-kva.*.example",
		"*":                    "*",
		"*.*":                  "*.*",
		"127.0.0.*":            "127.0.0.*",
		"[2001:DB8::1]":        "2001:db8::1",
		"::ffff:127.0.0.1":     "127.0.0.1",
		"a*.example.com":       "",
		"*。example.com":        "",
		"":                     "",
		"*..com":               "",
		"a b.example.com":      "",
		"*.a b.example.com":    "",
		strings.Repeat("*", 3): "",
	} {
		got, ok := Parse(text)
		if !ok {
			got = ""
		}
		if got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

// matches is the rule itself: label by label.
func matches(pattern, host string) bool {
	return slices.EqualFunc(strings.Split(pattern, "."), strings.Split(host, "."), func(p, h string) bool { return p == "*" || p == h })
}

// randomPattern returns a pattern over so few labels that many overlap.
func randomPattern(r *rand.Rand, stars bool) string {
	words := []string{"a", "b", "c"}
	if stars {
		words = append(words, "*", "*")
	}
	labels := make([]string, 1+r.IntN(4))
	for i := range labels {
		labels[i] = words[r.IntN(len(words))]
	}
	return strings.Join(labels, ".")
}

func randomSet(r *rand.Rand) Set {
	var patterns []string
	for range r.IntN(6) {
		patterns = append(patterns, randomPattern(r, true))
	}
	return SetOf(patterns...)
}

func (s Set) has(host string) bool {
	return s.every || slices.ContainsFunc(s.patterns, func(p string) bool { return matches(p, host) })
}

func TestSets(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		a, b := randomSet(r), randomSet(r)
		if r.IntN(20) == 0 {
			a = Every
		}
		if r.IntN(20) == 0 {
			b = Every
		}
		if r.IntN(20) == 0 {
			b = a
		}
		if r.IntN(2) == 0 { // as those of a long matcher
			a.index = newIndex(a.patterns)
		}
		both, either := a.Intersect(b), Union(a, b)
		if a.Contains(b) && slices.ContainsFunc(b.patterns, func(p string) bool { return !a.has(strings.ReplaceAll(p, "*", "z")) }) {
			t.Fatalf("%v does not contain %v", a, b)
		}
		for range 50 {
			host := randomPattern(r, false)
			if both.has(host) != (a.has(host) && b.has(host)) {
				t.Fatalf("%s in %v and %v: the intersection is %v", host, a, b, both)
			}
			if either.has(host) != (a.has(host) || b.has(host)) {
				t.Fatalf("%s in %v or %v: the union is %v", host, a, b, either)
			}
			if both.has(host) && !a.Overlaps(b) || a.Overlaps(b) == both.IsEmpty() {
				t.Fatalf("%v and %v overlap: %v", a, b, a.Overlaps(b))
			}
			if a.Contains(b) && b.has(host) && !a.has(host) {
				t.Fatalf("%v does not contain %v: %s", a, b, host)
			}
		}
	}
}

func TestMap(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		var m Map[int]
		entries := make(map[string]int)
		for i := range r.IntN(30) {
			pattern := randomPattern(r, true)
			for range r.IntN(2) { // shapes are compared before all patterns are in
				for range m.Overlapping(randomPattern(r, true)) {
					break
				}
			}
			m.Insert(pattern, i)
			entries[pattern] = i
		}
		if all := maps.Collect(m.All()); !maps.Equal(all, entries) {
			t.Fatalf("%v, want %v", all, entries)
		}
		for range 50 {
			host := randomPattern(r, false)
			best, matching := -1, 0
			for pattern := range entries {
				if Match(pattern, host) != matches(pattern, host) {
					t.Fatalf("%s matches %s: %v", pattern, host, Match(pattern, host))
				}
				if matches(pattern, host) {
					matching++
					best = max(best, FixedLabels(pattern))
				}
			}
			if all := maps.Collect(m.Matching(host)); len(all) != matching {
				t.Fatalf("%s in %v: %v match", host, entries, all)
			}
			v, ok := m.Find(host)
			if ok != (best >= 0) {
				t.Fatalf("%s in %v: found %v", host, entries, ok)
			}
			if ok && !slices.ContainsFunc(slices.Collect(maps.Keys(entries)), func(p string) bool {
				return entries[p] == v && matches(p, host) && FixedLabels(p) == best
			}) {
				t.Fatalf("%s in %v: found %d, which is not the most specific", host, entries, v)
			}
			pattern := randomPattern(r, true)
			want, known := entries[pattern]
			if exact, ok := m.Get(pattern); ok != known || exact != want {
				t.Fatalf("%s in %v: %d %v", pattern, entries, exact, ok)
			}
			got := maps.Collect(m.Overlapping(pattern))
			for other := range entries {
				_, found := got[other]
				_, foundFixed := maps.Collect(m.OverlappingFixed(pattern, FixedLabels(other)))[other]
				if found != overlap(pattern, other) || found != Overlap(pattern, other) || foundFixed != found {
					t.Fatalf("%s and %s: overlapping %v, by its fixed labels %v", pattern, other, found, foundFixed)
				}
			}
		}
	}
}

func overlap(a, b string) bool {
	return slices.EqualFunc(strings.Split(a, "."), strings.Split(b, "."), func(p, q string) bool { return p == q || p == "*" || q == "*" })
}

func BenchmarkMapFind(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("sites=%d", n), func(b *testing.B) {
			var m Map[int]
			for i := range n {
				m.Insert(fmt.Sprintf("h%d.example.com", i), i)
				m.Insert(fmt.Sprintf("*.w%d.example.com", i), i)
			}
			b.ReportAllocs()
			for b.Loop() {
				m.Find("h0.example.com")
				m.Find("x.w0.example.com")
			}
		})
	}
}
