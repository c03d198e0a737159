package gateway

import (
	"slices"
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/presence"
)

const (
	// closesPerSecond limits how many connections of this pod the backends disconnect. Their
	// clients may all come back.
	closesPerSecond = reconnectsPerSecond
	closePace       = time.Second / closesPerSecond
	// closeTick is the pause between two rounds, and how much time for closing is saved up.
	closeTick = 10 * time.Millisecond
	// closePart is how many sessions are queued before the lock is released.
	closePart = 1024
)

// order says how the backend disconnects a connection.
type order struct {
	reconnect bool
	reason    string
}

// closer closes connections that backends disconnect, at most closesPerSecond. Hosts take turns, so
// that a large channel of one does not delay another one.
type closer struct {
	end func(s *Session, o order) // called without a lock

	// mu guards the fields below. The lock of a session may be locked while it is held.
	mu      sync.Mutex
	orders  map[*Session]order // those that wait, or have not ended yet
	queues  map[presence.HostName]*closeQueue
	turns   []*closeQueue // queues with sessions; the first is next
	paid    time.Time     // time up to which the closes so far have used
	running bool
}

// closeQueue has the sessions of a host that wait.
type closeQueue struct {
	host     presence.HostName
	sessions []*Session
}

func newCloser(end func(s *Session, o order)) *closer {
	return &closer{end: end, orders: make(map[*Session]order), queues: make(map[presence.HostName]*closeQueue)}
}

// add queues sessions of a host, and returns how many of them neither wait already nor have ended.
// A session that waits to be told to reconnect is told not to, if that is the later order.
func (c *closer) add(host presence.HostName, sessions []*Session, o order) (n int) {
	for part := range slices.Chunk(sessions, closePart) { // sessions that end wait for the lock
		n += c.addPart(host, part, o)
	}
	return n
}

func (c *closer) addPart(host presence.HostName, sessions []*Session, o order) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := c.queues[host]
	for _, s := range sessions {
		if before, waits := c.orders[s]; waits {
			if before.reconnect && !o.reconnect {
				c.orders[s] = o
			}
			continue
		}
		if s.hasEnded() {
			continue // since the caller has found it
		}
		if q == nil {
			q = &closeQueue{host: host}
			c.queues[host] = q
			c.turns = append(c.turns, q)
		}
		c.orders[s] = o
		q.sessions = append(q.sessions, s)
		n++
	}
	if n > 0 && !c.running {
		c.running = true
		go c.run() // ends when no session waits
	}
	return n
}

// has reports whether a session waits, or is being closed.
func (c *closer) has(s *Session) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ordered := c.orders[s]
	return ordered
}

// hasLeft reports whether the end of a session counts as a leave: the backend has ordered it, and
// not to reconnect.
func (c *closer) hasLeft(s *Session) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, ordered := c.orders[s]
	return ordered && !o.reconnect
}

// forget is called after the connection of a session has left its host, so that no call finds it.
func (c *closer) forget(s *Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.orders, s)
}

// closing is a session whose turn has come.
type closing struct {
	session *Session
	order   order
}

func (c *closer) run() {
	for {
		round, more := c.next(time.Now())
		for _, now := range round {
			c.end(now.session, now.order)
		}
		if !more {
			return
		}
		time.Sleep(closeTick)
	}
}

// next returns the sessions to close now. It returns false if no session waits.
func (c *closer) next(now time.Time) (round []closing, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if saved := now.Add(-closeTick); c.paid.Before(saved) {
		c.paid = saved
	}
	for len(c.turns) > 0 {
		if now.Sub(c.paid) < closePace {
			return round, true
		}
		q := c.turns[0]
		c.turns = c.turns[1:]
		s := q.sessions[0]
		q.sessions[0] = nil
		q.sessions = q.sessions[1:]
		if len(q.sessions) > 0 {
			c.turns = append(c.turns, q)
		} else {
			delete(c.queues, q.host)
		}
		if s.hasEnded() {
			continue
		}
		c.paid = c.paid.Add(closePace)
		round = append(round, closing{s, c.orders[s]})
	}
	c.running, c.turns = false, nil
	return round, false
}

// endByBackend closes the connection of a session.
func endByBackend(s *Session, o order) {
	code := socket.CloseDisconnected
	if o.reconnect {
		code = socket.CloseReconnect
	}
	s.Close(code, o.reason, socket.ReasonDisconnected)
}

func (s *Session) hasEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}
