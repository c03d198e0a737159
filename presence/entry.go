package presence

import (
	"fmt"
	"slices"
)

// Entry is how a connection enters a channel, see [Conn.Enter].
type Entry struct {
	Watch Watch
	Ref   string // as in [Conn.Join]
	// Proof says that the backend has vouched for this connection in this channel. The connection
	// has all permissions and needs no user, unless the class is Denied or the channel is another
	// user's own one. It stays as long as that is so, whatever else the rules say later.
	Proof bool
	// Member is the user as which the connection counts in the channel. If nil, it counts as its
	// own user, or as nobody.
	Member *Identity
	// MaxMembers refuses a user that would be one more member than that, as far as this pod knows.
	// 0: no limit.
	MaxMembers int
}

// Identity is a user as which a connection counts in one channel.
type Identity struct {
	ID    string
	Email string // "" if it is not known
	// Info is what else is shown of the user in this channel, as [CheckIdentityInfo] accepts it:
	// any JSON value, or "" for nothing. The latest one of a membership of the user replaces
	// [User].Info.
	Info string
}

// Enter makes c a listener of the named channel like [Conn.Join]. Entering a channel again is not
// an error: c then watches as the Entry says, and counts as its Member.
func (c *Conn) Enter(name string, e Entry) error {
	h := c.host
	h.mu.Lock()
	defer h.mu.Unlock()
	ch, v, err := c.admit(name, &e)
	if err != nil {
		return err
	}
	if err := h.checkMembers(ch, c, &e); err != nil {
		return err
	}
	if m := c.membership(ch); m != nil {
		h.reenter(m, &e)
		h.answerJoin(m, false, e.Watch, e.Ref)
	} else {
		h.answerJoin(h.addListener(ch, c, v, &e), true, e.Watch, e.Ref)
	}
	h.scheduleFlush(ch)
	return nil
}

// checkMembers returns ErrTooManyMembers if c would be one member too many.
func (h *Host) checkMembers(ch *channel, c *Conn, e *Entry) error {
	who, known := c.who(e.Member)
	if e.MaxMembers <= 0 || !known || int(ch.visible) < e.MaxMembers {
		return nil
	}
	if u := h.users[who.ID]; u != nil {
		if m := u.in(ch); m != nil && m.visible() {
			return nil
		}
	}
	return fmt.Errorf("%w: it has %d", ErrTooManyMembers, ch.visible)
}

// reenter applies an Entry to a membership that exists.
func (h *Host) reenter(m *membership, e *Entry) {
	if e.Proof && !m.proof {
		m.proof = true
		h.judge(m, m.question(h.rules()), false)
	}
	if m.as != e.Member {
		h.setIdentity(m, e.Member)
	}
}

// setIdentity changes as whom a membership counts.
func (h *Host) setIdentity(m *membership, as *Identity) {
	ch, before, was := m.channel, h.memberOf(m), m.as
	m.as = as.clone()
	// Add the new user before removing the old one, so that neither step empties the channel.
	h.addMembership(m)
	h.removeMembership(ch, before, was, false)
	m.self = m.self && before == h.memberOf(m)
}

func (i *Identity) clone() *Identity {
	if i == nil {
		return nil
	}
	as := *i
	return &as
}

// who returns the ID as which a connection counts in a channel, and what is known of it; false if
// it counts as nobody.
func (c *Conn) who(as *Identity) (User, bool) {
	switch {
	case as != nil:
		return User{ID: as.ID, Email: as.Email}, true
	case c.user != nil:
		return User{ID: c.user.ID, Email: c.user.Email}, true
	}
	return User{}, false
}

// countsAs reports whether the membership counts as the same user as with another identity.
func (m *membership) countsAs(as *Identity) bool {
	now, ok := m.conn.who(m.as)
	then, known := m.conn.who(as)
	return ok == known && now.ID == then.ID
}

// memberOf returns the user as whom a membership counts; nil for nobody. In a channel that is not
// authenticated, it can be nil for an identity.
func (h *Host) memberOf(m *membership) *user {
	if m.as != nil {
		return h.users[m.as.ID]
	}
	return m.conn.user
}

// addMembership counts a listener as its user, or as a connection without one.
func (h *Host) addMembership(m *membership) {
	ch := m.channel
	switch {
	case m.as == nil && m.conn.user == nil:
		ch.userless++
	case m.as == nil:
		h.addConn(ch, m.conn.user)
	case ch.class.Kind == Authenticated:
		h.addConnAs(ch, h.userNamed(m.as.ID), m.as)
	}
}

// removeMembership is the opposite of addMembership, for a listener that has counted as the user.
func (h *Host) removeMembership(ch *channel, u *user, as *Identity, lost bool) {
	switch {
	case as == nil && u == nil:
		ch.userless--
	case u != nil:
		h.removeConnAs(ch, u, as, lost)
	}
}

// userNamed returns the user with the ID, which it creates if necessary. The caller makes it a
// member.
func (h *Host) userNamed(id string) *user {
	u := h.users[id]
	if u == nil {
		u = &user{ID: id, login: elsewhere}
		h.users[id] = u
	}
	return u
}

// Identify is [Conn.Authenticate] for a user who is known because the connection enters a channel
// as u. That is no login, see [Conn.SignedIn]. If c has a user, nothing changes.
func (c *Conn) Identify(u User, grants *Grants) error {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	switch {
	case c.closed:
		return ErrClosed
	case c.user != nil:
		return nil
	}
	c.login(u, grants)
	c.identified = true
	return nil
}

// SignedIn reports whether c has a user by a login, and not only by [Conn.Identify].
func (c *Conn) SignedIn() bool {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	return c.signedIn()
}

func (c *Conn) signedIn() bool { return c.user != nil && !c.identified }

// identifiedMembers returns the members of a user that memberships with an identity describe.
func (u *user) identifiedMembers() []*member {
	if !slices.ContainsFunc(u.members.all(), (*member).isIdentified) {
		return nil
	}
	var list []*member
	for _, m := range u.members.all() {
		if m.isIdentified() {
			list = append(list, m)
		}
	}
	return list
}

func (m *member) isIdentified() bool { return m.own != nil }

// ConnsAs returns the connections that are in a channel as the user by [Entry].Member, each once.
func (h *Host) ConnsAs(user string) (conns []*Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	u := h.users[user]
	if u == nil {
		return nil
	}
	seen := make(map[*Conn]bool)
	for _, of := range u.identifiedMembers() {
		for _, m := range of.channel.listeners {
			if m.as != nil && m.as.ID == user && !seen[m.conn] {
				seen[m.conn] = true
				conns = append(conns, m.conn)
			}
		}
	}
	return conns
}
