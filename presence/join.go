package presence

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Join makes c a listener of the named channel, which becomes active with its first listener.
// Joining a channel again is not an error; it changes what is watched.
//
// The answer, made by [Encoder].Joined with ref, is pushed to the Outbox:
//   - with the channel's next presence frame, if c watches a channel with very many watchers
//   - after [Pods.Ready], if c watches a channel whose parts on other pods are not known yet
//   - otherwise before Join returns
//
// It returns ErrBadChannel, ErrReservedChannel, ErrLoginRequired, ErrDenied, ErrTooManyChannels,
// ErrUnavailable or ErrClosed, and then nothing was pushed.
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
		h.answerEarly(m) // the join is answered before the leave
	}
	h.removeListener(m, false)
	c.out.Push(h.registry.encoder.Left(ref, name, ""))
	return nil
}

// Assign joins c to a channel that its user is assigned to, without a request of the client. c
// receives the same answer as for a join, and nothing if it listens to the channel already. If c is
// no longer logged in as the user, Assign does nothing.
//
// It returns an error of [Conn.Join], or another one if the channel is not authenticated.
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
	// The lock was let go meanwhile, and enter lets others into anonymous channels too.
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
	m := c.membership(ch)
	if m == nil || !m.assigned {
		return false
	}
	if m.joining {
		h.answerEarly(m) // its join is answered before it is out
	}
	h.removeListener(m, false)
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

// asked is what the classifier and the authorizer of some rules have said about a join. It holds as
// long as the rules do, and what the authorizer said as long as the user is the same.
type joinVerdict struct {
	rules      *Rules
	classified bool
	class      Class
	classErr   error
	authorized bool
	user       User // whom the authorizer was asked about
	anonymous  bool
	authErr    error
}

// enter returns the channel for c to join, active or fresh. The host's lock is held, but let go
// while the classifier or the authorizer is asked: anything may have happened meanwhile, so all is
// looked at again after each answer.
func (c *Conn) admit(name string) (*channel, error) {
	h := c.host
	var known joinVerdict
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
		if known.rules != rules {
			known = joinVerdict{rules: rules}
		}

		// A channel that another connection activated has its class, whatever became of this
		// question.
		class := known.class
		switch {
		case ch != nil:
			class = ch.class
		case !known.classified:
			known.class, known.classErr = h.classifyUnlocked(known.rules, name)
			known.classified = true
			continue
		case known.classErr != nil:
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, known.classErr)
		}
		if err := c.checkClass(class); err != nil {
			return nil, err
		}

		switch {
		case rules.Authorizer == nil:
		case !known.authorized || !c.isUser(known.user, known.anonymous):
			c.authorizeUnlocked(&known, name)
			continue
		case errors.Is(known.authErr, ErrDenied):
			return nil, known.authErr
		case known.authErr != nil:
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, known.authErr)
		}
		if ch == nil {
			ch = newChannel(name, class)
			h.channels[name] = ch
			h.recordChanges(ch)
		}
		return ch, nil
	}
}

// classify asks without the lock, which is held before and after, whatever the classifier does.
func (h *Host) classifyUnlocked(rules *Rules, name string) (Class, error) {
	h.mu.Unlock()
	defer h.mu.Lock()
	return rules.classify(h.name, name)
}

// authorize asks without the lock, which is held before and after, whatever the authorizer does.
func (c *Conn) authorizeUnlocked(known *joinVerdict, name string) {
	known.authorized, known.anonymous, known.user = true, c.user == nil, User{}
	var user *User
	if c.user != nil {
		known.user = c.user.User
		user = &User{ID: c.user.ID, Email: c.user.Email}
	}
	c.host.mu.Unlock()
	defer c.host.mu.Lock()
	known.authErr = known.rules.Authorizer.Authorize(c.host.name, name, user)
}

// is reports whether c is logged in as the user, or anonymous, still.
func (c *Conn) isUser(user User, anonymous bool) bool {
	if c.user == nil {
		return anonymous
	}
	return !anonymous && c.user.User == user
}

// full returns an error if c cannot join one more channel: c is at its limit, or the channel is not
// active and the host is at its own.
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

// allowed reports whether c may listen to a channel of the class.
func (c *Conn) checkClass(class Class) error {
	switch {
	case class.Denied:
		return ErrDenied
	case class.Kind == Authenticated && c.user == nil:
		return ErrLoginRequired
	}
	return nil
}
