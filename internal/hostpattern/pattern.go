// Package hostpattern compares host names with patterns, and finds the patterns that match a host
// without looking at all of them.
//
// A pattern is a canonical host name in which labels can be "*". Such a label stands for exactly
// one label, as in Caddy's host matcher. [Map] holds values by pattern, [Set] is a set of hosts.
package hostpattern

import (
	"slices"
	"strings"

	"github.com/rollcall-gateway/rollcall/presence"
)

// Parse returns the canonical form of a pattern. It reports false for a pattern that matches no
// canonical host.
func Parse(s string) (string, bool) {
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

// IsName reports whether a pattern is the name of one host.
func IsName(pattern string) bool { return !strings.Contains(pattern, "*") }

// Match reports whether a pattern matches a host, or all hosts that another pattern matches.
func Match(pattern, host string) bool {
	if IsName(pattern) {
		return pattern == host
	}
	return eachLabel(pattern, host, func(label, name string) bool { return label == name || label == "*" })
}

// Overlap reports whether there is a host that both patterns match.
func Overlap(a, b string) bool {
	if IsName(a) && IsName(b) {
		return a == b
	}
	return eachLabel(a, b, func(one, other string) bool { return one == other || one == "*" || other == "*" })
}

// eachLabel reports whether two patterns have the same number of labels, and a condition holds for
// each pair.
func eachLabel(a, b string, holds func(one, other string) bool) bool {
	for {
		one, restOfA, moreOfA := strings.Cut(a, ".")
		other, restOfB, moreOfB := strings.Cut(b, ".")
		if moreOfA != moreOfB || !holds(one, other) {
			return false
		}
		if !moreOfA {
			return true
		}
		a, b = restOfA, restOfB
	}
}

// Labels returns the number of labels.
func Labels(pattern string) int { return strings.Count(pattern, ".") + 1 }

// FixedLabels returns the number of labels that are not "*". A pattern with more of them is more
// specific.
func FixedLabels(pattern string) int { return strings.Count(starsOf(pattern), "-") }

// Intersect returns the pattern of the hosts that both of two overlapping patterns match.
func Intersect(a, b string) string {
	if a == b || IsName(a) {
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

// starsOf returns the shape of a pattern: '*' or '-' for each label.
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

// eitherStars returns the places that are '*' in a or in b, which have the same length.
func eitherStars(a, b string) string {
	stars := []byte(a)
	for i := range stars {
		if b[i] == '*' {
			stars[i] = '*'
		}
	}
	return string(stars)
}
