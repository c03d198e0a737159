package presence

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Join makes c a listener of the named channel, which becomes active with its first listener.
// Joining a channel again is not an error and changes what c watches.
//
// The answer, made by [Encoder].Joined with ref, is pushed to the Outbox:
//   - before Join returns, if watch is WatchNone or the channel is small
//   - with the next presence frame, if the channel has many watchers or members
//   - after [Pods.Ready], if the parts of other pods are not known yet
//
// It returns ErrBadChannel, ErrReservedChannel, ErrLoginRequired, ErrDenied, ErrTooManyChannels,
// ErrUnavailable or ErrClosed. If it returns an error, nothing was pushed.
func (c *Conn) Join(name string, watch Watch, ref string) error {
	h := c.host
	h.mu.Lock()
	defer h.mu.Unlock()
	ch, err := c.admit(name)
	if err != nil {
		return err
	}
	m := c.membership(ch)
	if m == nil {
		m = h.addListener(ch, c)
	}
	h.setWatch(m, watch, ref)
	h.scheduleFlush(ch)
	return nil
}

// Leave removes c from the named channel and pushes a frame made by [Encoder].Left with ref.
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
	c.out.Push(h.registry.encoder.Left(ref, name, ""))
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
	ch, err := c.admit(name)
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
		m = h.addListener(ch, c)
		h.setWatch(m, WatchNone, "")
		h.scheduleFlush(ch)
	}
	m.assigned = true
	return nil
}

// Unassign removes c from a channel that [Conn.Assign] joined it to. c receives a frame with
// [ReasonRemoved]. It returns false if Assign has not joined c to the channel.
func (c *Conn) Unassign(name string) bool {
	h := c.host
	h.mu.Lock()
	defer h.mu.Unlock()
	ch := h.channels[name]
	if c.closed || ch == nil {
		return false
	}
	m := c.membership(ch)
	if m == nil || !m.assigned {
		return false
	}
	if m.joining {
		h.answerEarly(m) // answer the join before the removal
	}
	h.removeListener(m, false)
	c.out.Push(h.registry.encoder.Left("", name, ReasonRemoved))
	return true
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

// joinVerdict is the answer of the classifier and the authorizer to one join. It is valid for these
// rules; the authorizer's part also only for this user.
type joinVerdict struct {
	rules      *Rules
	classified bool
	class      Class
	classErr   error
	authorized bool
	user       User // user that the authorizer was asked about; zero if anonymous is set
	anonymous  bool
	authErr    error
}

// admit returns the channel that c may join, active or new. The host's lock is held on entry and on
// return, but released while the classifier or the authorizer runs. So every condition is checked
// again after each of their answers.
func (c *Conn) admit(name string) (*channel, error) {
	h := c.host
	var v joinVerdict
	for {
		if c.closed {
			return nil, ErrClosed
		}
		rules := h.rules()
		if err := rules.checkName(name); err != nil {
			return nil, err
		}
		ch := h.channels[name]
		if ch != nil && c.membership(ch) != nil {
			return ch, nil
		}
		if err := c.checkLimits(rules, ch != nil); err != nil {
			return nil, err
		}
		if v.rules != rules {
			v = joinVerdict{rules: rules}
		}

		// If another connection has activated the channel meanwhile, its class stands, whatever the
		// classifier answered here.
		class := v.class
		switch {
		case ch != nil:
			class = ch.class
		case !v.classified:
			v.class, v.classErr = h.classifyUnlocked(v.rules, name)
			v.classified = true
			continue
		case v.classErr != nil:
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, v.classErr)
		}
		if err := c.checkClass(class); err != nil {
			return nil, err
		}

		switch {
		case rules.Authorizer == nil:
		case !v.authorized || !c.isUser(v.user, v.anonymous):
			c.authorizeUnlocked(&v, name)
			continue
		case errors.Is(v.authErr, ErrDenied):
			return nil, v.authErr
		case v.authErr != nil:
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, v.authErr)
		}
		if ch == nil {
			ch = newChannel(name, class)
			h.channels[name] = ch
			h.recordChanges(ch)
		}
		return ch, nil
	}
}

// classifyUnlocked calls the classifier without the host's lock. The lock is held on entry and on
// return, even if the classifier panics.
func (h *Host) classifyUnlocked(rules *Rules, name string) (Class, error) {
	h.mu.Unlock()
	defer h.mu.Lock()
	return rules.classify(h.name, name)
}

// authorizeUnlocked calls the authorizer like classifyUnlocked and stores its answer in v.
func (c *Conn) authorizeUnlocked(v *joinVerdict, name string) {
	v.authorized, v.anonymous, v.user = true, c.user == nil, User{}
	var user *User
	if c.user != nil {
		v.user = c.user.User
		user = &User{ID: c.user.ID, Email: c.user.Email}
	}
	c.host.mu.Unlock()
	defer c.host.mu.Lock()
	v.authErr = v.rules.Authorizer.Authorize(c.host.name, name, user)
}

// isUser reports whether c is still logged in as user, or still anonymous.
func (c *Conn) isUser(user User, anonymous bool) bool {
	if c.user == nil {
		return anonymous
	}
	return !anonymous && c.user.User == user
}

// checkLimits returns ErrTooManyChannels if c is at its limit, or if the channel is not active and
// the host is at its limit.
func (c *Conn) checkLimits(rules *Rules, active bool) error {
	h := c.host
	if m := rules.MaxChannels; m > 0 && len(c.memberships) >= m {
		return fmt.Errorf("%w on this connection: the limit is %d", ErrTooManyChannels, m)
	}
	if m := rules.MaxHostChannels; !active && m > 0 && len(h.channels) >= m {
		return fmt.Errorf("%w on this host: the limit is %d", ErrTooManyChannels, m)
	}
	return nil
}

// checkClass returns the error that refuses c a channel of the class, or nil.
func (c *Conn) checkClass(class Class) error {
	switch {
	case class.Denied:
		return ErrDenied
	case class.Kind == Authenticated && c.user == nil:
		return ErrLoginRequired
	}
	return nil
}
