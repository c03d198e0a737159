package membership

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/sites"
)

// Shared says which hosts this pod and another one both serve.
type Shared struct {
	// Own is the sum of the sites of this pod.
	Own uint64
	// Scope is a hash of the sites of both pods. Both have the same one while each knows the present sites of
	// the other one.
	Scope uint64
	// Serves reports whether the other pod serves a host; nil if both have the same sites.
	Serves func(host presence.HostName) bool
	// Served has the hosts that the other pod serves.
	Served *sites.Served
}

// Shared returns which hosts this pod and another one both serve. ok is false if the pod is not known, or
// its sites are not.
func (m *Members) Shared(p link.Peer) (s Shared, ok bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	pod := m.pods[p]
	if pod == nil || pod.served == nil && pod.sum != 0 { // with 0, it has not said which, and may serve every host
		return Shared{}, false
	}
	s = Shared{Own: m.own.Sum, Scope: scopeOf(m.own.Sum, pod.sum), Served: pod.served}
	if served := pod.served; pod.sum != m.own.Sum {
		s.Serves = func(host presence.HostName) bool { return served.Serves(host.String()) }
	}
	return s, true
}

// SharedBySame is what this pod shares with those that have the same sites.
func (m *Members) SharedBySame() Shared {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return Shared{Own: m.own.Sum, Scope: scopeOf(m.own.Sum, m.own.Sum)}
}

func scopeOf(sum, other uint64) uint64 {
	b := binary.BigEndian.AppendUint64(nil, min(sum, other))
	return xxhash.Sum64(binary.BigEndian.AppendUint64(b, max(sum, other)))
}

// Served returns the hosts that this pod serves, and the sum of its sites.
func (m *Members) Served() (served *sites.Served, sum uint64) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.own.Served, m.own.Sum
}
