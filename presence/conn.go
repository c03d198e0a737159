package presence

import (
	"crypto/rand"
	"encoding/base64"
	"slices"
)

// Conn is one connection to a host. Its methods are safe for concurrent use.
type Conn struct {
	host *Host
	id   ID
	out  Outbox

	// host.mu guards the fields below.
	index       int32         // index in host.conns
	user        *user         // nil if anonymous
	prev, next  *Conn         // neighbors in the list of the user's connections
	memberships []*membership // few, so a linear search is enough
	grants      *Grants       // what its login grants; nil for nothing
	closed      bool
	identified  bool     // user comes from Identify
	encoding    Encoding // of its frames; never changes
}

// membership is one connection in one channel that it has joined.
type membership struct {
	conn       *Conn
	channel    *channel
	index      int32 // index in channel.listeners
	watchIndex int32 // index in channel.watchers; -1 if not watching
	watch      Watch
	joining    bool // in channel.joiners: the join is unanswered
	assigned   bool // joined by Assign, see Unassign
	unsure     bool // stays only until authorize has been asked, see Asked
	lastDue    bool // the answer to its join is followed by the last event of the channel
	may        Permissions
	asked      Permissions // part of may that authorize gave
	proof      bool        // see Entry.Proof
	self       bool        // its frames are not native, and an answer to a join has had the connection itself as a member
	as         *Identity   // see Entry.Member; nil if it counts as conn.user
}

// ID returns the connection's ID.
func (c *Conn) ID() ID { return c.id }

// Host returns the name of the connection's host.
func (c *Conn) Host() HostName { return c.host.name }

// User returns the user that c is logged in as. It returns false if c is anonymous.
func (c *Conn) User() (User, bool) {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	if c.user == nil {
		return User{}, false
	}
	return c.user.known(), true
}

// Outbox returns the Outbox that c was connected with.
func (c *Conn) Outbox() Outbox { return c.out }

// SetGrants sets what the login of a new connection grants. It is called before the first join.
func (c *Conn) SetGrants(grants *Grants) {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	c.grants = grants.dropEnded(c.host.rules())
}

// Authenticate logs c in as u, with what the login grants. c keeps the channels that it still may
// join, and their watchers see the change. It is removed from the others, and receives a frame with
// [ReasonDenied] for each. It returns ErrClosed.
func (c *Conn) Authenticate(u User, grants *Grants) error {
	h := c.host
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	same := c.signedIn() && c.user.ID == u.ID
	c.login(u, grants)
	c.identified = false
	if !same {
		h.noteSignIn(c)
	}
	return nil
}

// login makes u the user of c, also in the channels in which it has no other identity.
func (c *Conn) login(u User, grants *Grants) {
	h := c.host
	c.grants = grants.dropEnded(h.rules())
	c.judgeLogin(u)
	old, user := c.user, h.acquire(u)
	if old != nil {
		c.unlinkUser()
	}
	c.linkUser(user)
	if old != nil && old != user {
		h.noteSignOut(c, old, false)
	}
	h.invalidateConn(c.index)
	for _, m := range c.memberships {
		if user == old {
			break
		}
		if m.as != nil {
			continue
		}
		// Add the new user before removing the old one, so that neither step empties the channel.
		h.addMembership(m)
		h.removeMembership(m.channel, old, nil, false)
		m.self = false
		h.scheduleFlush(m.channel)
	}
	if old != nil {
		h.release(old, false)
	}
}

// judgeLogin removes c from the channels that u may not join, before c becomes u: their watchers
// never see u. If c has the same user ID already, what authorize gave stays.
func (c *Conn) judgeLogin(u User) {
	h, same := c.host, c.hasUserID(u.ID)
	for _, m := range slices.Clone(c.memberships) {
		ch := m.channel
		if !ch.class.Grant && !ch.class.Quiet {
			continue
		}
		q := question{rules: h.rules(), host: h.name, name: ch.name, class: ch.class, user: u, known: true, grants: c.grants, proof: m.proof}
		if same {
			q.asked = m.asked
		}
		if !h.judge(m, q, same && m.unsure) {
			h.expel(m, ReasonDenied)
			continue
		}
		h.dropOverlay(ch)
	}
}

// Close removes c from its channels and its host. Its user counts as lost: watchers see it until
// the grace period of the [Rules] ends. If the host is retired, the user counts as having left, see
// [Host.Retire]. Closing twice is not an error.
func (c *Conn) Close() { c.close(true) }

// Quit is [Conn.Close], except that the user counts as having left.
func (c *Conn) Quit() { c.close(false) }

func (c *Conn) close(lost bool) {
	h := c.host
	h.mu.Lock()
	if c.closed {
		h.mu.Unlock()
		return
	}
	c.closed = true
	for len(c.memberships) > 0 {
		h.removeListener(c.memberships[len(c.memberships)-1], lost && !h.retired)
	}
	h.unwatchUsers(c)
	if c.user != nil {
		c.unlinkUser()
		h.noteSignOut(c, c.user, lost && !h.retired)
		h.release(c.user, !h.retired)
	}
	h.invalidateConn(c.index)
	h.invalidateConn(int32(len(h.conns) - 1)) // the last connection moves to c.index
	h.conns.remove(c.index, func(c *Conn) *int32 { return &c.index })
	delete(h.byID, c.id)
	empty := len(h.conns) == 0
	h.mu.Unlock()

	if empty {
		h.registry.drop(h)
	}
}

// linkUser adds c to the list of the user's connections. acquire has counted it.
func (c *Conn) linkUser(u *user) {
	c.user, c.next = u, u.first
	if u.first != nil {
		u.first.prev = c
	}
	u.first = c
}

// unlinkUser removes c from the list of its user's connections. The caller releases the user.
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

// NewID returns a new random ID.
func NewID() ID {
	var id ID
	_, _ = rand.Read(id[:]) // never fails: since Go 1.24, crypto/rand ends the process instead
	return id
}

// String returns the 22 characters of the ID.
func (id ID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// Append appends the 22 characters of the ID to b.
func (id ID) Append(b []byte) []byte { return base64.RawURLEncoding.AppendEncode(b, id[:]) }

// PrivateChannel returns the name of the connection's private channel.
func (id ID) PrivateChannel() string { return PrivatePrefix + id.String() }

// parsePrivate returns the ID in the name of a private channel. It returns false for a name that
// [ID.PrivateChannel] does not return, even if it decodes to an ID.
func parsePrivate(channel string) (ID, bool) { return ParseID(channel[len(PrivatePrefix):]) }

// ParseID returns the ID whose String is the text. It returns false if there is none.
func ParseID(text string) (ID, bool) {
	var id ID
	if len(text) != 22 {
		return id, false
	}
	if n, err := base64.RawURLEncoding.Strict().Decode(id[:], []byte(text)); err != nil || n != len(id) {
		return ID{}, false
	}
	return id, true
}
