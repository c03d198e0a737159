package membership

import (
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/sites"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

func (m *Members) heartbeat(from link.Peer, hb *message.Heartbeat, now time.Time) {
	pod := m.pods[from]
	switch {
	case pod == nil:
		if pod = m.admit(from, hb, now); pod == nil {
			return
		}
	case hb.Seq <= pod.seq:
		if hb.Seq <= pod.history.until(now.Add(-m.timing.Heartbeat)) {
			m.link.Counts.Repeated.Add(1)
		}
		return // it is repeated or late, and says nothing about the present
	}
	pod.heard, pod.seq = now, hb.Seq
	pod.history.add(now, hb.Seq)
	pod.draining = hb.Draining
	pod.connections, pod.hosts = hb.Connections, hb.Hosts
	m.clock.advance(hb.Clock, now)
	if pod.suspect {
		pod.suspect = false
		m.noteRuns()
		m.restartSilence(from.DC, now)
		m.afterChange(func() { m.observer.HeardAgain(from) })
		m.afterChange(func() { m.observer.SitesChanged(from) })
	}
	if hb.Hello {
		m.pulse.requestBeat()
	}
	m.compareView(pod, hb, now)
	m.updateSum(pod, hb.Sites, now)
}

// admit adds a pod that is new or back. It returns nil if the heartbeat is not enough for that.
func (m *Members) admit(from link.Peer, hb *message.Heartbeat, now time.Time) *member {
	end, before := m.ended[from]
	back := before
	if before && hb.Seq <= end.seq {
		m.link.Counts.Unknown.Add(1)
		return nil
	}
	if len(m.pods) >= maxPods {
		m.refuse(from)
		return nil
	}
	namesakes := m.namesakes(from)
	clash, others := before && (len(namesakes) > 0 || m.isNamesake(from)), namesakes
	// The latest incarnation of a pod ends the earlier ones, unless these send heartbeats again.
	if !before && (m.isNamesake(from) || slices.ContainsFunc(namesakes, func(p link.Peer) bool { return later(p, from) })) {
		m.recordEnd(from, hb.Seq, tenure{since: now}, now)
		return nil
	}
	if !m.probed(from, hb, now) {
		return nil
	}
	if before {
		namesakes = nil // they stay: two processes have the name
	}
	pod := &member{Peer: from, id: from.ID(), tenure: m.tenureOf(from, namesakes, now), heard: now}
	pod.view.hearing = now
	for _, p := range namesakes {
		pod.view.hearing = m.pods[p].view.hearing
	}
	m.removeReplaced(namesakes, now)
	m.pods[from] = pod
	delete(m.ended, from)
	m.addName(from)
	m.markOutlived(from)
	if l := m.lost[nameOf(from)]; l != nil && !later(l.Peer, from) {
		delete(m.lost, nameOf(from))
		m.afterChange(func() { m.observer.HeardAgain(from) })
		before = true
	}
	if before {
		m.restartSilence(from.DC, now)
	}
	m.noteRuns()
	m.pulse.recordNewcomer(now)
	m.noteNews(from, now)
	m.log(m.logger.Info, "pod joined", from, "")
	if clash && !hb.Draining {
		m.markConflict(pod, others)
	}
	m.afterChange(func() { m.observer.PodUp(from, back) })
	m.pulse.wake.Wake()
	m.pulse.requestBeat()
	return pod
}

// refuse counts a pod beyond maxPods.
func (m *Members) refuse(from link.Peer) {
	m.link.Counts.Unknown.Add(1)
	if _, ok := m.refused.Allow(link.LogEvery); ok {
		m.log(m.logger.Error, "too many pods: another one is ignored", from, "")
	}
}

func (m *Members) isNamesake(p link.Peer) bool {
	return p.DC == m.self.DC && p.Pod == m.self.Pod && p != m.self
}

// namesakes returns other incarnations of the pod that are alive.
func (m *Members) namesakes(of link.Peer) []link.Peer {
	var list []link.Peer
	for _, p := range m.named[nameOf(of)] {
		if m.pods[p] != nil && p != of {
			list = append(list, p)
		}
	}
	return list
}

// earlierRuns returns live incarnations of the pod that started before than.
func (m *Members) earlierRuns(than link.Peer) []link.Peer {
	return slices.DeleteFunc(m.namesakes(than), func(p link.Peer) bool { return later(p, than) })
}

// removeReplaced removes pods that a later incarnation has ended.
func (m *Members) removeReplaced(pods []link.Peer, now time.Time) {
	for _, p := range pods {
		m.remove(p, m.pods[p].seq, now)
		m.markDead(p)
		m.log(m.logger.Info, "pod left", p, "replaced")
		m.afterChange(func() { m.observer.PodDown(p) })
	}
}

// later reports whether a is a later incarnation of the pod than b.
func later(a, b link.Peer) bool { return link.CompareIncarnations(a.Incarnation, b.Incarnation) > 0 }

// markConflict records that two processes have one name: both continue to send heartbeats. An
// incarnation that drains does not count, because it is about to end.
func (m *Members) markConflict(pod *member, namesakes []link.Peer) {
	found := false
	for _, p := range namesakes {
		if other := m.pods[p]; !other.draining {
			other.conflict, found = true, true
		}
	}
	if m.isNamesake(pod.Peer) {
		m.selfConflict, found = true, true
	}
	if pod.conflict = found; found {
		m.log(m.logger.Error, "two processes have the name of one pod", pod.Peer, "")
	}
}

func (m *Members) goodbye(from link.Peer, bye *message.Goodbye, now time.Time) {
	pod := m.pods[from]
	if pod != nil {
		m.clock.advance(bye.Clock, now)
	}
	if bye.Back { // of a pod that is missing, nothing is known that was not before
		if pod != nil {
			m.removeForNow(pod, now)
		}
		return
	}
	end, before := m.ended[from]
	if end.dead && end.seq == ^uint64(0) { // it is repeated
		m.link.Counts.Unknown.Add(1)
		return
	}
	m.recordEnd(from, ^uint64(0), tenure{since: now}, now) // its last heartbeats may arrive late
	m.markDead(from)
	if pod == nil {
		// An incarnation that has ended before this pod knew it has ended the earlier ones
		// nevertheless.
		replaced := m.earlierRuns(from)
		if before {
			replaced = nil
		}
		m.removeReplaced(replaced, now)
		if lost := m.lost[nameOf(from)]; lost != nil && !later(lost.Peer, from) {
			m.dropLost(lost, now, "goodbye")
			m.pulse.wake.Wake()
			return
		}
		if len(replaced) == 0 {
			m.link.Counts.Unknown.Add(1)
		}
		return
	}
	m.remove(from, ^uint64(0), now)
	m.markDead(from)
	m.log(m.logger.Info, "pod left", from, "goodbye")
	m.afterChange(func() { m.observer.PodDown(from) })
	m.pulse.wake.Wake()
}

// removeForNow removes a pod that starts again: it is missing until then, for backSoon at most.
func (m *Members) removeForNow(pod *member, now time.Time) {
	p := pod.Peer
	m.remove(p, ^uint64(0), now)
	m.log(m.logger.Info, "pod left", p, "starts again")
	m.afterChange(func() { m.observer.PodDown(p) })
	if len(m.namesakes(p)) == 0 && !m.isNamesake(p) {
		m.addLost(&lostPod{Peer: p, seq: pod.seq, tenure: pod.tenure, heard: now, since: now, until: now.Add(backSoon), sum: pod.sum, served: pod.served})
	}
	m.pulse.wake.Wake()
}

// remove removes a pod.
func (m *Members) remove(p link.Peer, seq uint64, now time.Time) {
	pod := m.pods[p]
	delete(m.pods, p)
	m.recordEnd(p, seq, pod.tenure, now)
	m.recordServed(p, pod.served)
	m.noteRuns()
	namesakes := m.namesakes(p)
	if len(namesakes) == 0 && m.isNamesake(p) {
		m.selfConflict = false
	}
	if len(namesakes) == 1 && !m.isNamesake(p) {
		m.pods[namesakes[0]].conflict = false
	}
}

// ending is the end of an incarnation. It is kept so that no late or replayed heartbeat brings the
// incarnation back.
type ending struct {
	seq    uint64
	at     time.Time
	tenure tenure
	served *sites.Served // the sites that it served; nil if unknown
	dead   bool          // it has ended for sure, or counts as crashed; false if it may be heard again
	// forgotten is set if an operator said that the pod will not come back, or it was silent for a day.
	forgotten bool
	// outlived is set if an earlier run has answered a probe since: the clock of its pod went back, or two
	// processes have had its name. Then it has not replaced that one.
	outlived bool
}

// crashed reports whether the run counts as crashed, by the verdict of this pod or of another one.
func (e *ending) crashed() bool { return e.dead && !e.forgotten && e.seq != ^uint64(0) }

// returns the tenure of the pod if it is back: away since then, unless it counts as crashed.
func (e *ending) tenureBack(now time.Time) tenure {
	if e.crashed() {
		return e.tenure
	}
	return e.tenure.resume(e.at, now)
}

// crashed returns the last runs of pods that count as crashed, with their tenures.
func (m *Members) crashed() map[link.Peer]tenure {
	list := make(map[link.Peer]tenure)
	for p, end := range m.ended {
		if end.crashed() && m.unknown(p) && m.lost[nameOf(p)] == nil {
			list[p] = end.tenure
		}
	}
	return list
}

// Crashed returns the pods that count as crashed, with the hosts that they served. Those whose hosts
// are not known are not among them.
func (m *Members) Crashed() map[link.Peer]*sites.Served {
	m.mu.RLock()
	defer m.mu.RUnlock()
	list := make(map[link.Peer]*sites.Served)
	for p := range m.crashed() {
		if served := m.ended[p].served; served != nil {
			list[p] = served
		}
	}
	return list
}

// sum returns the sum of the sites that the run served; 0 if they are unknown.
func (e *ending) sum() uint64 {
	if e.served == nil {
		return 0
	}
	return e.served.Sum
}

// recordServed records which hosts a pod whose end is recorded has served.
func (m *Members) recordServed(p link.Peer, served *sites.Served) {
	end := m.ended[p]
	end.served = served
	m.ended[p] = end
}

// markDead records that a run whose end is recorded will not be heard again. Pods that miss it are told
// when they send their lists, which are requested again.
func (m *Members) markDead(p link.Peer) {
	end := m.ended[p]
	end.dead = true
	m.ended[p] = end
	m.saveSoon.Wake()
	for _, pod := range m.pods {
		if pod.view.missed != 0 {
			pod.view.list = nil
		}
	}
}

// markOutlived records that a run is alive after later ones of its pod have ended.
func (m *Members) markOutlived(by link.Peer) {
	for _, p := range m.named[nameOf(by)] {
		if end, ok := m.ended[p]; ok && later(p, by) {
			end.outlived = true
			m.ended[p] = end
		}
	}
}

// recordEnd records the end of an incarnation. If there are too many, it drops the oldest.
func (m *Members) recordEnd(p link.Peer, seq uint64, t tenure, now time.Time) {
	if _, known := m.ended[p]; !known && len(m.ended) >= maxPods {
		first := p
		for other, end := range m.ended {
			if first == p || end.at.Before(m.ended[first].at) {
				first = other
			}
		}
		m.dropEnd(first)
	}
	end, known := m.ended[p]
	if !known || t.since.Before(end.tenure.since) {
		end.tenure = t
	}
	end.seq, end.at = max(end.seq, seq), now
	m.ended[p] = end
	m.addName(p)
}

// dropEnd forgets the end of an incarnation.
func (m *Members) dropEnd(p link.Peer) {
	delete(m.ended, p)
	if m.pods[p] != nil {
		return
	}
	name := nameOf(p)
	rest := slices.DeleteFunc(m.named[name], func(other link.Peer) bool { return other == p })
	if m.named[name] = rest; len(rest) == 0 {
		delete(m.named, name)
	}
}

// addName adds a run that is alive or has ended to those with its name.
func (m *Members) addName(p link.Peer) {
	if name := nameOf(p); !slices.Contains(m.named[name], p) {
		m.named[name] = append(m.named[name], p)
	}
}
