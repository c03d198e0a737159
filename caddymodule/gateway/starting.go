package gateway

import (
	"errors"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
)

// maxStarting limits how long messages are refused after the first configuration has taken effect.
// A pod that reaches no other one, or whose cluster cannot be started, serves its own clients then.
const maxStarting = 5 * time.Second

// errStarting is returned for messages while no other pod may receive them.
var errStarting = errors.New("this pod has just started and has not joined its cluster yet: retry")

// Starting reports whether this pod has just started and has not joined the cluster that the
// configuration asks for. A pod that had joined one does not start again at a reload.
func (h *Hub) Starting() bool {
	if h.joinedOnce.Load() {
		return false
	}
	configs := h.configs.Load()
	now := configs.inEffect()
	switch {
	case now == nil:
		return true
	case now.Cluster == nil:
		return false
	case h.Ready():
		h.joinedOnce.Store(true)
		return false
	}
	return time.Since(configs.since) < maxStarting
}

// CheckSend refuses messages of clients and backends while the pod of a cluster starts: other pods
// would not receive them.
func (h *Hub) CheckSend(of *site.Site) error {
	if of.Clustered && h.Starting() {
		return errStarting
	}
	return nil
}

// maxAwaitCluster limits how long an answer waits for the start of the cluster.
const maxAwaitCluster = time.Second

// awaitCluster waits until the cluster is started or its start has failed, and returns it; nil if
// that takes too long or does not happen. HTTP can start before the app rollcall, and only a
// started cluster knows which pods an answer lacks.
func (h *Hub) awaitCluster() *joined {
	const pause = 5 * time.Millisecond
	for end := time.Now().Add(maxAwaitCluster); h.willJoin() && time.Now().Before(end); time.Sleep(pause) {
		if now := h.cluster.Load(); now != nil {
			return now
		}
	}
	return h.cluster.Load()
}

// willJoin reports whether this pod may be about to start a cluster.
func (h *Hub) willJoin() bool {
	now := h.InEffect()
	return (now == nil || now.Cluster != nil) && !h.Stopping()
}
