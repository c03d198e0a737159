package cluster

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Limits of the sites of other pods. A pod with more counts as serving every host; if it is queried
// for a host that it does not serve, its reply says so.
const (
	maxSiteBytes = 64 << 20  // incomplete announcements of all pods
	maxServed    = 256 << 20 // sites of all pods

	askSitesEvery = time.Second
)

// setSites replaces and announces the sites of this pod.
func (m *members) setSites(list []message.Site) {
	a := announce(list)
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
			m.afterChange(func() { m.observer.SitesChanged(p) })
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
	m.afterChange(func() { m.observer.SitesChanged(p) })
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
		m.link.counts.oversized.Add(1)
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
		m.link.counts.oversized.Add(1)
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
		m.link.counts.malformed.Add(1)
		return
	}
	s := compile(part.Sum, all)
	if m.keeping()+s.bytes > maxServed {
		m.link.counts.oversized.Add(1)
		s = everyHost(part.Sum)
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
