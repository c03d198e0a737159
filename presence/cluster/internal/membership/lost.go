package membership

import (
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/sites"
)

// lostPod is a pod that fell silent without a goodbye.
type lostPod struct {
	link.Peer
	at     time.Time     // time at which it counted as lost
	served *sites.Served // nil if unknown; then it may serve any host
}

// recordLost records a pod that fell silent. It may have crashed, or this pod may be cut off from
// it.
func (m *Members) recordLost(pod *member, now time.Time) {
	if len(m.lost) >= maxPods {
		return
	}
	m.lost[podName{pod.DC, pod.Pod}] = &lostPod{Peer: pod.Peer, at: now, served: pod.served}
}

// dropLost drops lost pods that count no longer, and reports whether there were any. If their data
// center is not partitioned, they have crashed.
func (m *Members) dropLost(now time.Time) bool {
	found := false
	for name, lost := range m.lost {
		if age := now.Sub(lost.at); age >= m.timing.Remember || age >= m.timing.Crashed && !m.cut[name.dc] {
			delete(m.lost, name)
			found = true
		}
	}
	return found
}

// updatePartitions decides which data centers are partitioned from this pod: those with more lost
// pods than live ones. That most of them crashed within minutes is less likely.
func (m *Members) updatePartitions() {
	balance := make(map[string]int)
	for name := range m.lost {
		balance[name.dc]++
	}
	if len(balance) == 0 && len(m.cut) == 0 {
		return
	}
	if balance[m.self.DC] > 0 {
		balance[m.self.DC]--
	}
	for p := range m.pods {
		if balance[p.DC] > 0 {
			balance[p.DC]--
		}
	}
	for dc := range m.cut {
		if balance[dc] == 0 {
			delete(m.cut, dc)
			m.afterChange(func() { m.logger.Info("data center is reachable again", zap.String("dc", dc)) })
		}
	}
	for dc, more := range balance {
		if more > 0 && !m.cut[dc] {
			m.cut[dc] = true
			m.afterChange(func() {
				m.logger.Warn("data center is unreachable: most of its pods went silent", zap.String("dc", dc))
			})
		}
	}
}

// Unreachable returns the names of the lost pods that may be alive and serve the host.
func (m *Members) Unreachable(host presence.HostName, scope Scope) []string {
	if scope == ScopePod {
		return nil
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if len(m.cut) == 0 {
		return nil
	}
	var names []string
	looked := make(map[*sites.Served]bool, 4)
	for name, lost := range m.lost {
		if !m.cut[name.dc] || scope == ScopeDC && name.dc != m.self.DC {
			continue
		}
		if lost.served.ServesCached(looked, host.String()) {
			names = append(names, lost.Name())
		}
	}
	return names
}
