package cluster

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// probeEvery is how far apart two probes of a pod are at least, and probeTimeout how long it has to answer one.
const (
	probeEvery   = 300 * time.Millisecond
	probeTimeout = 5 * time.Second
	// askAgainAfter is when a pod is asked again for what it has in channels, after it became known: it may have known this
	// one later, and ignores until then what this one asks.
	askAgainAfter = 300 * time.Millisecond
)

// probes are the questions to pods that are not known whether they are alive. A heartbeat is no proof: it can have been
// recorded, in an earlier run of this pod too. They are guarded by members.mu.
type probes map[peer]probe

// probe is the last question to a pod.
type probe struct {
	nonce uint64
	at    time.Time
}

// probed reports whether the heartbeat answers a probe of this pod, and sends one if it is none of another.
func (m *members) probed(from peer, hb *message.Heartbeat, now time.Time) bool {
	if hb.Nonce == 0 {
		m.probe(from, now)
		return false
	}
	p, ok := m.probes[from]
	if !ok || p.nonce != hb.Nonce || now.Sub(p.at) >= probeTimeout {
		m.link.unknown.Add(1)
		return false
	}
	delete(m.probes, from)
	return true
}

// probe asks a pod whether it is alive. Outsiders can lead to as many probes as they publish heartbeats, and to no more
// entries than there can be pods.
func (m *members) probe(to peer, now time.Time) {
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
	nonce := random() | 1
	m.probes[to] = probe{nonce, now}
	m.then(func() { m.link.send(m.link.inbox(to), &message.Probe{Nonce: nonce}) })
}

// answerProbe answers the probe of a pod. One that is not known is asked first: when it gets the answer, and asks
// something, this pod most likely knows it. One that is known has ignored what this pod asked recently.
func (m *members) answerProbe(of peer, nonce uint64, now time.Time) {
	if pod := m.pods[of]; pod != nil {
		pod.askAgain = now.Add(askAgainAfter)
	} else {
		m.probe(of, now)
	}
	m.then(func() {
		m.beatTo(m.link.inbox(of), nonce)
		m.pulse.rouse()
	})
}
