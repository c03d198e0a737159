package membership

import (
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/sites"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/work"
)

// backSoon is how long a pod that says that it starts again counts as missing.
const backSoon = 10 * time.Second

// lostPod is a pod that is missing: it can be alive, and this pod does not hear it. It is named in
// answers until it is heard, replaced or forgotten, or has crashed.
type lostPod struct {
	link.Peer
	id     uint64 // see link.Peer.ID
	seq    uint64 // number of its last known heartbeat
	tenure tenure
	heard  time.Time     // time at which it was last heard by a pod; the earliest of those that pods say
	lost   time.Time     // time at which this pod last heard it, or else another one; for majorities
	latest time.Time     // the latest time at which a pod says that it was heard
	since  time.Time     // start of the silence that counts for the verdict that it has crashed
	until  time.Time     // end of the time in which it starts again; zero without that
	sum    uint64        // sum of the sites that it served
	served *sites.Served // nil if unknown; then it may serve any host
}

// addLost adds a missing pod, and reports whether this run of it is new. If one of its runs is
// missing already, the later run stays, or the older silence, so that pods that repeat each other's
// words do not extend it.
func (m *Members) addLost(l *lostPod) bool {
	name := nameOf(l.Peer)
	known := m.lost[name]
	switch {
	case known == nil && len(m.lost) >= maxPods:
		return false
	case known == nil:
	case known.Peer == l.Peer:
		if l.seq >= known.seq && l.sum != known.sum { // it serves other hosts now
			known.sum, known.served = l.sum, l.served
			if l.served == nil {
				known.served = m.servedBySum(l.sum)
			}
			m.saveSoon.Wake()
		}
		known.seq = max(known.seq, l.seq)
		known.heard = work.Earliest(known.heard, l.heard)
		if l.heard.After(known.latest) {
			known.latest = l.heard
		}
		return false
	case later(known.Peer, l.Peer):
		return false
	}
	l.id = l.Peer.ID()
	l.latest = l.heard
	if l.lost = l.heard; known != nil {
		l.lost, l.tenure = known.lost, known.tenure // the name has been missing since then
	}
	if at := m.heardAgain[l.DC]; l.since.Before(at) {
		l.since = at
	}
	if l.served == nil {
		l.served = m.servedBySum(l.sum)
	}
	m.lost[name] = l
	m.noteRuns()
	return true
}

// dropLost drops a missing pod, because it has ended.
func (m *Members) dropLost(l *lostPod, now time.Time, reason string) {
	delete(m.lost, nameOf(l.Peer))
	m.recordEnd(l.Peer, l.seq, l.tenure, now)
	m.recordServed(l.Peer, l.served)
	m.markDead(l.Peer)
	m.log(m.logger.Info, "pod is no longer missing", l.Peer, reason)
	m.noteRuns()
}

// judgeLost finds missing pods that have crashed, and returns when to look again; zero if not by
// itself. A pod has crashed if this one has not heard it for Timing.Gone, no pod that this one
// hears has heard it in the last Timing.Suspect, and this pod hears more than half of the pods of
// its data center. So of two sides of a partition, at most one takes the pods of the other for
// crashed. The failure detector is eventually perfect (Chandra and Toueg, "Unreliable Failure
// Detectors for Reliable Distributed Systems", 1996).
func (m *Members) judgeLost(now time.Time) (next time.Time) {
	m.lookUrgently = false
	m.noteHearing(now)
	for _, l := range m.lost {
		switch {
		case now.Sub(l.heard) >= m.timing.Remember:
			m.dropLost(l, now, "forgotten after a day")
			m.markForgotten(l.Peer)
		case !l.until.IsZero() && !now.Before(l.until):
			m.dropLost(l, now, "did not start again")
		case !l.until.IsZero():
			next = work.Earliest(next, l.until)
		}
	}
	there := m.censuses()
	majority := make(map[string]bool, len(there))
	for dc := range there {
		majority[dc] = true
	}
	for _, l := range m.lost {
		if !there[l.DC].majority(l.lost) {
			majority[l.DC] = false
			m.lookUrgently = true // a pod may not have said yet that it hears this one
			continue
		}
		due := l.since.Add(m.timing.Gone)
		if lately := l.latest.Add(m.timing.Suspect); lately.After(due) {
			due = lately // the last run of another pod has heard it until then
		}
		if now.Before(due) {
			next = work.Earliest(next, due)
			continue
		}
		heard, known := m.heardByAnother(l.id)
		switch {
		case !known:
			m.lookUrgently = true
			next = work.Earliest(next, now.Add(judgeAgain))
		case heard:
			next = work.Earliest(next, now.Add(m.timing.Heartbeat))
		default:
			m.dropLost(l, now, "crashed")
		}
	}
	m.updateCut(majority)
	return next
}

// judgeAgain is the time between two looks at a missing pod of which another pod has not said yet
// whether it hears it.
const judgeAgain = 250 * time.Millisecond

// updateCut records which data centers have missing pods that cannot count as crashed.
func (m *Members) updateCut(majority map[string]bool) {
	if !m.pulse.settledNow() {
		return
	}
	for dc := range m.cut {
		if hears, missing := majority[dc]; !missing || hears {
			delete(m.cut, dc)
			m.afterChange(func() { m.logger.Info("data center is reachable again", zap.String("dc", dc)) })
		}
	}
	for dc, hears := range majority {
		if !hears && !m.cut[dc] {
			m.cut[dc] = true
			m.afterChange(func() {
				m.logger.Warn("data center is unreachable: half of its pods or more are silent", zap.String("dc", dc))
			})
		}
	}
}

// restartSilence starts the silence of missing pods anew: those of one data center, or with "" all.
// When a partition ends, its pods are heard one after another. Suspects are not missing yet, so the
// time is kept for them.
func (m *Members) restartSilence(dc string, now time.Time) {
	if dc != "" {
		m.heardAgain[dc] = now
	}
	for _, l := range m.lost {
		if dc == "" || l.DC == dc {
			l.since = now
		}
	}
}

// Unreachable returns the names of the pods that can be alive, serve the host and cannot be asked:
// those that are missing, and all while the bus is disconnected. A pod that does not hear the
// majority of its data center may count as crashed to others. It names the missing pods of its data
// center for every host, so that no two pods that take each other for crashed give complete
// answers. Of a host that this pod has begun to serve, it names the pods that the pod waits for,
// see SetSynced. The zero HostName is every host.
func (m *Members) Unreachable(host presence.HostName, scope Scope) []string {
	if scope == ScopePod {
		return nil
	}
	connected := m.pulse.connectedNow()
	waits, crashed := false, []link.Peer(nil)
	if !host.IsZero() {
		waits, crashed = m.unsettled(host)
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if len(m.lost) == 0 && len(crashed) == 0 && connected {
		return nil
	}
	own, minority := m.censuses()[m.self.DC], false
	for _, l := range m.lost {
		minority = minority || l.DC == m.self.DC && !own.majority(l.lost)
	}
	var names []string
	looked := make(map[*sites.Served]bool, 4)
	add := func(p link.Peer, served *sites.Served) {
		if (scope != ScopeDC || p.DC == m.self.DC) && (host.IsZero() || served.ServesCached(looked, host.String())) {
			names = append(names, p.Name())
		}
	}
	for _, l := range m.lost {
		served := l.served
		if waits || minority && l.DC == m.self.DC {
			served = nil // any host
		}
		add(l.Peer, served)
	}
	for _, p := range crashed {
		add(p, nil)
	}
	if !connected {
		for p, pod := range m.pods {
			add(p, pod.served)
		}
	}
	return names
}
