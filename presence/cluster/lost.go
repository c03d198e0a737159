package cluster

import (
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence"
)

// lostPod is a pod that went silent without a goodbye.
type lostPod struct {
	peer
	at     time.Time // when it was given up
	served *served   // nil: not known, and then it may serve any host
}

// miss remembers a pod that went silent. It may have crashed, or it may live on where this pod cannot hear it.
func (m *members) miss(pod *member, now time.Time) {
	if len(m.lost) >= maxPods {
		return
	}
	m.lost[podName{pod.dc, pod.pod}] = &lostPod{peer: pod.peer, at: now, served: pod.served}
}

// forget drops the lost pods that need no longer be remembered, and reports whether there were some. Those of a data
// center that goes on without them have crashed.
func (m *members) forget(now time.Time) bool {
	found := false
	for name, lost := range m.lost {
		if age := now.Sub(lost.at); age >= m.timing.remember || age >= m.timing.crashed && !m.cut[name.dc] {
			delete(m.lost, name)
			found = true
		}
	}
	return found
}

// weigh decides which data centers are partitioned from this pod: those of which more pods are lost than are heard. That
// most of them crashed within minutes is less likely.
func (m *members) weigh() {
	balance := make(map[string]int)
	for name := range m.lost {
		balance[name.dc]++
	}
	if len(balance) == 0 && len(m.cut) == 0 {
		return
	}
	if balance[m.self.dc] > 0 {
		balance[m.self.dc]--
	}
	for p := range m.pods {
		if balance[p.dc] > 0 {
			balance[p.dc]--
		}
	}
	for dc := range m.cut {
		if balance[dc] == 0 {
			delete(m.cut, dc)
			m.then(func() { m.logger.Info("data center is reachable again", zap.String("dc", dc)) })
		}
	}
	for dc, more := range balance {
		if more > 0 && !m.cut[dc] {
			m.cut[dc] = true
			m.then(func() {
				m.logger.Warn("data center is unreachable: most of its pods went silent", zap.String("dc", dc))
			})
		}
	}
}

// unreachable returns the names of the pods that may live on and serve the host, but cannot be asked.
func (m *members) unreachable(host presence.HostName, scope Scope) []string {
	if scope == ScopePod {
		return nil
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if len(m.cut) == 0 {
		return nil
	}
	var names []string
	looked := make(map[*served]bool, 4)
	for name, lost := range m.lost {
		if !m.cut[name.dc] || scope == ScopeDC && name.dc != m.self.dc {
			continue
		}
		if lost.served.remembers(looked, host.String()) {
			names = append(names, lost.name())
		}
	}
	return names
}
