package membership

import (
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
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
	if pod.suspect {
		pod.suspect = false
		m.afterChange(func() { m.observer.SitesChanged(from) })
	}
	if hb.Hello {
		m.pulse.requestBeat()
	}
	m.updateSum(pod, hb.Sites, now)
}

// admit adds a pod that is new or back. It returns nil if the heartbeat is not enough for that.
func (m *Members) admit(from link.Peer, hb *message.Heartbeat, now time.Time) *member {
	end, before := m.ended[from]
	if before && hb.Seq <= end.seq {
		m.link.Counts.Unknown.Add(1)
		return nil
	}
	if len(m.pods) >= maxPods {
		m.refuse(from)
		return nil
	}
	namesakes := m.namesakes(from)
	clash := before && (len(namesakes) > 0 || m.isNamesake(from))
	if !before {
		// The latest incarnation of a pod ends the earlier ones, unless these send heartbeats
		// again.
		for _, p := range namesakes {
			if later(p, from) {
				m.recordEnd(from, hb.Seq, now)
				return nil
			}
		}
		if m.isNamesake(from) {
			m.recordEnd(from, hb.Seq, now)
			return nil
		}
	}
	if !m.probed(from, hb, now) {
		return nil
	}
	if !before {
		m.removeReplaced(namesakes, now)
		namesakes = nil
	}
	pod := &member{Peer: from, heard: now, askAgain: now.Add(askAgainAfter)}
	m.pods[from] = pod
	delete(m.ended, from)
	delete(m.lost, podName{from.DC, from.Pod})
	m.pulse.recordNewcomer(now)
	m.log(m.logger.Info, "pod joined", from, "")
	if clash && !hb.Draining {
		m.markConflict(pod, namesakes)
	}
	m.afterChange(func() { m.observer.PodUp(from) })
	m.updatePartitions()
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
	for p := range m.pods {
		if p.DC == of.DC && p.Pod == of.Pod && p != of {
			list = append(list, p)
		}
	}
	return list
}

// earlier returns live incarnations of the pod that started before than.
func (m *Members) earlier(than link.Peer) []link.Peer {
	return slices.DeleteFunc(m.namesakes(than), func(p link.Peer) bool { return later(p, than) })
}

// removeReplaced removes pods that a later incarnation has ended.
func (m *Members) removeReplaced(pods []link.Peer, now time.Time) {
	for _, p := range pods {
		m.remove(p, m.pods[p].seq, now)
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

func (m *Members) goodbye(from link.Peer, now time.Time) {
	pod := m.pods[from]
	_, before := m.ended[from]
	m.recordEnd(from, ^uint64(0), now) // its last heartbeats may arrive late
	if pod == nil {
		// An incarnation that has ended before this pod knew it has ended the earlier ones
		// nevertheless.
		if earlier := m.earlier(from); !before && len(earlier) > 0 {
			m.removeReplaced(earlier, now)
			m.updatePartitions()
			return
		}
		if lost := m.lost[podName{from.DC, from.Pod}]; lost != nil && !later(lost.Peer, from) {
			delete(m.lost, podName{from.DC, from.Pod})
			m.updatePartitions()
			return
		}
		m.link.Counts.Unknown.Add(1)
		return
	}
	m.remove(from, ^uint64(0), now)
	m.log(m.logger.Info, "pod left", from, "goodbye")
	m.afterChange(func() { m.observer.PodDown(from) })
	m.updatePartitions()
}

// remove removes a pod.
func (m *Members) remove(p link.Peer, seq uint64, now time.Time) {
	delete(m.pods, p)
	m.recordEnd(p, seq, now)
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
	seq uint64
	at  time.Time
}

// recordEnd records the end of an incarnation. If there are too many, it drops the oldest.
func (m *Members) recordEnd(p link.Peer, seq uint64, now time.Time) {
	if _, known := m.ended[p]; !known && len(m.ended) >= maxPods {
		first := p
		for other, end := range m.ended {
			if first == p || end.at.Before(m.ended[first].at) {
				first = other
			}
		}
		delete(m.ended, first)
	}
	m.ended[p] = ending{seq, now}
}
