package membership

import "github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"

// Heard returns the other pods that are not silent. all is false if another pod is silent or missing.
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
