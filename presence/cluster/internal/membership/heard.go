package membership

import "github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"

// Alone reports whether this pod knows no other pod, and none that has ended in the last day.
func (m *Members) Alone() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for name := range m.named {
		if name != nameOf(m.self) {
			return false
		}
	}
	return len(m.lost) == 0
}

// Heard returns the other pods that are not silent. all is false if another pod is silent or
// missing.
func (m *Members) Heard() (heard []link.Peer, all bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	heard = make([]link.Peer, 0, len(m.pods))
	for p, pod := range m.pods {
		if !pod.suspect {
			heard = append(heard, p)
		}
	}
	return heard, len(heard) == len(m.pods) && len(m.lost) == 0
}
