// Package sites has the sites that a pod serves: an [Announcement] has them as messages, with a sum
// by which pods compare them, and [Served] answers which hosts they serve. Its values do not
// change, so they need no lock.
package sites

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// MaxParts limits the messages of an announcement.
const MaxParts = 64

// Announcement has the sites of this pod, as messages.
type Announcement struct {
	Sum    uint64
	Parts  []*message.Sites
	Served *Served
}

// Announce makes an announcement. It does not depend on the order of sites.
func Announce(sites []message.Site) Announcement {
	parts := message.SplitSites(&message.Sites{Sites: canonical(sites)})
	if len(parts) > MaxParts {
		events := slices.ContainsFunc(sites, func(s message.Site) bool { return s.Events })
		parts = []*message.Sites{{Parts: 1, Sites: []message.Site{{Events: events}}}}
	}
	a := Announcement{Parts: parts}
	all := a.Sites()
	a.Sum = Sum(all)
	for _, part := range parts {
		part.Sum = a.Sum
	}
	a.Served = Compile(a.Sum, all)
	return a
}

// Sites returns the announced sites.
func (a *Announcement) Sites() (all []message.Site) {
	for _, part := range a.Parts {
		all = append(all, part.Sites...)
	}
	return all
}

// canonical returns the sites in an order of their own, without duplicates.
func canonical(sites []message.Site) []message.Site {
	all := make([]message.Site, len(sites))
	for i, site := range sites {
		all[i].Events = site.Events
		for _, set := range site.Sets {
			set = slices.Clone(set)
			slices.Sort(set)
			all[i].Sets = append(all[i].Sets, slices.Compact(set))
		}
		slices.SortFunc(all[i].Sets, slices.Compare)
	}
	order := func(a, b message.Site) int {
		switch c := slices.CompareFunc(a.Sets, b.Sets, slices.Compare); {
		case c != 0 || a.Events == b.Events:
			return c
		case a.Events:
			return 1
		}
		return -1
	}
	slices.SortFunc(all, order)
	return slices.CompactFunc(all, func(a, b message.Site) bool { return order(a, b) == 0 })
}

// Sum returns the sum of the sites, which is the same on all pods.
func Sum(sites []message.Site) uint64 {
	d := xxhash.New()
	var b []byte
	for _, site := range sites {
		b = b[:0]
		if site.Events {
			b = binary.AppendUvarint(b, math.MaxUint64) // no number of sets
		}
		b = binary.AppendUvarint(b, uint64(len(site.Sets)))
		for _, set := range site.Sets {
			b = binary.AppendUvarint(b, uint64(len(set)))
			for _, pattern := range set {
				b = binary.AppendUvarint(b, uint64(len(pattern)))
				b = append(b, pattern...)
			}
		}
		_, _ = d.Write(b) // never fails
	}
	return d.Sum64()
}

// Size estimates the memory of sites, in bytes.
func Size(sites []message.Site) (bytes int) {
	for _, site := range sites {
		bytes += 24
		for _, set := range site.Sets {
			bytes += 24
			for _, pattern := range set {
				bytes += 16 + len(pattern)
			}
		}
	}
	return bytes
}
