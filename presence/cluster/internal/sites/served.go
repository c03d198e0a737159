package sites

import (
	"slices"

	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Served has the hosts that a pod serves, for look-ups. If nil, the pod may serve every host.
type Served struct {
	Sum   uint64
	Bytes int
	every bool
	first hostpattern.Map[[]int32]      // sites by the patterns of their first set
	rest  [][]hostpattern.Map[struct{}] // other sets, by site
	// parts has the sorted hashes of the sites, and of each pattern of a site with one set; see
	// Covers.
	parts []uint64
	// events has the hosts for which the pod has events; nil without them.
	events *Served
}

// maxShapes limits the look-ups for one host.
const maxShapes = 64

// EveryHost returns what serves every host.
func EveryHost(sum uint64) *Served { return &Served{Sum: sum, every: true} }

// Compile returns the hosts of the sites, with their sum.
func Compile(sum uint64, sites []message.Site) *Served {
	s := compile(sum, sites)
	s.parts = partsOf(sites)
	var events []message.Site
	for _, site := range sites {
		if site.Events {
			events = append(events, site)
		}
	}
	if len(events) > 0 {
		s.events = compile(sum, events)
		s.Bytes += s.events.Bytes
	}
	return s
}

func compile(sum uint64, sites []message.Site) *Served {
	s := &Served{Sum: sum, Bytes: 2 * Size(sites), rest: make([][]hostpattern.Map[struct{}], len(sites))}
	everything := EveryHost(sum)
	for i, site := range sites {
		if len(site.Sets) == 0 {
			return everything
		}
		for _, pattern := range site.Sets[0] {
			before, _ := s.first.Get(pattern)
			if s.first.Insert(pattern, append(before, int32(i))); s.first.WildShapes() > maxShapes {
				return everything
			}
		}
		for _, set := range site.Sets[1:] {
			var patterns hostpattern.Map[struct{}]
			for _, pattern := range set {
				if patterns.Insert(pattern, struct{}{}); patterns.WildShapes() > maxShapes {
					return everything
				}
			}
			s.rest[i] = append(s.rest[i], patterns)
		}
	}
	return s
}

// Serves reports whether a site serves the host.
func (s *Served) Serves(host string) bool {
	if s == nil || s.every {
		return true
	}
	for _, sites := range s.first.Matching(host) {
		for _, site := range sites {
			if s.restServes(site, host) {
				return true
			}
		}
	}
	return false
}

// Covers reports whether s serves all hosts that other serves. It compares sites and patterns, and
// returns false if they do not show it.
func (s *Served) Covers(other *Served) bool {
	if s == nil || s.every {
		return true
	}
	if other == nil || other.every {
		return false
	}
	return !slices.ContainsFunc(other.parts, func(part uint64) bool {
		_, found := slices.BinarySearch(s.parts, part)
		return !found
	})
}

// partsOf returns the parts of sites for Covers.
func partsOf(sites []message.Site) (parts []uint64) {
	for _, site := range sites {
		if len(site.Sets) != 1 {
			parts = append(parts, Sum([]message.Site{{Sets: site.Sets}}))
			continue
		}
		for _, pattern := range site.Sets[0] {
			parts = append(parts, Sum([]message.Site{{Sets: [][]string{{pattern}}}}))
		}
	}
	slices.Sort(parts)
	return slices.Compact(parts)
}

// restServes reports whether each set of a site other than the first has the host.
func (s *Served) restServes(site int32, host string) bool {
	for i := range s.rest[site] {
		if _, ok := s.rest[site][i].Find(host); !ok {
			return false
		}
	}
	return true
}

// SpeaksCached reports whether the pod has events for the host, with a cache for one host.
func (s *Served) SpeaksCached(looked map[*Served]bool, host string) bool {
	return s != nil && s.events != nil && s.events.ServesCached(looked, host)
}

// Speaks reports whether the pod has events for any host.
func (s *Served) Speaks() bool { return s != nil && s.events != nil }

// ServesCached is Serves with a cache for one host.
func (s *Served) ServesCached(looked map[*Served]bool, host string) bool {
	yes, ok := looked[s]
	if !ok {
		yes = s.Serves(host)
		looked[s] = yes
	}
	return yes
}
