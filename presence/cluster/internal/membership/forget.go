package membership

import (
	"errors"
	"fmt"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Errors of Forget.
var (
	// ErrPodHeard is returned for a pod that is not missing.
	ErrPodHeard = errors.New("the pod was heard in the last 5 s: stop it first, or wait")
	// ErrPodUnknown is returned if no run of the pod is missing or counts as crashed.
	ErrPodUnknown = errors.New("no such pod is missing")
)

// Forget ends a missing pod, on all pods that this one reaches, and one that counts as crashed
// counts no longer. If a run of it is heard later, it joins as before. It returns [ErrPodHeard] and
// [ErrPodUnknown].
func (m *Members) Forget(dc, pod string) error {
	err := fmt.Errorf("%s/%s: %w", dc, pod, ErrPodUnknown)
	m.change(func(now time.Time) {
		name := podName{dc, pod}
		if l := m.lost[name]; l != nil {
			err = nil
			run := l.describe(now)
			run.Standing = message.Forgotten
			m.dropLost(l, now, "forgotten")
			m.forgetAll(run)
			return
		}
		for p := range m.crashed() {
			if nameOf(p) == name {
				err = nil
				end := m.ended[p]
				m.forgetAll(describe(p, end.seq, 0, now.Sub(end.at), message.Forgotten))
				return
			}
		}
		heard := name == nameOf(m.self)
		for p := range m.pods {
			heard = heard || name == nameOf(p)
		}
		if heard {
			err = fmt.Errorf("%s/%s: %w", dc, pod, ErrPodHeard)
		}
	})
	return err
}

// forgetAll marks a run that has ended as forgotten, here and on all pods that this one reaches.
func (m *Members) forgetAll(run message.Run) {
	m.markForgotten(link.Peer{DC: run.DataCenter, Pod: run.Pod, Incarnation: run.Incarnation})
	m.pulse.wake.Wake()
	m.afterChange(func() { m.link.Send(m.link.All(), &message.Runs{Runs: []message.Run{run}}) })
}

// markForgotten records that a run that has ended will not come back, so that it counts no longer.
func (m *Members) markForgotten(p link.Peer) {
	if end, ok := m.ended[p]; ok && !end.forgotten {
		end.forgotten = true
		m.ended[p] = end
		m.saveSoon.Wake()
	}
}
