package caddymodule

import (
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
)

// How clients are told to come back after a restart: as many a second as a fresh process takes easily (a handshake with
// a join is about 0.15 ms of CPU), over at least and at most so long.
const (
	reconnectsPerSecond = 2000
	minSpread           = time.Second
	maxSpread           = 30 * time.Second
)

// drain closes every connection and returns when all are closed or the last configuration's drain timeout is over;
// those that are left by then are cut. At exit, clients are told when to come back, each at another time; otherwise
// Rollcall has left the configuration, and they are told that. Other pods know before and after. Messages that wait for
// a backend stay on disk.
func (h *hub) drain(last *snapshot, exiting bool) {
	h.mu.Lock()
	h.draining.Store(true)
	h.mu.Unlock()
	h.drainCluster()
	if !exiting {
		for _, host := range h.registry.Hosts() {
			host.Retire()
		}
	}
	start := time.Now()
	deadline := start.Add(time.Duration(last.app.DrainTimeout))
	h.drainSockets(last, exiting, start, deadline)
	h.copies.close(last.logger, deadline)
	h.applying.Lock()
	defer h.applying.Unlock()
	h.endCluster(last.logger, deadline)
}

func (h *hub) drainSockets(last *snapshot, exiting bool, start, deadline time.Time) {
	sessions := h.sessions()
	if len(sessions) == 0 && h.metrics.open() == 0 {
		return
	}
	spread := min(max(time.Duration(len(sessions))*time.Second/reconnectsPerSecond, minSpread), maxSpread)
	for i, s := range sessions {
		if !exiting {
			s.sock.Close(socket.CloseGoingAway, "host removed", socket.Cause{Reason: socket.ReasonHost})
			continue
		}
		// Evenly over the spread, and not in the order of connecting alone.
		slot := spread / time.Duration(len(sessions))
		after := time.Duration(i)*slot + rand.N(slot+1)
		s.sock.Close(socket.CloseRestart, socket.RestartReason(after.Milliseconds()),
			socket.Cause{Reason: socket.ReasonDrain})
	}
	cut := 0
	for h.metrics.open() > 0 {
		if time.Now().After(deadline) {
			cut = int(h.metrics.open())
			for _, s := range sessions {
				s.sock.Kill()
			}
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	last.logger.Info("connections drained",
		zap.Int("connections", len(sessions)), zap.Int("cut", cut), zap.Duration("duration", time.Since(start)))
}
