package presence

import (
	"strings"
	"unicode/utf8"
)

// Join makes c a listener of the named channel, which becomes active with its first listener.
// Joining a channel again is not an error and changes what c watches.
//
// The answer, made by [FrameEncoder].Joined with ref, is pushed to the Outbox:
//   - before Join returns, if watch is WatchNone or the channel is small
//   - with the next presence frame, if the channel has many watchers or members
//   - after [Pods.Ready], if the parts of other pods are not known yet
//
// It returns ErrBadChannel, ErrReservedChannel, ErrLoginRequired, ErrDenied, ErrGrantNeeded,
// ErrTooManyChannels, ErrUnavailable or ErrClosed. If it returns an error, nothing has changed.
func (c *Conn) Join(name string, watch Watch, ref string) error {
	return c.Enter(name, Entry{Watch: watch, Ref: ref})
}

// Leave removes c from the named channel and pushes a frame made by [FrameEncoder].Left with ref.
//
// It returns ErrNotJoined, ErrBadChannel, ErrReservedChannel or ErrClosed. If it returns an error,
// nothing was pushed.
func (c *Conn) Leave(name, ref string) error {
	h := c.host
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	if isPrivate(name) {
		return ErrReservedChannel
	}
	var m *membership
	if ch := h.channels[name]; ch != nil {
		m = c.membership(ch)
	}
	if m == nil {
		if strings.ContainsRune(name, utf8.RuneError) {
			return errReplaced
		}
		return ErrNotJoined
	}
	if m.joining {
		h.answerEarly(m) // answer the join before the leave
	}
	h.removeListener(m, false)
	c.pushLeft(ref, name, "")
	return nil
}

// Assign joins c to a channel that its user is assigned to. c receives the answer to a join without
// ref, unless it listens to the channel already. If c is no longer logged in as the user, Assign
// does nothing. It returns an error of [Conn.Join], or another one if the channel is not
// authenticated.
func (c *Conn) Assign(user, name string) error {
	h := c.host
	h.mu.Lock()
	defer h.mu.Unlock()
	if !c.closed && !c.hasUserID(user) {
		return nil
	}
	var e Entry
	if ch := h.channels[name]; ch != nil {
		if m := c.membership(ch); m != nil {
			e.Member, e.Proof = m.as, m.proof // an assignment changes neither
		}
	}
	ch, v, err := c.admit(name, &e)
	if err != nil {
		return err
	}
	// admit also admits to anonymous channels, and c may have logged in as another user meanwhile.
	if ch.class.Kind != Authenticated || !c.hasUserID(user) {
		if len(ch.listeners) == 0 {
			h.deactivate(ch)
		}
		if ch.class.Kind != Authenticated {
			return errNotAuthenticated
		}
		return nil
	}
	m := c.membership(ch)
	if m == nil {
		m = h.addListener(ch, c, v, new(Entry))
		h.answerJoin(m, true, WatchNone, "")
		h.scheduleFlush(ch)
	} else {
		stays := h.judge(m, m.question(h.rules()), m.unsure)
		if !stays { // the assignment has ended again
			h.expel(m, ReasonDenied)
			return errMayNotJoin
		}
		h.dropOverlay(ch)
	}
	m.assigned = true
	return nil
}

// Unassign removes c from a channel after the assignment of its user has ended. c receives a frame
// with [ReasonRemoved]. If the channel needs a grant, c stays if it has another one. Otherwise, c
// stays if [Conn.Assign] has not joined it. Unassign returns false if c stays.
func (c *Conn) Unassign(name string) bool {
	h := c.host
	h.mu.Lock()
	defer h.mu.Unlock()
	ch := h.channels[name]
	if c.closed || ch == nil {
		return false
	}
	m := c.membership(ch)
	if m == nil || !m.assigned && !ch.class.Grant {
		return false
	}
	m.assigned = false
	if m.proof {
		return false
	}
	rules := *h.rules()
	if rules.Kept != nil { // a kept answer would open the channel without an end: c can join again
		rules.Kept = answered(m.asked)
	}
	if ch.class.Grant && h.judge(m, m.question(&rules), m.unsure) {
		h.dropOverlay(ch)
		return false
	}
	h.expel(m, ReasonRemoved)
	return true
}

// Expel removes c from the channels among the named ones that it listens to, and returns these. c
// receives a frame with [ReasonRemoved] for each. Private channels are left out.
func (c *Conn) Expel(channels []string) (left []string) {
	h := c.host
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range channels {
		ch := h.channels[name]
		if ch == nil {
			continue
		}
		if m := c.membership(ch); m != nil {
			h.expel(m, ReasonRemoved)
			left = append(left, name)
		}
	}
	return left
}

// Assigned returns the channels that [Conn.Assign] joined c to and that c still listens to.
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
