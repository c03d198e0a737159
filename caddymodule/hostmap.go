package caddymodule

import (
	"cmp"
	"iter"
	"slices"
	"strings"
)

// hostMap holds values by host pattern, so that the most specific pattern for a host is found without looking at all of
// them. The zero value is empty. It is not safe for concurrent changes.
type hostMap[V any] struct {
	// shapes has the shapes by number of labels, the most specific first.
	shapes map[int][]*hostShape[V]
}

// hostShape holds the patterns that have "*" at the same places: a lookup is one in a map for each shape.
type hostShape[V any] struct {
	stars   string // for each label '*' or '-'
	fixed   int    // labels that are not "*"
	entries map[string]V
	// masked has, for each shape with as many labels that this one was compared with, the patterns by what is left of
	// them when the labels are "*" that are "*" in either of the two.
	masked map[string]map[string][]string
}

// starsOf returns the shape of a pattern.
func starsOf(pattern string) string {
	stars := make([]byte, 0, 8)
	for label := range strings.SplitSeq(pattern, ".") {
		if label == "*" {
			stars = append(stars, '*')
		} else {
			stars = append(stars, '-')
		}
	}
	return string(stars)
}

// fixedLabels returns how many labels of a pattern are not "*": the more, the more specific.
func fixedLabels(pattern string) int { return strings.Count(starsOf(pattern), "-") }

// mask returns the pattern with "*" at the places of stars.
func mask(pattern, stars string) string {
	if !strings.Contains(stars, "*") {
		return pattern
	}
	var b strings.Builder
	b.Grow(len(pattern))
	i := 0
	for label := range strings.SplitSeq(pattern, ".") {
		if i > 0 {
			b.WriteByte('.')
		}
		if stars[i] == '*' {
			label = "*"
		}
		b.WriteString(label)
		i++
	}
	return b.String()
}

// eitherStars returns the places that are '*' in a or in b, which are equally long.
func eitherStars(a, b string) string {
	stars := []byte(a)
	for i := range stars {
		if b[i] == '*' {
			stars[i] = '*'
		}
	}
	return string(stars)
}

// insert sets the value of a pattern.
func (m *hostMap[V]) insert(pattern string, v V) {
	stars := starsOf(pattern)
	shape := m.shape(stars)
	if shape == nil {
		shape = m.addShape(stars)
	}
	if _, known := shape.entries[pattern]; !known {
		for either, patterns := range shape.masked {
			key := mask(pattern, either)
			patterns[key] = append(patterns[key], pattern)
		}
	}
	shape.entries[pattern] = v
}

// get returns the value of exactly this pattern.
func (m *hostMap[V]) get(pattern string) (v V, ok bool) {
	if shape := m.shape(starsOf(pattern)); shape != nil {
		v, ok = shape.entries[pattern]
	}
	return v, ok
}

// find returns the value of the most specific pattern that matches the host.
func (m *hostMap[V]) find(host string) (V, bool) {
	for _, shape := range m.shapes[strings.Count(host, ".")+1] {
		if v, ok := shape.entries[mask(host, shape.stars)]; ok {
			return v, true
		}
	}
	var none V
	return none, false
}

// overlapping returns the patterns that match a host that this pattern matches too, the most specific first.
func (m *hostMap[V]) overlapping(pattern string) iter.Seq2[string, V] {
	stars := starsOf(pattern)
	return func(yield func(string, V) bool) {
		for _, shape := range m.shapes[len(stars)] {
			either := eitherStars(stars, shape.stars)
			if either == shape.stars {
				key := mask(pattern, either)
				if v, ok := shape.entries[key]; ok && !yield(key, v) {
					return
				}
				continue
			}
			for _, other := range shape.under(either)[mask(pattern, either)] {
				if !yield(other, shape.entries[other]) {
					return
				}
			}
		}
	}
}

// all returns each pattern with its value.
func (m *hostMap[V]) all() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, shapes := range m.shapes {
			for _, shape := range shapes {
				for pattern, v := range shape.entries {
					if !yield(pattern, v) {
						return
					}
				}
			}
		}
	}
}

func (m *hostMap[V]) shape(stars string) *hostShape[V] {
	for _, shape := range m.shapes[len(stars)] {
		if shape.stars == stars {
			return shape
		}
	}
	return nil
}

func (m *hostMap[V]) addShape(stars string) *hostShape[V] {
	shape := &hostShape[V]{
		stars: stars, fixed: strings.Count(stars, "-"),
		entries: make(map[string]V), masked: make(map[string]map[string][]string),
	}
	if m.shapes == nil {
		m.shapes = make(map[int][]*hostShape[V])
	}
	shapes := append(m.shapes[len(stars)], shape)
	slices.SortStableFunc(shapes, func(a, b *hostShape[V]) int { return cmp.Compare(b.fixed, a.fixed) })
	m.shapes[len(stars)] = shapes
	return shape
}

// under returns the patterns by what is left of them under other stars.
func (s *hostShape[V]) under(stars string) map[string][]string {
	if patterns, ok := s.masked[stars]; ok {
		return patterns
	}
	patterns := make(map[string][]string)
	for pattern := range s.entries {
		key := mask(pattern, stars)
		patterns[key] = append(patterns[key], pattern)
	}
	s.masked[stars] = patterns
	return patterns
}
