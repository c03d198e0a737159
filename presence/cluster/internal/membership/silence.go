package membership

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/work"
)

// checkSilence finds silent pods, and returns when to check again.
func (m *Members) checkSilence(now time.Time) (next time.Time) {
	for p, pod := range m.pods {
		switch silent := now.Sub(pod.heard); {
		case silent >= m.timing.Gone:
			m.removeSilent(pod, now)
			continue
		case silent >= m.timing.Suspect:
			if !pod.suspect {
				pod.suspect = true
				m.noteRuns()
				m.log(m.logger.Debug, "pod is silent", p, "")
			}
			next = work.Earliest(next, pod.heard.Add(m.timing.Gone))
		default:
			next = work.Earliest(next, pod.heard.Add(m.timing.Suspect))
		}
	}
	for p, end := range m.ended {
		if now.Sub(end.at) >= m.timing.Remember {
			m.dropEnd(p)
		}
	}
	for dc, at := range m.heardAgain {
		if now.Sub(at) >= 2*m.timing.Gone { // no loss that is noticed from now on was before it
			delete(m.heardAgain, dc)
		}
	}
	return work.Earliest(next, m.retryProbes(now), m.judgeLost(now))
}

// removeSilent removes a pod that was silent for too long.
func (m *Members) removeSilent(pod *member, now time.Time) {
	p := pod.Peer
	m.remove(p, pod.seq, now)
	m.log(m.logger.Warn, "pod left", p, "silent")
	m.afterChange(func() { m.observer.PodDown(p) })
	if !m.replaced(p) && len(m.namesakes(p)) == 0 && !m.isNamesake(p) {
		m.addLost(&lostPod{Peer: p, seq: pod.seq, tenure: pod.tenure, heard: pod.heard, since: pod.heard, sum: pod.sum, served: pod.served})
	}
}
