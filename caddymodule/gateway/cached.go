package gateway

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// cacheTTL returns for how long the last event of a cache channel of the host is kept, by the
// latest configuration; 0 for not at all.
func (h *Hub) cacheTTL(host presence.HostName) time.Duration {
	now := h.configs.Load().latest()
	if now == nil {
		return 0
	}
	if s := now.Find(host); s != nil && s.Pusher != nil {
		return s.Pusher.CacheTTL
	}
	return 0
}
