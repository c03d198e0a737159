package cluster

import (
	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// served has the hosts that a pod serves, for look-ups. If nil, the pod may serve every host.
type served struct {
	sum   uint64
	bytes int
	every bool
	first hostpattern.Map[[]int32]      // sites by the patterns of their first set
	rest  [][]hostpattern.Map[struct{}] // other sets, by site
}

// maxShapes limits the look-ups for one host.
const maxShapes = 64

// everyHost returns what serves every host.
func everyHost(sum uint64) *served { return &served{sum: sum, every: true} }

// compile returns the hosts of the sites, with their sum.
func compile(sum uint64, sites []message.Site) *served {
	s := &served{sum: sum, bytes: 2 * sizeOfSites(sites), rest: make([][]hostpattern.Map[struct{}], len(sites))}
	everything := everyHost(sum)
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

// serves reports whether a site serves the host.
func (s *served) serves(host string) bool {
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

// restServes reports whether each set of a site other than the first has the host.
func (s *served) restServes(site int32, host string) bool {
	for i := range s.rest[site] {
		if _, ok := s.rest[site][i].Find(host); !ok {
			return false
		}
	}
	return true
}

// cachedServes is serves with a cache for one host.
func (s *served) cachedServes(looked map[*served]bool, host string) bool {
	yes, ok := looked[s]
	if !ok {
		yes = s.serves(host)
		looked[s] = yes
	}
	return yes
}
