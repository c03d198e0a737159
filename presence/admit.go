package presence

import (
	"errors"
	"fmt"
)

// joinVerdict is the answer of the classifier and the authorizer to one join. It is valid for these
// rules; the authorizer's part also only for this user.
type joinVerdict struct {
	rules      *Rules
	classified bool
	class      Class
	classErr   error
	authorized bool
	user       User // what the authorizer was told of the member; zero if anonymous is set
	anonymous  bool
	authErr    error
}

// admit returns the channel that c may join, active or new, and the permissions of c there, unless
// it has joined already. The host's lock is held on entry and on return, but released while the
// classifier or the authorizer runs. So every condition is checked again after each of their
// answers.
func (c *Conn) admit(name string, e *Entry) (*channel, permit, error) {
	h := c.host
	var v joinVerdict
	for {
		if c.closed {
			return nil, permit{}, ErrClosed
		}
		rules := h.rules()
		if err := rules.checkName(name); err != nil {
			return nil, permit{}, err
		}
		ch := h.channels[name]
		var m *membership
		if ch != nil {
			m = c.membership(ch)
		}
		if m != nil && m.countsAs(e.Member) {
			may := m.may
			if e.Proof && !ch.class.IsOwn() {
				may = MayAll
			}
			return ch, permit{}, c.question(rules, name, ch.class, 0).checkMay(may, e.Watch)
		}
		if err := c.checkLimits(rules, ch != nil); m == nil && err != nil {
			return nil, permit{}, err
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
			return nil, permit{}, fmt.Errorf("%w: %w", ErrUnavailable, v.classErr)
		}
		if err := c.checkClass(class, e.Proof); err != nil {
			return nil, permit{}, err
		}
		q := c.question(rules, name, class, 0)
		q.proof = e.Proof
		granted := q.answer()
		if err := q.checkMay(granted.may, e.Watch); err != nil {
			return nil, permit{}, err
		}

		switch {
		case rules.Authorizer == nil:
		case !v.authorized || !c.isMember(e.Member, v.user, v.anonymous):
			c.authorizeUnlocked(&v, name, e.Member)
			continue
		case errors.Is(v.authErr, ErrDenied):
			return nil, permit{}, v.authErr
		case v.authErr != nil:
			return nil, permit{}, fmt.Errorf("%w: %w", ErrUnavailable, v.authErr)
		}
		if ch == nil {
			ch = newChannel(name, class)
			h.channels[name] = ch
			h.recordChanges(ch)
			if class.Provisional {
				h.scheduleRetry()
			}
		}
		return ch, granted, nil
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
func (c *Conn) authorizeUnlocked(v *joinVerdict, name string, as *Identity) {
	who, ok := c.who(as)
	v.authorized, v.anonymous, v.user = true, !ok, who
	var user *User
	if ok {
		asked := who
		user = &asked
	}
	c.host.mu.Unlock()
	defer c.host.mu.Lock()
	v.authErr = v.rules.Authorizer.Authorize(c.host.name, name, user)
}

// isMember reports whether the authorizer would be told the same of c as before.
func (c *Conn) isMember(as *Identity, user User, anonymous bool) bool {
	who, ok := c.who(as)
	return ok == !anonymous && who == user
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
func (c *Conn) checkClass(class Class, proof bool) error {
	switch {
	case class.Denied:
		return ErrDenied
	case class.Kind == Authenticated && c.user == nil && (!proof || class.IsOwn()):
		return ErrLoginRequired
	}
	return nil
}
