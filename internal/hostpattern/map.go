package hostpattern

import (
	"cmp"
	"iter"
	"slices"
	"strings"
)

// Map holds values by pattern. The time of a look-up depends on the number of shapes, which are the
// places of "*", and not on the number of patterns. The zero value is empty. Find, Get, Matching
// and All are safe for concurrent use. Insert is not, nor are the other methods, which keep an
// index.
type Map[V any] struct {
	shapes map[int][]*shape[V] // shapes by number of labels, the most specific first
	wild   int                 // number of shapes with a "*"
}

// shape holds the patterns that have "*" at the same places.
type shape[V any] struct {
	stars   string // '*' or '-' for each label
	fixed   int    // labels that are not "*"
	entries map[string]V
	// masked has the patterns by mask and masked form, for each mask that they were compared under.
	// The mask of two shapes has "*" where either of them has it.
	masked map[string]map[string][]string
}

// Insert sets the value of a pattern.
func (m *Map[V]) Insert(pattern string, v V) {
	stars := starsOf(pattern)
	s := m.shape(stars)
	if s == nil {
		s = m.addShape(stars)
	}
	if _, known := s.entries[pattern]; !known {
		for either, patterns := range s.masked {
			key := mask(pattern, either)
			patterns[key] = append(patterns[key], pattern)
		}
	}
	s.entries[pattern] = v
}

// Get returns the value of exactly this pattern.
func (m *Map[V]) Get(pattern string) (v V, ok bool) {
	if s := m.shape(starsOf(pattern)); s != nil {
		v, ok = s.entries[pattern]
	}
	return v, ok
}

// Find returns the value of the most specific pattern that matches the host.
func (m *Map[V]) Find(host string) (v V, ok bool) {
	for _, v := range m.Matching(host) {
		return v, true
	}
	return v, false
}

// Matching yields the patterns that match the host with their values, the most specific first.
func (m *Map[V]) Matching(host string) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, s := range m.shapes[strings.Count(host, ".")+1] {
			pattern := mask(host, s.stars)
			if v, ok := s.entries[pattern]; ok && !yield(pattern, v) {
				return
			}
		}
	}
}

// Overlapping yields the patterns that match a host that this pattern matches too, the most
// specific first.
func (m *Map[V]) Overlapping(pattern string) iter.Seq2[string, V] {
	return m.overlapping(pattern, func(int) bool { return true })
}

// OverlappingFixed is Overlapping for the patterns with a number of fixed labels.
func (m *Map[V]) OverlappingFixed(pattern string, fixed int) iter.Seq2[string, V] {
	return m.overlapping(pattern, func(n int) bool { return n == fixed })
}

func (m *Map[V]) overlapping(pattern string, fixed func(int) bool) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		stars := starsOf(pattern)
		for _, s := range m.shapes[len(stars)] {
			if fixed(s.fixed) && !s.overlapping(pattern, stars, yield) {
				return
			}
		}
	}
}

// overlapping yields the patterns of the shape that overlap with a pattern. It reports whether to
// continue.
func (s *shape[V]) overlapping(pattern, stars string, yield func(string, V) bool) bool {
	either := eitherStars(stars, s.stars)
	if either == s.stars {
		key := mask(pattern, either)
		v, ok := s.entries[key]
		return !ok || yield(key, v)
	}
	for _, other := range s.under(either)[mask(pattern, either)] {
		if !yield(other, s.entries[other]) {
			return false
		}
	}
	return true
}

// Covers reports whether one of the patterns matches every host that this pattern matches.
func (m *Map[V]) Covers(pattern string) bool {
	for other := range m.Overlapping(pattern) {
		if Intersect(pattern, other) == pattern {
			return true
		}
	}
	return false
}

// All yields each pattern with its value, in no order.
func (m *Map[V]) All() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, shapes := range m.shapes {
			for _, s := range shapes {
				for pattern, v := range s.entries {
					if !yield(pattern, v) {
						return
					}
				}
			}
		}
	}
}

// WildShapes returns the number of different places of "*" that the patterns have. It bounds the
// time of a look-up.
func (m *Map[V]) WildShapes() int { return m.wild }

func (m *Map[V]) shape(stars string) *shape[V] {
	for _, s := range m.shapes[len(stars)] {
		if s.stars == stars {
			return s
		}
	}
	return nil
}

func (m *Map[V]) addShape(stars string) *shape[V] {
	s := &shape[V]{stars: stars, fixed: strings.Count(stars, "-"), entries: make(map[string]V)}
	if m.shapes == nil {
		m.shapes = make(map[int][]*shape[V])
	}
	if s.fixed < len(stars) {
		m.wild++
	}
	shapes := append(m.shapes[len(stars)], s)
	slices.SortStableFunc(shapes, func(a, b *shape[V]) int { return cmp.Compare(b.fixed, a.fixed) })
	m.shapes[len(stars)] = shapes
	return s
}

// under returns the patterns by their form under a mask.
func (s *shape[V]) under(stars string) map[string][]string {
	if patterns, ok := s.masked[stars]; ok {
		return patterns
	}
	patterns := make(map[string][]string)
	for pattern := range s.entries {
		key := mask(pattern, stars)
		patterns[key] = append(patterns[key], pattern)
	}
	if s.masked == nil {
		s.masked = make(map[string]map[string][]string)
	}
	s.masked[stars] = patterns
	return patterns
}
