package membership

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/sites"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Limits of the sites of other pods. A pod with more counts as serving every host; if it is queried
// for a host that it does not serve, its reply says so.
const (
	maxSiteBytes = 64 << 20  // incomplete announcements of all pods
	maxServed    = 256 << 20 // sites of all pods

	askSitesEvery = time.Second
)

// SetSites replaces and announces the sites of this pod.
func (m *Members) SetSites(list []message.Site) {
	a := sites.Announce(list)
	changed := false
	m.change(func(time.Time) {
		changed = m.own.Sum != a.Sum
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
func (m *Members) updateSum(pod *member, sum uint64, now time.Time) {
	if pod.sum != sum {
		if pod.sum != 0 && m.missedByAnother() {
			m.noteNews(pod.Peer, now) // a pod that misses it names it for other hosts now
			m.pulse.wake.Wake()
		}
		pod.sum, pod.parts = sum, siteParts{}
		if pod.served != nil && pod.served.Sum != sum {
			pod.served = nil
			p := pod.Peer
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
	m.requestSites(pod, now)
}

func (m *Members) requestSites(pod *member, now time.Time) {
	pod.sitesRequested, pod.parts = now, siteParts{}
	p := pod.Peer
	m.afterChange(func() { m.link.Send(m.link.Inbox(p), &message.SitesWanted{}) })
}

// servedBySum finds sites that another pod has too: most pods have the same configuration.
func (m *Members) servedBySum(sum uint64) *sites.Served {
	if m.own.Sum == sum {
		return m.own.Served
	}
	for _, pod := range m.pods {
		if pod.served != nil && pod.served.Sum == sum {
			return pod.served
		}
	}
	for _, l := range m.lost {
		if l.served != nil && l.served.Sum == sum {
			return l.served
		}
	}
	return nil
}

func (m *Members) setServed(pod *member, s *sites.Served) {
	pod.served, pod.parts = s, siteParts{}
	if s == m.own.Served { // the next run of this pod may serve others
		m.noteSites(s.Sum, m.own.Sites())
	}
	m.noteRuns()
	p := pod.Peer
	m.afterChange(func() { m.observer.SitesChanged(p) })
}

// sendSites sends the sites of this pod to a pod that has requested them.
func (m *Members) sendSites(to link.Peer, now time.Time) {
	pod := m.pods[to]
	if pod == nil || !pod.sitesSent.IsZero() && now.Sub(pod.sitesSent) < askSitesEvery/2 {
		return
	}
	pod.sitesSent = now
	parts := m.own.Parts
	m.afterChange(func() {
		for _, part := range parts {
			m.link.Send(m.link.Inbox(to), part)
		}
	})
}

// addSites handles a part of a pod's announcement.
func (m *Members) addSites(from link.Peer, part *message.Sites) {
	pod := m.pods[from]
	if pod == nil || pod.served != nil || part.Sum != pod.sum {
		return
	}
	if part.Parts > sites.MaxParts || part.Part >= part.Parts {
		m.link.Counts.Oversized.Add(1)
		return
	}
	at := &pod.parts
	if at.parts == nil {
		*at = siteParts{sum: part.Sum, parts: make([]*message.Sites, part.Parts)}
	}
	if int(part.Parts) != len(at.parts) || at.parts[part.Part] != nil {
		return // it is repeated, or belongs to another announcement
	}
	size := sites.Size(part.Sites)
	if m.assembling()+size > maxSiteBytes {
		m.link.Counts.Oversized.Add(1)
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
	if sites.Sum(all) != part.Sum {
		m.link.Counts.Malformed.Add(1)
		return
	}
	s := sites.Compile(part.Sum, all)
	if m.keeping()+s.Bytes > maxServed {
		m.link.Counts.Oversized.Add(1)
		s = sites.EveryHost(part.Sum)
	} else {
		m.noteSites(part.Sum, all)
	}
	m.setServed(pod, s)
}

func (m *Members) assembling() (bytes int) {
	for _, pod := range m.pods {
		bytes += pod.parts.bytes
	}
	return bytes
}

func (m *Members) keeping() (bytes int) {
	counted := make(map[*sites.Served]bool)
	count := func(s *sites.Served) {
		if s != nil && !counted[s] {
			counted[s] = true
			bytes += s.Bytes
		}
	}
	for _, pod := range m.pods {
		count(pod.served)
	}
	for _, l := range m.lost {
		count(l.served)
	}
	return bytes
}
