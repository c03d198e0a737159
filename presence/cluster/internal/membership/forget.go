package membership

import (
	"errors"
	"fmt"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Errors of Forget.
var (
	// ErrPodHeard is returned for a pod that is not missing.
	ErrPodHeard = errors.New("the pod was heard in the last 5 s: stop it first, or wait")
	// ErrPodUnknown is returned if no run of the pod is missing.
	ErrPodUnknown = errors.New("no such pod is missing")
)

// Forget ends a missing pod, on all pods that this one reaches. If a run of it is heard later, it
// joins as before. It returns [ErrPodHeard] and [ErrPodUnknown].
func (m *Members) Forget(dc, pod string) error {
	err := fmt.Errorf("%s/%s: %w", dc, pod, ErrPodUnknown)
	m.change(func(now time.Time) {
		name := podName{dc, pod}
		if l := m.lost[name]; l != nil {
			err = nil
			run := l.describe(now)
			run.Standing = message.Forgotten
			m.dropLost(l, now, "forgotten")
			m.pulse.wake.Wake()
			m.afterChange(func() { m.link.Send(m.link.All(), &message.Runs{Runs: []message.Run{run}}) })
			return
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
