package hostpattern

import (
	"fmt"
	"slices"
	"strings"
)

// Set is a set of hosts: every host, or those that one of the patterns matches. The zero value is
// empty.
type Set struct {
	every    bool
	wild     bool           // a pattern has a "*"
	patterns []string       // each once, in the order of SetOf
	index    *Map[struct{}] // index of the patterns; nil for few
}

// Every is the set of every host.
var Every = Set{every: true}

// fewPatterns is the number of patterns up to which a set has no index of its own.
const fewPatterns = 16

// SetOf returns the set of the hosts that canonical patterns match.
func SetOf(patterns ...string) Set {
	s := Set{patterns: compact(patterns)}
	s.wild = slices.ContainsFunc(s.patterns, func(pattern string) bool { return !IsName(pattern) })
	if len(s.patterns) > fewPatterns {
		s.index = newIndex(s.patterns)
	}
	return s
}

// compact returns the patterns in their order, each once.
func compact(patterns []string) []string {
	if len(patterns) < 2 {
		return patterns
	}
	seen := make(map[string]bool, len(patterns))
	kept := make([]string, 0, len(patterns))
	for _, pattern := range patterns {
		if !seen[pattern] {
			seen[pattern] = true
			kept = append(kept, pattern)
		}
	}
	return kept
}

// IsEvery reports whether the set has every host.
func (s Set) IsEvery() bool { return s.every }

// IsNames reports whether the set consists of whole names, at least one.
func (s Set) IsNames() bool { return len(s.patterns) > 0 && !s.wild }

// IsEmpty reports whether the set has no host.
func (s Set) IsEmpty() bool { return !s.every && len(s.patterns) == 0 }

// Patterns returns the patterns of the set, each once. It returns none for the set of every host.
func (s Set) Patterns() []string { return s.patterns }

// Equal reports whether two sets have the same patterns in the same order.
func (s Set) Equal(other Set) bool {
	return s.every == other.every && (s.isSame(other) || slices.Equal(s.patterns, other.patterns))
}

// isSame reports whether two sets have the same patterns because one is a copy of the other.
func (s Set) isSame(other Set) bool {
	return len(s.patterns) > 0 && len(s.patterns) == len(other.patterns) && &s.patterns[0] == &other.patterns[0]
}

// Union returns the hosts that are in any of the sets.
func Union(sets ...Set) Set {
	if len(sets) == 1 {
		return sets[0]
	}
	var distinct []Set
	for _, set := range sets {
		if set.every {
			return Every
		}
		if len(distinct) == 0 || !set.isSame(distinct[len(distinct)-1]) {
			distinct = append(distinct, set)
		}
	}
	if len(distinct) == 1 {
		return distinct[0]
	}
	var patterns []string
	for _, set := range distinct {
		patterns = append(patterns, set.patterns...)
	}
	return SetOf(patterns...)
}

// Intersect returns the hosts that are in s and in other.
func (s Set) Intersect(other Set) Set {
	switch {
	case other.every, s.isSame(other):
		return s
	case s.every:
		return other
	}
	var both []string
	s.overlaps(other, func(pattern, match string) bool {
		both = append(both, Intersect(pattern, match))
		return true
	})
	return SetOf(both...)
}

// Overlaps reports whether a host is in s and in other.
func (s Set) Overlaps(other Set) bool {
	switch {
	case other.every:
		return !s.IsEmpty()
	case s.every, s.isSame(other):
		return !other.IsEmpty()
	}
	found := false
	s.overlaps(other, func(string, string) bool {
		found = true
		return false
	})
	return found
}

// overlaps calls yield with each pair of overlapping patterns of two sets of some hosts, until it
// returns false.
func (s Set) overlaps(other Set, yield func(pattern, match string) bool) {
	if s.index != nil && len(other.patterns) < len(s.patterns) {
		s, other = other, s
	}
	for _, pattern := range s.patterns {
		if other.index != nil {
			for match := range other.index.Overlapping(pattern) {
				if !yield(pattern, match) {
					return
				}
			}
			continue
		}
		for _, match := range other.patterns {
			if Overlap(pattern, match) && !yield(pattern, match) {
				return
			}
		}
	}
}

// Contains reports whether each pattern of other is covered by one of s.
func (s Set) Contains(other Set) bool {
	switch {
	case s.every, s.isSame(other):
		return true
	case other.every:
		return false
	}
	return !slices.ContainsFunc(other.patterns, func(pattern string) bool {
		if s.index != nil {
			return !s.index.Covers(pattern)
		}
		return !slices.ContainsFunc(s.patterns, func(p string) bool { return Match(p, pattern) })
	})
}

// String names the first few hosts, for errors and logs.
func (s Set) String() string {
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

func newIndex(patterns []string) *Map[struct{}] {
	index := new(Map[struct{}])
	for _, pattern := range patterns {
		index.Insert(pattern, struct{}{})
	}
	return index
}
