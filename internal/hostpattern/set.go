package hostpattern

import (
	"fmt"
	"slices"
	"strings"
)

// Set is a set of hosts: every host, or those that one of the patterns matches. The zero value is empty.
type Set struct {
	every    bool
	patterns []string       // in the order in which they were given, each once
	index    *Map[struct{}] // of the patterns; nil for few of them
}

// Every is the set of every host.
var Every = Set{every: true}

// fewPatterns is the number of patterns up to which a set has no index of its own.
const fewPatterns = 16

// SetOf returns the set of the hosts that canonical patterns match.
func SetOf(patterns ...string) Set {
	s := Set{patterns: compact(patterns)}
	if len(s.patterns) > fewPatterns {
		s.index = s.indexed()
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

// IsEmpty reports whether the set has no host.
func (s Set) IsEmpty() bool { return !s.every && len(s.patterns) == 0 }

// Patterns returns the patterns of the set, each once. There is none if it is empty or has every host.
func (s Set) Patterns() []string { return s.patterns }

// Union returns the hosts that are in any of the sets.
func Union(sets ...Set) Set {
	if len(sets) == 1 {
		return sets[0]
	}
	var patterns []string
	for _, set := range sets {
		if set.every {
			return Every
		}
		patterns = append(patterns, set.patterns...)
	}
	return SetOf(patterns...)
}

// Intersect returns the hosts that are in s and in other.
func (s Set) Intersect(other Set) Set {
	switch {
	case other.every:
		return s
	case s.every:
		return other
	}
	if s.index != nil && len(other.patterns) < len(s.patterns) {
		s, other = other, s
	}
	var both []string
	index := other.indexed()
	for _, pattern := range s.patterns {
		for match := range index.Overlapping(pattern) {
			both = append(both, Intersect(pattern, match))
		}
	}
	return SetOf(both...)
}

// Overlaps reports whether a host is in s and in other.
func (s Set) Overlaps(other Set) bool {
	switch {
	case other.every:
		return !s.IsEmpty()
	case s.every:
		return !other.IsEmpty()
	}
	if s.index != nil && len(other.patterns) < len(s.patterns) {
		s, other = other, s
	}
	index := other.indexed()
	return slices.ContainsFunc(s.patterns, func(pattern string) bool {
		for range index.Overlapping(pattern) {
			return true
		}
		return false
	})
}

// Contains reports whether each pattern of other is covered by one of s.
func (s Set) Contains(other Set) bool {
	if s.every {
		return true
	}
	if other.every {
		return false
	}
	if len(other.patterns) == 0 {
		return true
	}
	index := s.indexed()
	return !slices.ContainsFunc(other.patterns, func(pattern string) bool {
		for match := range index.Overlapping(pattern) {
			if Intersect(pattern, match) == pattern {
				return false
			}
		}
		return true
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

// indexed returns the index of the patterns.
func (s Set) indexed() *Map[struct{}] {
	if s.index != nil {
		return s.index
	}
	index := new(Map[struct{}])
	for _, pattern := range s.patterns {
		index.Insert(pattern, struct{}{})
	}
	return index
}
