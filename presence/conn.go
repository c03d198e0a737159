package presence

import (
	"crypto/rand"
	"encoding/base64"
)

// Conn is one connection to a host. Its methods are safe for concurrent use.
type Conn struct {
	host *Host
	id   ID
	out  Outbox

	// The host's lock guards the rest.
	index       int           // in host.conns
	user        *user         // nil: anonymous
	prev, next  *Conn         // of the same user
	memberships []*membership // few, so a scan finds one
	closed      bool
}

// membership is one connection's place in one channel.
type membership struct {
	conn       *Conn
	channel    *channel
	index      int    // in channel.listeners
	watchIndex int    // in channel.watchers, -1 when not there
	ref        string // what answers the join, while waiting is set
	watch      Watch
	joining    bool // in channel.joiners, for its snapshot
	assigned   bool // see Conn.Assign
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
		c.unlinkUser()
	}
	c.linkUser(fresh)
	h.invalidateConn(c.index)
	for _, m := range c.memberships {
		if fresh == old {
			break
		}
		// The new user arrives before the old one goes: neither can empty the channel.
		h.addConn(m.channel, fresh)
		if old != nil {
			h.removeConn(m.channel, old, false)
		}
		h.scheduleFlush(m.channel)
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
		h.removeListener(c.memberships[len(c.memberships)-1], !h.retired)
	}
	if c.user != nil {
		c.unlinkUser()
		h.release(c.user)
	}
	h.invalidateConn(c.index)
	h.invalidateConn(len(h.conns) - 1) // who takes the place
	h.conns.remove(c.index, func(c *Conn) *int { return &c.index })
	delete(h.byID, c.id)
	empty := len(h.conns) == 0
	h.mu.Unlock()

	if empty {
		h.registry.drop(h)
	}
}

// become makes c one of the user's connections, which acquire has counted.
func (c *Conn) linkUser(u *user) {
	c.user, c.next = u, u.first
	if u.first != nil {
		u.first.prev = c
	}
	u.first = c
}

// unbecome is the opposite of become. The caller releases the user.
func (c *Conn) unlinkUser() {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		c.user.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
}

func (c *Conn) hasUserID(user string) bool { return c.user != nil && c.user.ID == user }

func (c *Conn) membership(ch *channel) *membership {
	for _, m := range c.memberships {
		if m.channel == ch {
			return m
		}
	}
	return nil
}

// ID identifies a connection: 128 random bits, written as 22 characters of base64url.
type ID [16]byte

// newID returns a new random ID.
func newID() ID {
	var id ID
	_, _ = rand.Read(id[:]) // never fails: crypto/rand ends the process instead (Go 1.24)
	return id
}

// String returns the 22 characters of the ID.
func (id ID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// Append appends the 22 characters of the ID to b.
func (id ID) Append(b []byte) []byte { return base64.RawURLEncoding.AppendEncode(b, id[:]) }

// PrivateChannel returns the name of the connection's private channel.
func (id ID) PrivateChannel() string { return PrivatePrefix + id.String() }

// parsePrivate returns the ID in the name of a private channel. A text that decodes to the same
// bytes but is not what String returns names nothing.
func parsePrivate(channel string) (ID, bool) {
	var id ID
	text := channel[len(PrivatePrefix):]
	if len(text) != 22 {
		return id, false
	}
	if n, err := base64.RawURLEncoding.Strict().Decode(id[:], []byte(text)); err != nil || n != len(id) {
		return ID{}, false
	}
	return id, true
}
