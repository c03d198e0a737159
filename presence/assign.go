package presence

// Assign joins c to a channel that its user is assigned to, without a request of the client. c
// receives the same answer as for a join, and nothing if it listens to the channel already. If c is
// no longer logged in as the user, Assign does nothing.
//
// It returns ErrNotAuthenticated if the channel is not authenticated, or an error of [Conn.Join].
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

// Unassign takes c out of a channel that [Conn.Assign] joined it to. c receives a frame with
// [ReasonRemoved]. It reports whether c was assigned to the channel.
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

// Assigned returns the channels that [Conn.Assign] joined c to and that it still listens to.
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
