package gateway

import (
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
)

// Limits of the time over which clients are asked to reconnect. A new process easily handles 2000
// reconnects a second: a handshake with a join takes about 0.15 ms of CPU.
const (
	reconnectsPerSecond = 2000
	minSpread           = time.Second
	maxSpread           = 30 * time.Second
)

// drain is the end of all connections: open ones are closed and new ones refused. It starts before
// Caddy stops its apps and ends when the last configuration is cleaned up, so it has its own
// goroutine.
type drain struct {
	last     *Configuration // the configuration that ends
	exiting  bool           // Caddy exits, so clients can reconnect to another process or the next one
	served   chan struct{}  // closed when HTTP has stopped
	done     chan struct{}  // closed when every connection is closed
	deadline time.Time      // for everything that waits; set before done is closed
}

// StartDrain starts the drain when Caddy stops configuration s, and returns at once. It does
// nothing if the drain has started. It also does nothing if s is not the only configuration,
// because the hub then keeps its connections, unless the process is exiting.
//
// At exit, HTTP still listens for its shutdown delay. Connections are closed and refused after the
// delay.
func (h *Hub) StartDrain(s *Configuration, exiting bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.configs.Load()
	if h.ending != nil || now.ended || !exiting && !now.isLast(s) {
		return
	}
	d := &drain{
		last: now.list[len(now.list)-1], exiting: exiting, served: make(chan struct{}), done: make(chan struct{}),
	}
	h.ending = d
	var delay time.Duration
	if exiting {
		delay = d.last.ShutdownDelay
	}
	if delay <= 0 {
		h.draining.Store(true) // before the event of Caddy ends
	}
	go h.runDrain(d, delay) // ends by the delay and the drain timeout; finishDrain waits for it
}

func (h *Hub) runDrain(d *drain, delay time.Duration) {
	defer close(d.done)
	announced := make(chan struct{})
	go func() { // ends with the write to NATS; clients must not wait for it
		defer close(announced)
		h.drainCluster()
	}()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-d.served:
		}
		h.mu.Lock()
		h.draining.Store(true)
		h.mu.Unlock()
	}
	start := time.Now()
	d.deadline = start.Add(d.last.DrainTimeout)
	h.drainSockets(d, start)
	select {
	case <-announced:
	case <-time.After(time.Until(d.deadline)):
	}
}

// finishDrain ends the drain after HTTP has stopped: until then, requests use the cluster and the
// file of copies. Copies that wait for a backend stay on disk.
func (h *Hub) finishDrain() {
	h.mu.Lock()
	d := h.ending
	h.mu.Unlock()
	close(d.served)
	<-d.done
	h.copies.Close(d.last.Logger, d.deadline)
	h.speaker.Suspend()
	h.events.Close(d.last.Logger, d.deadline)
	h.endCluster(d.last.Logger, d.deadline)
}

// IsDraining reports whether requests are refused because the process is stopping.
func (h *Hub) IsDraining() bool { return h.draining.Load() }

// Drained returns a channel that is closed when a stop has closed every connection. It returns nil
// before the stop.
func (h *Hub) Drained() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ending == nil {
		return nil
	}
	return h.ending.done
}

// Stopping reports whether the process should get no new clients. That starts when Caddy is told to
// stop, even if it first finishes a reload.
func (h *Hub) Stopping() bool {
	if h.draining.Load() || h.cfg.Exiting() {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ending != nil
}

// drainSockets closes every connection. It returns when all are closed; at the deadline, it cuts
// the remaining ones. At exit, each client is told when to reconnect, or closed in its turn.
// Otherwise Rollcall has left the configuration, and clients are told that the host was removed.
func (h *Hub) drainSockets(d *drain, start time.Time) {
	if !d.exiting {
		for _, host := range h.Registry.Hosts() {
			host.Retire()
		}
	}
	sessions := h.sessions()
	if len(sessions) == 0 && h.metrics.open() == 0 {
		return
	}
	if d.exiting {
		told, paced := splitByCodes(sessions)
		tellWhen(told)
		h.closePaced(d, paced)
	} else {
		for _, s := range sessions {
			s.Close(socket.CloseGoingAway, "host removed", socket.ReasonHost)
		}
	}
	cut := 0
	for h.metrics.open() > 0 {
		if time.Now().After(d.deadline) {
			cut = int(h.metrics.open())
			for _, s := range sessions {
				s.sock.Kill()
			}
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	d.last.Logger.Info("connections drained",
		zap.Int("connections", len(sessions)), zap.Int("cut", cut), zap.Duration("duration", time.Since(start)))
}

// splitByCodes returns the sessions that can be told when to reconnect, and those that cannot.
func splitByCodes(sessions []*Session) (told, paced []*Session) {
	for _, s := range sessions {
		if s.protocol.KnowsCodesOnly() {
			paced = append(paced, s)
		} else {
			told = append(told, s)
		}
	}
	return told, paced
}

// tellWhen closes sessions at once, and tells each when to reconnect: spread evenly, and at random
// within a slot.
func tellWhen(sessions []*Session) {
	spread := min(max(time.Duration(len(sessions))*time.Second/reconnectsPerSecond, minSpread), maxSpread)
	for i, s := range sessions {
		slot := spread / time.Duration(len(sessions))
		after := time.Duration(i)*slot + rand.N(slot+1)
		s.Close(socket.CloseRestart, socket.RestartReason(after.Milliseconds()), socket.ReasonDrain)
	}
}

const (
	paceTick = 10 * time.Millisecond
	// paceMargin is how much of the drain timeout is left after the last paced close: for its
	// client to answer. At most a quarter of the timeout is left.
	paceMargin = time.Second
)

// closePaced closes sessions one after the other, reconnectsPerSecond of them in a second, or as
// many as the deadline demands. The first half is told to come back at once, and the second one, by
// [socket.CloseUnavailable], after a pause.
func (h *Hub) closePaced(d *drain, sessions []*Session) {
	n := len(sessions)
	if n == 0 {
		return
	}
	start := time.Now()
	needed, room := time.Duration(n)*time.Second/reconnectsPerSecond, time.Until(d.deadline)
	took := min(needed, room-min(paceMargin, room/4))
	if took < needed {
		d.last.Logger.Warn("the drain timeout is too short to spread the reconnects of clients that cannot be told when to come back",
			zap.Int("connections", n), zap.Duration("drain_timeout", d.last.DrainTimeout),
			zap.Duration("enough", (needed+paceMargin).Round(time.Second)+time.Second))
	}
	for i := 0; i < n; {
		due := n
		if passed := time.Since(start); passed < took {
			due = 1 + int(int64(n)*int64(passed)/int64(took))
		}
		for ; i < min(due, n); i++ {
			code := socket.CloseReconnect
			if i >= n/2 {
				code = socket.CloseUnavailable
			}
			sessions[i].Close(code, "the server restarts", socket.ReasonDrain)
		}
		if i < n {
			time.Sleep(paceTick)
		}
	}
}
