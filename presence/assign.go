package presence

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

// Unassign takes c out of a channel that it was assigned to, for [ReasonRemoved]. It reports whether c was assigned to
// it.
func (c *Conn) Unassign(name string) bool {
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
	c.out.Push(h.registry.encoder.Left("", name, ReasonRemoved))
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
