package presence

import (
	"fmt"
)

// Assignable tells whether users can be assigned to the named channel of the host.
//
// It returns ErrBadChannel, ErrReservedChannel, ErrDenied, ErrNotAuthenticated or ErrUnavailable.
func (r *Rules) Assignable(host HostName, name string) error {
	if err := r.checkName(name); err != nil {
		return err
	}
	class, err := r.classify(host, name)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case class.Denied:
		return ErrDenied
	case class.Kind != Authenticated:
		return ErrNotAuthenticated
	}
	return nil
}

// Assign joins c to a channel that its user is assigned to. c is told as for a join, without being asked; if it is there
// already it is told nothing. It is taken out again by Unassign. If c has another user by now, nothing is done.
//
// It returns ErrNotAuthenticated, and what Join does.
func (c *Conn) Assign(user, name string) error {
	h := c.host
	h.mu.Lock()
	defer h.mu.Unlock()
	if !c.closed && !c.belongs(user) {
		return nil
	}
	ch, err := c.enter(name)
	if err != nil {
		return err
	}
	// The lock was let go meanwhile, and enter lets others into anonymous channels too.
	if ch.class.Kind != Authenticated || !c.belongs(user) {
		if len(ch.listeners) == 0 {
			h.deactivate(ch)
		}
		if ch.class.Kind != Authenticated {
			return ErrNotAuthenticated
		}
		return nil
	}
	m := c.find(ch)
	if m == nil {
		m = h.add(ch, c)
		h.watch(m, WatchNone, "")
		h.changed(ch)
	}
	m.assigned = true
	return nil
}

// Unassign takes c out of a channel that it was assigned to, and tells it the reason. It reports false if c was not
// assigned to it.
func (c *Conn) Unassign(name, reason string) bool {
	h := c.host
	h.mu.Lock()
	defer h.mu.Unlock()
	ch := h.channels[name]
	if c.closed || ch == nil {
		return false
	}
	m := c.find(ch)
	if m == nil || !m.assigned {
		return false
	}
	if m.waiting {
		h.answerEarly(m) // its join is answered before it is out
	}
	h.remove(m, false)
	c.out.Push(h.registry.encoder.Left("", name, reason))
	return true
}

// Assigned returns the channels that c was joined to by Assign and still listens to.
func (c *Conn) Assigned() []string {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	var names []string
	for _, m := range c.memberships {
		if m.assigned {
			names = append(names, m.channel.name)
		}
	}
	return names
}

// Outbox returns where the frames for c go.
func (c *Conn) Outbox() Outbox { return c.out }

func (c *Conn) belongs(user string) bool { return c.user != nil && c.user.ID == user }

// UserConns returns the connections of a user.
func (h *Host) UserConns(user string) []*Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	u := h.users[user]
	if u == nil {
		return nil
	}
	conns := make([]*Conn, 0, u.conns)
	for c := u.first; c != nil; c = c.next {
		conns = append(conns, c)
	}
	return conns
}

// LoggedInConns returns the connections that have a user.
func (h *Host) LoggedInConns() []*Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	conns := make([]*Conn, 0, h.loggedIn)
	for _, c := range h.conns {
		if c.user != nil {
			conns = append(conns, c)
		}
	}
	return conns
}

// KindOf returns the kind of an active channel, and false when the channel is not active.
func (h *Host) KindOf(name string) (Kind, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ch := h.channels[name]
	if ch == nil {
		return 0, false
	}
	return ch.class.Kind, true
}

// become makes c one of the user's connections, which acquire has counted.
func (c *Conn) become(u *user) {
	c.user, c.next = u, u.first
	if u.first != nil {
		u.first.prev = c
	}
	u.first = c
}

// unbecome is the opposite of become. The caller releases the user.
func (c *Conn) unbecome() {
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
