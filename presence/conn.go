package presence

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Watch is how much of a channel's presence a listener wants to hear.
type Watch uint8

// The three ways to watch a channel.
const (
	WatchNone  Watch = iota // nothing
	WatchCount              // how many there are
	WatchList               // who they are
)

// Conn is one connection to a host. It is safe for concurrent use.
type Conn struct {
	host *Host
	id   ID
	out  Outbox

	// The host's lock guards the rest.
	pos         int           // in host.conns
	user        *user         // nil: anonymous
	prev, next  *Conn         // of the same user
	memberships []*membership // few, so a scan finds one
	closed      bool
}

// membership is one connection's place in one channel.
type membership struct {
	conn     *Conn
	channel  *channel
	pos      int    // in channel.listeners
	watchPos int    // in channel.watchers, -1 when not there
	ref      string // what answers the join, while waiting is set
	watch    Watch
	waiting  bool // in channel.joiners, for its snapshot
	assigned bool // see Conn.Assign
}

// ID returns the connection's ID.
func (c *Conn) ID() ID { return c.id }

// Host returns the name of the connection's host.
func (c *Conn) Host() HostName { return c.host.name }

// User returns who the connection is logged in as, and false for an anonymous one.
func (c *Conn) User() (User, bool) {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	if c.user == nil {
		return User{}, false
	}
	return c.user.User, true
}

// Join makes c a listener of the named channel, which becomes active with its first listener. The answer goes to
// the Outbox, with ref in it: at once, or for one who watches a channel with very many watchers with the
// channel's next presence frame, or when what other pods have is known. Joining a channel again is not an error and changes what is watched.
//
// It returns ErrBadChannel, ErrReservedChannel, ErrLoginRequired, ErrDenied, ErrTooManyChannels, ErrUnavailable or
// ErrClosed, and then nothing was pushed.
func (c *Conn) Join(name string, watch Watch, ref string) error {
	h := c.host
	h.mu.Lock()
	defer h.mu.Unlock()
	ch, err := c.enter(name)
	if err != nil {
		return err
	}
	m := c.find(ch)
	if m == nil {
		m = h.add(ch, c)
	}
	h.watch(m, watch, ref)
	h.changed(ch)
	return nil
}

// asked is what the classifier and the authorizer of some rules have said about a join. It holds as long as the rules
// do, and what the authorizer said as long as the user is the same.
type asked struct {
	rules      *Rules
	classified bool
	class      Class
	classErr   error
	authorized bool
	user       User // whom the authorizer was asked about
	anonymous  bool
	authErr    error
}

// enter returns the channel for c to join, active or fresh. The host's lock is held, but let go while the classifier or
// the authorizer is asked: anything may have happened meanwhile, so all is looked at again after each answer.
func (c *Conn) enter(name string) (*channel, error) {
	h := c.host
	var known asked
	for {
		if c.closed {
			return nil, ErrClosed
		}
		if err := h.rules.checkName(name); err != nil {
			return nil, err
		}
		ch := h.channels[name]
		if ch != nil && c.find(ch) != nil {
			return ch, nil
		}
		if err := c.full(ch != nil); err != nil {
			return nil, err
		}
		if known.rules != h.rules {
			known = asked{rules: h.rules}
		}

		// A channel that another connection activated has its class, whatever became of this question.
		class := known.class
		switch {
		case ch != nil:
			class = ch.class
		case !known.classified:
			known.class, known.classErr = h.classify(known.rules, name)
			known.classified = true
			continue
		case known.classErr != nil:
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, known.classErr)
		}
		if err := c.allowed(class); err != nil {
			return nil, err
		}

		switch {
		case h.rules.Authorizer == nil:
		case !known.authorized || !c.is(known.user, known.anonymous):
			c.authorize(&known, name)
			continue
		case errors.Is(known.authErr, ErrDenied):
			return nil, known.authErr
		case known.authErr != nil:
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, known.authErr)
		}
		if ch == nil {
			ch = newChannel(name, class)
			h.channels[name] = ch
			h.begin(ch)
		}
		return ch, nil
	}
}

// classify asks without the lock, which is held before and after, whatever the classifier does.
func (h *Host) classify(rules *Rules, name string) (Class, error) {
	h.mu.Unlock()
	defer h.mu.Lock()
	return rules.classify(h.name, name)
}

