package presence

import (
	"strings"
	"time"
)

// CountEncoder is a [FrameEncoder] of connections that receive the number of listeners of a
// channel.
type CountEncoder interface {
	// SubscriptionCount builds the frame for a channel with n listeners on all pods.
	SubscriptionCount(channel string, n int) []byte
}

// Above manyListeners, the number of listeners of a channel is sent at most once in countPause.
const (
	manyListeners = 100
	countPause    = 5 * time.Second
)

// connCounter sends the number of listeners of a channel to those with another encoding than the
// native one. Unlike the count of [Diff], it has each connection of a user, and none that was lost.
type connCounter struct {
	sent  int
	at    time.Time
	timer *time.Timer // sends the next number; nil if none is due
}

// countsConns reports whether the number of listeners of the channel is sent.
func (h *Host) countsConns(ch *channel) bool {
	return h.rules().SubscriptionCount && !strings.HasPrefix(ch.name, SignedMembersPrefix)
}

// startCount prepares to send a listener the number of listeners, and returns what the listener
// watches. Only a watched channel knows those of other pods.
func (h *Host) startCount(m *membership, watch Watch) Watch {
	ch := m.channel
	if m.conn.encoding == 0 || m.may&MaySee == 0 || !h.countsConns(ch) {
		return watch
	}
	if ch.connCounter == nil {
		ch.ensureExtras().connCounter = new(connCounter)
	}
	return max(watch, WatchCount)
}

// pushConnCount sends the number of listeners to the watchers if it has changed, and otherwise to
// those from the index on, who are new.
func (h *Host) pushConnCount(ch *channel, from int) {
	c := ch.connCounter
	if !h.countsConns(ch) {
		c.stop()
		ch.connCounter = nil
		return
	}
	n := len(ch.listeners)
	if ch.overlay != nil {
		n += ch.overlay.parts.conns()
	}
	if n != c.sent {
		from = 0
	}
	if from >= len(ch.watchers) {
		return
	}
	now := time.Now()
	if wait := countPause - now.Sub(c.at); n > manyListeners && wait > 0 {
		if n != c.sent {
			h.countLater(ch, wait)
		}
		return
	}
	c.sent, c.at = n, now
	var frames frameSet
	build := func(e Encoding) []byte {
		if to, ok := h.registry.frames[e].(CountEncoder); ok && e != 0 {
			return to.SubscriptionCount(ch.name, n)
		}
		return nil
	}
	for _, m := range ch.watchers[from:] {
		m.conn.push(frames.get(m.conn.encoding, build))
	}
}

// countLater sends the number of listeners after the time, unless that is due already.
func (h *Host) countLater(ch *channel, wait time.Duration) {
	c := ch.connCounter
	if c.timer != nil {
		return
	}
	c.timer = time.AfterFunc(wait, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if c.timer != nil && ch.connCounter == c { // otherwise stopped meanwhile
			c.timer = nil
			h.pushConnCount(ch, len(ch.watchers))
		}
	})
}

// stop stops the timer. c may be nil.
func (c *connCounter) stop() {
	if c != nil && c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}
