package cluster

import (
	"slices"
	"strings"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// served is which hosts a pod serves, made for looking up one. A nil one serves every host.
type served struct {
	sum   uint64
	bytes int
	every bool
	first patterns     // of the first set of each site; the value is the site
	rest  [][]patterns // the other sets, by site
}

// patterns finds those that match a host.
type patterns struct {
	sites  map[string][]int32 // by pattern
	shapes []shape            // that patterns with '*' have
}

// shape is where a pattern has '*'.
type shape struct {
	labels int
	wild   []int
}

// maxShapes bounds the look-ups for one host.
const maxShapes = 64

func compile(sum uint64, sites []message.Site) *served {
	s := &served{sum: sum, bytes: 2 * sizeOfSites(sites), rest: make([][]patterns, len(sites))}
	s.first.sites = make(map[string][]int32, len(sites))
	for i, site := range sites {
		if len(site.Sets) == 0 {
			return &served{sum: sum, every: true}
		}
		fits := s.first.add(site.Sets[0], int32(i))
		for _, set := range site.Sets[1:] {
			p := patterns{sites: make(map[string][]int32, len(set))}
			fits = p.add(set, 0) && fits
			s.rest[i] = append(s.rest[i], p)
		}
		if !fits {
			return &served{sum: sum, every: true}
		}
	}
	return s
}

// add adds the patterns of a site. It returns false when they have too many shapes.
func (p *patterns) add(set []string, site int32) bool {
	for _, pattern := range set {
		p.sites[pattern] = append(p.sites[pattern], site)
		if !strings.Contains(pattern, "*") {
			continue
		}
		var sh shape
		for label := range strings.SplitSeq(pattern, ".") {
			if label == "*" {
				sh.wild = append(sh.wild, sh.labels)
			}
			sh.labels++
		}
		known := func(o shape) bool { return o.labels == sh.labels && slices.Equal(o.wild, sh.wild) }
		if !slices.ContainsFunc(p.shapes, known) {
			if p.shapes = append(p.shapes, sh); len(p.shapes) > maxShapes {
				return false
			}
		}
	}
	return true
}

// any reports whether there is a pattern that matches the host, of a site that ok accepts.
func (p *patterns) any(host string, ok func(site int32) bool) bool {
	if slices.ContainsFunc(p.sites[host], ok) {
		return true
	}
	labels := strings.Count(host, ".") + 1
	for _, sh := range p.shapes {
		if sh.labels != labels {
			continue
		}
		parts := strings.Split(host, ".")
		for _, i := range sh.wild {
			parts[i] = "*"
		}
		if slices.ContainsFunc(p.sites[strings.Join(parts, ".")], ok) {
			return true
		}
	}
	return false
}

// serves reports whether a site serves the host.
func (s *served) serves(host string) bool {
	if s == nil || s.every {
		return true
	}
	return s.first.any(host, func(site int32) bool {
		for i := range s.rest[site] {
			if !s.rest[site][i].any(host, func(int32) bool { return true }) {
				return false
			}
		}
		return true
	})
}

// remembers is serves with a memory for one host.
func (s *served) remembers(looked map[*served]bool, host string) bool {
	yes, ok := looked[s]
	if !ok {
		yes = s.serves(host)
		looked[s] = yes
	}
	return yes
}