// authorize asks without the lock, which is held before and after, whatever the authorizer does.
func (c *Conn) authorize(known *asked, name string) {
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

// is tells whether c is logged in as the user, or anonymous, still.
func (c *Conn) is(user User, anonymous bool) bool {
	if c.user == nil {
		return anonymous
	}
	return !anonymous && c.user.User == user
}

// full returns an error if c cannot join one more channel: c is at its limit, or the channel is not active and the host
// is at its own.
func (c *Conn) full(active bool) error {
	h := c.host
	if m := h.rules.MaxChannels; m > 0 && len(c.memberships) >= m {
		return fmt.Errorf("%w on this connection: the limit is %d", ErrTooManyChannels, m)
	}
	if m := h.rules.MaxHostChannels; !active && m > 0 && len(h.channels) >= m {
		return fmt.Errorf("%w on this host: the limit is %d", ErrTooManyChannels, m)
	}
	return nil
}

// allowed tells whether c may listen to a channel of the class.
func (c *Conn) allowed(class Class) error {
	switch {
	case class.Denied:
		return ErrDenied
	case class.Kind == Authenticated && c.user == nil:
		return ErrLoginRequired
	}
	return nil
}

func (r *Rules) checkName(name string) error {
	switch {
	case IsPrivate(name):
		return ErrReservedChannel
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrBadChannel)
	case r.MaxName > 0 && len(name) > r.MaxName:
		return fmt.Errorf("%w: it has more than %d bytes", ErrBadChannel, r.MaxName)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: it is not UTF-8", ErrBadChannel)
	}
	for _, c := range name {
		if c == utf8.RuneError {
			return errReplaced
		}
		if c < 0x20 || (c >= 0x7f && c < 0xa0) {
			return fmt.Errorf("%w: it has a control character", ErrBadChannel)
		}
	}
	return nil
}

// Leave ends listening to the named channel; the answer goes to the Outbox, with ref in it.
//
// It returns ErrNotJoined, ErrBadChannel, ErrReservedChannel or ErrClosed, and then nothing was pushed.
func (c *Conn) Leave(name, ref string) error {
	h := c.host
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	if IsPrivate(name) {
		return ErrReservedChannel
	}
	var m *membership
	if ch := h.channels[name]; ch != nil {
		m = c.find(ch)
	}
	if m == nil {
		if strings.ContainsRune(name, utf8.RuneError) {
			return errReplaced
		}
		return ErrNotJoined
	}
	if m.waiting {
		h.answerEarly(m) // the join is answered before the leave
	}
	h.remove(m, false)
	c.out.Push(h.registry.encoder.Left(ref, name, ""))
	return nil
}

// Authenticate changes who c is, in place: it keeps its channels, and whoever watches one sees the change.
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
		c.unbecome()
	}
	c.become(fresh)
	h.touchConn(c.pos)
	for _, m := range c.memberships {
		if fresh == old {
			break
		}
		// The new user arrives before the old one goes: neither can empty the channel.
		h.arrive(m.channel, fresh)
		if old != nil {
			h.depart(m.channel, old, false)
		}
		h.changed(m.channel)
	}
	if old != nil {
		h.release(old)
	}
	return nil
}

// Close takes c out of its channels and its host, as one that was lost: watchers see its user for the grace of the rules,
// see [Rules]. Closing twice is not an error.
func (c *Conn) Close() {
	h := c.host
	h.mu.Lock()
	if c.closed {
		h.mu.Unlock()
		return
	}
	c.closed = true
	for len(c.memberships) > 0 {
		h.remove(c.memberships[len(c.memberships)-1], !h.retired)
	}
	if c.user != nil {
		c.unbecome()
		h.release(c.user)
	}
	h.touchConn(c.pos)
	h.touchConn(len(h.conns) - 1) // who takes the place
	h.conns.remove(c.pos, func(c *Conn) *int { return &c.pos })
	delete(h.byID, c.id)
	empty := len(h.conns) == 0
	h.mu.Unlock()

	if empty {
		h.registry.drop(h)
	}
}

func (c *Conn) find(ch *channel) *membership {
	for _, m := range c.memberships {
		if m.channel == ch {
			return m
		}
	}
	return nil
}
