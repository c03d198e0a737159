package membership

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/work"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// probeEvery is the minimum time between two probes of a pod. probeTimeout is how long it may take
// to answer one.
const (
	probeEvery   = 300 * time.Millisecond
	probeTimeout = 5 * time.Second
)

// probes has the probes of pods that are not known to be alive. A heartbeat is not enough, because
// an outsider may have recorded it, even in an earlier incarnation of this pod. Members.mu guards
// it.
type probes map[link.Peer]probe

// probe is the last probe of a pod.
type probe struct {
	nonce uint64
	at    time.Time
	tries int
	// since is the time of the first probe of those in a row that are not answered, seq the number
	// of the last heartbeat, and sum that of its sites. seq is 0 if there was no heartbeat.
	since    time.Time
	seq, sum uint64
}

// unanswered is how long the probes of a pod that is heard are not answered until it is missing: it
// does not hear this pod.
const unanswered = 900 * time.Millisecond

// maxProbes is how often a probe is sent before its pod sends another heartbeat.
const maxProbes = 3

// retryProbes sends unanswered probes again, forgets old ones, and returns when to look again.
func (m *Members) retryProbes(now time.Time) (next time.Time) {
	for to, p := range m.probes {
		again := p.at.Add(time.Duration(p.tries) * probeEvery)
		if late := p.since.Add(unanswered); p.seq > 0 && !now.Before(late) {
			m.missUnanswered(to, p, now)
		} else if p.seq > 0 {
			next = work.Earliest(next, late)
		}
		switch {
		case now.Sub(p.at) >= probeTimeout:
			delete(m.probes, to)
		case p.tries >= maxProbes:
		case now.Before(again):
			next = work.Earliest(next, again)
		default:
			p.tries++
			m.probes[to] = p
			next = work.Earliest(next, again.Add(probeEvery))
			m.afterChange(func() { m.link.Send(m.link.Inbox(to), &message.Probe{Nonce: p.nonce}) })
		}
	}
	return next
}

// missUnanswered adds a pod that is heard again and does not hear this one to the missing pods.
// Only a pod that was a member has heartbeats that an outsider cannot have recorded: with later
// numbers than the last one that was heard. A later run of a missing pod may be recorded, but the
// pod is missing already.
func (m *Members) missUnanswered(p link.Peer, last probe, now time.Time) {
	end, ok := m.ended[p]
	l := m.lost[nameOf(p)]
	if !ok && l == nil || last.seq <= end.seq || !m.unknown(p) {
		return
	}
	if l != nil && l.Peer == p {
		if last.seq > l.seq {
			m.addLost(&lostPod{Peer: p, seq: last.seq, heard: now, sum: last.sum})
			l.heard, l.lost, l.since = now, now, now
		}
		return
	}
	t := end.tenureBack(now)
	if ok {
		end.dead = false
		m.ended[p] = end
	}
	m.addLost(&lostPod{Peer: p, seq: last.seq, tenure: t, heard: now, since: now, sum: last.sum})
	m.log(m.logger.Info, "pod is missing", p, "it does not hear this pod")
}

// unknown reports whether no run of the pod is alive, and no later one than p is known.
func (m *Members) unknown(p link.Peer) bool {
	return m.pods[p] == nil && !m.replaced(p) && len(m.namesakes(p)) == 0 && !m.isNamesake(p)
}

// heardAgainUnproved returns descriptions of pods that count as crashed and have sent a heartbeat
// since, while their answers to a probe are awaited. The next run misses them, if this one ends
// now.
func (m *Members) heardAgainUnproved(now time.Time) (list []message.Run) {
	for p, last := range m.probes {
		if end, ok := m.ended[p]; ok && last.seq > end.seq && m.lost[nameOf(p)] == nil && m.unknown(p) {
			list = append(list, describe(p, last.seq, last.sum, now.Sub(last.at), message.Missed))
		}
	}
	return list
}

// probed reports whether the heartbeat answers a probe of this pod. If the heartbeat answers no
// probe at all, it sends one.
func (m *Members) probed(from link.Peer, hb *message.Heartbeat, now time.Time) bool {
	if hb.Nonce == 0 {
		m.probe(from, now)
		if p, ok := m.probes[from]; ok {
			if p.seq == 0 {
				m.saveSoon.Wake() // see heardAgainUnproved
			}
			p.seq, p.sum = hb.Seq, hb.Sites
			m.probes[from] = p
		}
		return false
	}
	p, ok := m.probes[from]
	if !ok || p.nonce != hb.Nonce || now.Sub(p.at) >= probeTimeout {
		m.link.Counts.Unknown.Add(1)
		return false
	}
	delete(m.probes, from)
	if end := m.laterEnd(from); p.at.Before(end) { // the answer does not prove that the run has outlived a later one
		m.probe(from, now)
		return false
	}
	return true
}

// laterEnd returns the last time at which a later run of the pod has ended; zero if none has.
func (m *Members) laterEnd(of link.Peer) (last time.Time) {
	for _, p := range m.named[nameOf(of)] {
		if end := m.ended[p]; end.dead && later(p, of) && end.at.After(last) {
			last = end.at
		}
	}
	return last
}

// probe sends a probe to a pod. Outsiders can cause one probe for each heartbeat that they publish,
// and at most maxPods entries.
func (m *Members) probe(to link.Peer, now time.Time) {
	last, ok := m.probes[to]
	if ok && now.Sub(last.at) < probeEvery {
		return
	}
	if !ok && len(m.probes) >= maxPods {
		for other, p := range m.probes {
			if now.Sub(p.at) >= probeTimeout {
				delete(m.probes, other)
			}
		}
		if len(m.probes) >= maxPods {
			m.refuse(to)
			return
		}
	}
	if m.probes == nil {
		m.probes = make(probes)
	}
	nonce := link.Random() | 1
	p := probe{nonce: nonce, at: now, tries: 1, since: now}
	if ok {
		p.since, p.seq, p.sum = last.since, last.seq, last.sum
	}
	m.probes[to] = p
	m.pulse.wake.Wake()
	m.afterChange(func() { m.link.Send(m.link.Inbox(to), &message.Probe{Nonce: nonce}) })
}

// answerProbe answers the probe of a pod. It first probes a pod that it does not know: when that
// pod has the answer and sends checks, this one probably knows it.
func (m *Members) answerProbe(of link.Peer, nonce uint64, now time.Time) {
	if m.pods[of] == nil {
		m.probe(of, now)
	}
	m.afterChange(func() {
		m.beatTo(m.link.Inbox(of), nonce)
		m.pulse.wake.Wake()
	})
}
