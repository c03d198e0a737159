package presence

import (
	"strings"
	"unicode/utf8"
)

// Conn is one connection to a host. Its methods are safe for concurrent use.
type Conn struct {
	host *Host
	id   ID
	out  Outbox

	// The host's lock guards the rest.
	pos         int           // in host.conns
	user        *user         // nil: anonymous
	prev, next  *Conn         // of the same user
	memberships []*membership // few, so a scan finds one
	closed      bool
}

// membership is one connection's place in one channel.
type membership struct {
	conn     *Conn
	channel  *channel
	pos      int    // in channel.listeners
	watchPos int    // in channel.watchers, -1 when not there
	ref      string // what answers the join, while waiting is set
	watch    Watch
	waiting  bool // in channel.joiners, for its snapshot
	assigned bool // see Conn.Assign
}

// ID returns the connection's ID.
func (c *Conn) ID() ID { return c.id }

// Host returns the name of the connection's host.
func (c *Conn) Host() HostName { return c.host.name }

// User returns the user that the connection is logged in as. It returns false for an anonymous
// connection.
func (c *Conn) User() (User, bool) {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	if c.user == nil {
		return User{}, false
	}
	return c.user.User, true
}

// Outbox returns the Outbox that the connection was made with.
func (c *Conn) Outbox() Outbox { return c.out }

// Leave takes c out of the named channel and pushes a frame made by [Encoder].Left with ref.
//
// It returns ErrNotJoined, ErrBadChannel, ErrReservedChannel or ErrClosed, and then nothing was
// pushed.
func (c *Conn) Leave(name, ref string) error {
	h := c.host
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	if IsPrivate(name) {
		return ErrReservedChannel
	}
	var m *membership
	if ch := h.channels[name]; ch != nil {
		m = c.find(ch)
	}
	if m == nil {
		if strings.ContainsRune(name, utf8.RuneError) {
			return errReplaced
		}
		return ErrNotJoined
	}
	if m.waiting {
		h.answerEarly(m) // the join is answered before the leave
	}
	h.remove(m, false)
	c.out.Push(h.registry.encoder.Left(ref, name, ""))
	return nil
}

// Authenticate logs the connection in as another user, in place. The connection stays in its
// channels, and the watchers of each see the change.
//
// It returns ErrClosed.
func (c *Conn) Authenticate(u User) error {
	h := c.host
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	old, fresh := c.user, h.acquire(u)
	if old != nil {
		c.unbecome()
	}
	c.become(fresh)
	h.touchConn(c.pos)
	for _, m := range c.memberships {
		if fresh == old {
			break
		}
		// The new user arrives before the old one goes: neither can empty the channel.
		h.arrive(m.channel, fresh)
		if old != nil {
			h.depart(m.channel, old, false)
		}
		h.changed(m.channel)
	}
	if old != nil {
		h.release(old)
	}
	return nil
}

// Close takes the connection out of its channels and its host. The connection counts as lost, so
// watchers see its user for the grace period of the [Rules], unless the host is retired, see
// [Host.Retire]. Closing twice is not an error.
func (c *Conn) Close() {
	h := c.host
	h.mu.Lock()
	if c.closed {
		h.mu.Unlock()
		return
	}
	c.closed = true
	for len(c.memberships) > 0 {
		h.remove(c.memberships[len(c.memberships)-1], !h.retired)
	}
	if c.user != nil {
		c.unbecome()
		h.release(c.user)
	}
	h.touchConn(c.pos)
	h.touchConn(len(h.conns) - 1) // who takes the place
	h.conns.remove(c.pos, func(c *Conn) *int { return &c.pos })
	delete(h.byID, c.id)
	empty := len(h.conns) == 0
	h.mu.Unlock()

	if empty {
		h.registry.drop(h)
	}
}

func (c *Conn) find(ch *channel) *membership {
	for _, m := range c.memberships {
		if m.channel == ch {
			return m
		}
	}
	return nil
}
