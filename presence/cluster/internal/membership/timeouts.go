package membership

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
)

// timeouts is how long to wait for a reply of a pod of this data center, or of another one.
type timeouts struct{ local, remote time.Duration }

// SetTimeouts sets how long to wait for a reply of a pod of this data center, and of another one.
// It holds for replies that are awaited now, too.
func (m *Members) SetTimeouts(local, remote time.Duration) {
	m.timeouts.Store(&timeouts{local, remote})
}

// Timeouts returns how long to wait for a reply of a pod of this data center, and of another one.
func (m *Members) Timeouts() (local, remote time.Duration) {
	t := m.timeouts.Load()
	return t.local, t.remote
}

// Deadline returns how long to wait for a reply of the pod.
func (m *Members) Deadline(p link.Peer) time.Duration {
	local, remote := m.Timeouts()
	if m.Remote(p) {
		return remote
	}
	return local
}
