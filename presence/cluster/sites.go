package cluster

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Limits of the sites of other pods. A pod with more counts as serving every host; if it is queried
// for a host that it does not serve, its reply says so.
const (
	maxSiteParts = 64
	maxSiteBytes = 64 << 20  // incomplete announcements of all pods
	maxServed    = 256 << 20 // sites of all pods

	askSitesEvery = time.Second
)

// announcement has the sites of this pod, as messages.
type announcement struct {
	sum    uint64
	parts  []*message.Sites
	served *served
}

// announce makes an announcement. It does not depend on the order of sites.
func announce(sites []message.Site) announcement {
	parts := message.SplitSites(&message.Sites{Sites: canonical(sites)})
	if len(parts) > maxSiteParts {
		parts = []*message.Sites{{Parts: 1, Sites: []message.Site{{}}}}
	}
	var all []message.Site
	for _, part := range parts {
		all = append(all, part.Sites...)
	}
	a := announcement{sum: sumOf(all), parts: parts}
	for _, part := range parts {
		part.Sum = a.sum
	}
	a.served = compile(a.sum, all)
	return a
}

func canonical(sites []message.Site) []message.Site {
	all := make([]message.Site, len(sites))
	for i, site := range sites {
		for _, set := range site.Sets {
			set = slices.Clone(set)
			slices.Sort(set)
			all[i].Sets = append(all[i].Sets, slices.Compact(set))
		}
		slices.SortFunc(all[i].Sets, slices.Compare)
	}
	order := func(a, b message.Site) int { return slices.CompareFunc(a.Sets, b.Sets, slices.Compare) }
	slices.SortFunc(all, order)
	return slices.CompactFunc(all, func(a, b message.Site) bool { return order(a, b) == 0 })
}

// sumOf returns the sum of the sites, which is the same on all pods.
func sumOf(sites []message.Site) uint64 {
	d := xxhash.New()
	var b []byte
	for _, site := range sites {
		b = binary.AppendUvarint(b[:0], uint64(len(site.Sets)))
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

// setSites replaces and announces the sites of this pod.
func (m *members) setSites(sites []message.Site) {
	a := announce(sites)
	changed := false
	m.change(func(time.Time) {
		changed = m.own.sum != a.sum
		m.own = a
	})
	if changed {
		m.beat() // at once, so that other pods do not wait a second to learn that this pod serves a new host
	}
}

// siteParts holds the parts of a pod's announcement until all of them have arrived.
type siteParts struct {
	sum   uint64
	parts []*message.Sites
	got   int
	bytes int
}

// updateSum records the sum of a pod's sites, and requests the sites if they are not known.
func (m *members) updateSum(pod *member, sum uint64, now time.Time) {
	if pod.sum != sum {
		pod.sum, pod.parts = sum, siteParts{}
		if pod.served != nil && pod.served.sum != sum {
			pod.served = nil
			p := pod.peer
			m.afterChange(func() { m.follow.sitesChanged(p) })
		}
	}
	if pod.served != nil {
		return
	}
	if known := m.servedBySum(sum); known != nil {
		m.setServed(pod, known)
		return
	}
	if !pod.sitesRequested.IsZero() && now.Sub(pod.sitesRequested) < askSitesEvery {
		return
	}
	pod.sitesRequested, pod.parts = now, siteParts{}
	p := pod.peer
	m.afterChange(func() { m.link.send(m.link.inbox(p), &message.SitesWanted{}) })
}

// servedBySum finds sites that another pod has too: most pods have the same configuration.
func (m *members) servedBySum(sum uint64) *served {
	if m.own.sum == sum {
		return m.own.served
	}
	for _, pod := range m.pods {
		if pod.served != nil && pod.served.sum == sum {
			return pod.served
		}
	}
	return nil
}

func (m *members) setServed(pod *member, s *served) {
	pod.served, pod.parts = s, siteParts{}
	p := pod.peer
	m.afterChange(func() { m.follow.sitesChanged(p) })
}

// sendSites sends the sites of this pod to a pod that has requested them.
func (m *members) sendSites(to peer, now time.Time) {
	pod := m.pods[to]
	if pod == nil || !pod.sitesSent.IsZero() && now.Sub(pod.sitesSent) < askSitesEvery/2 {
		return
	}
	pod.sitesSent = now
	parts := m.own.parts
	m.afterChange(func() {
		for _, part := range parts {
			m.link.send(m.link.inbox(to), part)
		}
	})
}

// addSites handles a part of a pod's announcement.
func (m *members) addSites(from peer, part *message.Sites) {
	pod := m.pods[from]
	if pod == nil || pod.served != nil || part.Sum != pod.sum {
		return
	}
	if part.Parts > maxSiteParts || part.Part >= part.Parts {
		m.link.oversized.Add(1)
		return
	}
	at := &pod.parts
	if at.parts == nil {
		*at = siteParts{sum: part.Sum, parts: make([]*message.Sites, part.Parts)}
	}
	if int(part.Parts) != len(at.parts) || at.parts[part.Part] != nil {
		return // it is repeated, or belongs to another announcement
	}
	size := sizeOfSites(part.Sites)
	if m.assembling()+size > maxSiteBytes {
		m.link.oversized.Add(1)
		pod.parts = siteParts{}
		return
	}
	at.parts[part.Part], at.got, at.bytes = part, at.got+1, at.bytes+size
	if at.got < len(at.parts) {
		return
	}
	var all []message.Site
	for _, part := range at.parts {
		all = append(all, part.Sites...)
	}
	pod.parts = siteParts{}
	if sumOf(all) != part.Sum {
		m.link.malformed.Add(1)
		return
	}
	s := compile(part.Sum, all)
	if m.keeping()+s.bytes > maxServed {
		m.link.oversized.Add(1)
		s = &served{sum: part.Sum, every: true}
	}
	m.setServed(pod, s)
}

func (m *members) assembling() (bytes int) {
	for _, pod := range m.pods {
		bytes += pod.parts.bytes
	}
	return bytes
}

func (m *members) keeping() (bytes int) {
	counted := make(map[*served]bool)
	for _, pod := range m.pods {
		if s := pod.served; s != nil && !counted[s] {
			counted[s] = true
			bytes += s.bytes
		}
	}
	return bytes
}

// sizeOfSites estimates the memory of sites, in bytes.
func sizeOfSites(sites []message.Site) (bytes int) {
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
