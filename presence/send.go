package presence

import (
	"fmt"
	"slices"
	"time"
)

// Limits of messages. All pods must agree on them, so they are not part of a site's configuration.
const (
	MaxMessage = 256 << 10 // bytes of a message, together with the names of its channels
	MaxCopies  = 1 << 20   // bytes of a message, once for each of its channels
	MaxTargets = 128       // channels of one call
	MaxUsers   = 1000      // users of one call
)

// Limits in bytes. A message is pending while earlier messages of its channel are written, so a
// sender that reaches a limit is faster than the writes of this pod.
const (
	maxUserCopies  = 16 << 20 // one call: the message, once for each user
	maxPending     = 1 << 20  // pending in one channel, or for users
	maxHostPending = 64 << 20 // pending in all channels of a host and for its users
)

// Source is the sender of a message. The zero value is a connection without a user.
type Source struct {
	User    *User  // nil for the backend, and for an anonymous connection
	Shown   *Shown // see [View]
	Hide    Fields // as in Diff; set for an Encoder
	Backend bool   // the backend is the sender; only [Registry.Send] sets it
	// Raw says that the message is {"event":E,"data":V}, and that V stands for the bytes that were
	// published: V is those bytes, even if it is a JSON string.
	Raw  bool
	Keep Keeping // how a message of the backend is kept; only [Registry.Send] sets it
	// To is the only one of [Message].Users, in a message that only connections receive that are
	// signed in as the user, see [Conn.SignedIn]. "" in any other message.
	To string
}

// Send sends a message to every connection that listens to one of the channels, c included, on all
// pods. The user of c is the sender. A channel that is named twice receives the message once. A
// connection whose join is still unanswered already receives messages.
//
// Send returns before the message is delivered. In each channel, the messages of one connection
// keep their order. The message is not retained.
//
// It returns ErrBadChannel, ErrReservedChannel, ErrNotJoined, ErrDenied, ErrTooLarge, ErrBusy or
// ErrClosed. If it returns an error, the message was sent to no channel.
func (c *Conn) Send(channels []string, message []byte) error {
	return c.send(channels, message, nil)
}

// SendToOthers is [Conn.Send], except that c does not receive the message. Other connections of its
// user do.
func (c *Conn) SendToOthers(channels []string, message []byte) error {
	return c.send(channels, message, c)
}

func (c *Conn) send(channels []string, message []byte, except *Conn) error {
	channels, err := targets(channels, message)
	if err != nil {
		return err
	}
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	var few [4]*channel
	to, err := c.prepare(few[:0], channels, channels, message)
	if err != nil {
		return err
	}
	return c.commit(channels, to, Sending{message: message, except: except})
}

// Sending is a message that [Conn.Prepare] has validated.
type Sending struct {
	conn     *Conn
	channels []string // channels that receive the message, each once
	to       []*channel
	message  []byte
	bodies   Bodies
	except   *Conn // does not receive the message; nil if all listeners do
	raw      bool  // see Source.Raw
}

// AsRaw returns a Sending of the same message with [Source].Raw.
func (s Sending) AsRaw() Sending {
	s.raw = true
	return s
}

// ToOthers returns a Sending of the same message that the sender does not receive, see
// [Conn.SendToOthers].
func (s Sending) ToOthers() Sending {
	s.except = s.conn
	return s
}

// WithBodies returns a Sending of other messages to some of the channels.
func (s Sending) WithBodies(bodies Bodies) Sending {
	s.bodies = bodies
	return s
}

// Prepare validates a message like [Conn.Send], for a caller that must do something before the
// message is sent. The receivers are the channels that will receive it; the other ones need no room
// for it. The Sending retains the message.
func (c *Conn) Prepare(channels, receivers []string, message []byte) (Sending, error) {
	channels, err := targets(channels, message)
	if err != nil {
		return Sending{}, err
	}
	s := Sending{conn: c, message: message}
	for _, name := range channels {
		if slices.Contains(receivers, name) {
			s.channels = append(s.channels, name)
		}
	}
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	s.to, err = c.prepare(nil, channels, s.channels, message)
	return s, err
}

// Check returns the error that Commit would return now. Bodies may need more room than the message
// that was prepared, and c may have left channels while they were made.
func (s Sending) Check() error {
	s.conn.host.mu.Lock()
	defer s.conn.host.mu.Unlock()
	return s.check()
}

// Commit sends the message. Like Prepare, it returns an error of [Conn.Send]: c may have left
// channels meanwhile, and channels may be busy.
func (s Sending) Commit() error {
	c := s.conn
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	if err := s.check(); err != nil || len(s.to) == 0 {
		return err
	}
	return c.commit(s.channels, s.to, s)
}

// check finds the receivers again. The host's lock is held.
func (s Sending) check() error {
	if err := s.bodies.check(s.channels, s.message); err != nil {
		return err
	}
	for i := range s.to {
		var err error
		if s.to[i], err = s.conn.sendable(s.channels[i]); err != nil {
			return err
		}
	}
	return s.conn.host.checkRoom(s.to, s.message, s.bodies)
}

// prepare appends the receivers among the named channels, in their order, to list. c must listen to
// all named channels. The host's lock is held.
func (c *Conn) prepare(list []*channel, names, receivers []string, message []byte) ([]*channel, error) {
	for _, name := range names {
		ch, err := c.sendable(name)
		if err != nil {
			return nil, err
		}
		if len(receivers) > 0 && receivers[0] == name {
			list, receivers = append(list, ch), receivers[1:]
		}
	}
	return list, c.host.checkRoom(list, message, nil)
}

// commit sends a message to channels that have room for it. The host's lock is held.
func (c *Conn) commit(names []string, to []*channel, s Sending) error {
	h := c.host
	h.hideNow()
	from := c.from(to)
	from.Raw = s.raw
	if h.relay != nil {
		if err := h.relay.Send(h.name, Message{Channels: names, From: from, Body: s.message, Bodies: s.bodies}); err != nil {
			return err
		}
	}
	for _, ch := range to {
		h.enqueue(ch, s.bodies.source(ch.name, from), s.bodies.Of(ch.name, s.message), s.except)
	}
	return nil
}

// from returns c as the sender of a message: as it counts in the channel, if that is only one.
func (c *Conn) from(to []*channel) Source {
	if len(to) == 1 {
		if m := c.membership(to[0]); m.as != nil {
			from := Source{User: &User{ID: m.as.ID, Email: m.as.Email}}
			if of := c.host.memberOf(m).in(to[0]); of != nil {
				from.Shown = of.source().shown
			}
			return from
		}
	}
	if c.user == nil {
		return Source{}
	}
	return Source{User: &User{ID: c.user.ID, Email: c.user.Email}, Shown: c.user.shown}
}

// sendable returns the named channel if c listens to it and may send to it.
func (c *Conn) sendable(name string) (*channel, error) {
	h := c.host
	if c.closed {
		return nil, ErrClosed
	}
	if ch := h.channels[name]; ch != nil {
		if m := c.membership(ch); m != nil {
			if m.may&MaySend == 0 {
				return nil, errMayNotSend(name)
			}
			return ch, nil
		}
	}
	if err := h.rules().checkName(name); err != nil {
		return nil, err
	}
	return nil, ErrNotJoined
}

// Send sends a message of the backend to every connection of the host that listens to one of the
// channels, and to the private channel of each connection of the users, on all pods. A connection
// that is reached in both ways receives it twice. Unlike [Conn.Send], it accepts private channels,
// and channels without listeners. It does not validate names, see [Rules.CheckTarget] and
// [CheckUserID].
//
// A connection of a user that arrives while the message is being delivered receives it once or not
// at all. A message with the key of one that was sent, or that this pod has delivered, in the last
// 5 minutes is not sent: Send returns nil. Of its Source, only Raw and To count. The message is not
// retained.
//
// It returns ErrTooLarge or ErrBusy. If it returns an error, the message was sent to nobody.
func (r *Registry) Send(host HostName, m Message) error {
	m.From = Source{Backend: true, Raw: m.From.Raw, To: m.From.To}
	if err := m.check(); err != nil {
		return err
	}
	var (
		owed []Outbox
		err  error
		ttl  = r.last.keeping(host, m.Channels)
	)
	r.withHost(host, func(h *Host) {
		now := r.now()
		if r.isRepeated(host, &m, m.Bodies != nil, now) {
			return
		}
		if ttl > 0 {
			m.From.Keep = Keeping{r.last.nextStamp(r.clockOf(h)), ttl}
		}
		switch {
		case h != nil:
			owed, err = h.sendByBackend(m)
		case r.relay != nil:
			err = r.relay.Send(host, m)
		}
		if err == nil {
			r.addKeys(host, &m, now)
			if ttl > 0 {
				r.keepSent(host, &m, r.clockOf(h))
			}
		}
	})
	for _, out := range owed {
		out.Flush()
	}
	return err
}

// Check validates a message like [Registry.Send], for a caller that must do something before the
// message is sent. It makes the channels distinct. It reports whether Send would do nothing,
// because the message is a repetition.
func (r *Registry) Check(host HostName, m *Message) (repeated bool, err error) {
	if err := m.check(); err != nil {
		return false, err
	}
	r.withHost(host, func(h *Host) {
		if repeated = r.isRepeated(host, m, true, r.now()); !repeated && h != nil {
			err = h.checkBackend(h.activeChannels(m.Channels), m)
		}
	})
	return repeated, err
}

// isRepeated reports whether this pod has sent or delivered a message with the key or, with parts,
// a part of one.
func (r *Registry) isRepeated(host HostName, m *Message, parts bool, now time.Duration) bool {
	if m.Key.IsZero() {
		return false
	}
	return r.keys.has(host, m.Key, now) || parts &&
		slices.ContainsFunc(m.Channels, func(name string) bool { return r.keys.has(host, m.Key.ofChannel(name), now) })
}

// addKeys keeps the key of a message that was sent and, with Bodies, those of its parts: a
// repetition of a part may come from another pod.
func (r *Registry) addKeys(host HostName, m *Message, now time.Duration) {
	r.keys.add(host, m.Key, now)
	if m.Bodies == nil {
		return
	}
	for _, name := range m.Channels {
		r.keys.add(host, m.Key.ofChannel(name), now)
	}
}

// checkBackend returns ErrBusy unless there is room for a message of the backend to active
// channels.
func (h *Host) checkBackend(to []*channel, m *Message) error {
	if err := h.checkRoom(to, m.Body, m.Bodies); err != nil {
		return err
	}
	return h.checkDirect(*m)
}

// sendByBackend sends a message on all pods. The caller flushes the returned outboxes without the
// lock.
func (h *Host) sendByBackend(m Message) (owed []Outbox, err error) {
	to := h.activeChannels(m.Channels)
	if err := h.checkBackend(to, &m); err != nil {
		return nil, err
	}
	away := m
	away.Channels = slices.DeleteFunc(slices.Clone(m.Channels), func(name string) bool { return h.privateConn(name) != nil })
	if h.relay != nil && len(away.Channels)+len(away.Users) > 0 {
		if err := h.relay.Send(h.name, away); err != nil {
			return nil, err
		}
	}
	except := h.byID[m.Except]
	for _, ch := range to {
		h.enqueue(ch, m.Bodies.source(ch.name, m.From), m.Bodies.Of(ch.name, m.Body), except)
	}
	return h.sendDirect(m), nil
}

// check makes the channels distinct, and returns ErrTooLarge if the message is too large for its
// channels or its users.
func (m *Message) check() error {
	switch {
	case len(m.Users) > MaxUsers:
		return fmt.Errorf("%w: more than %d users", ErrTooLarge, MaxUsers)
	case m.From.To != "" && !slices.Equal(m.Users, []string{m.From.To}):
		return errTo
	case len(m.Body)*len(m.Users) > maxUserCopies:
		return fmt.Errorf("%w: over %d bytes for all users together", ErrTooLarge, maxUserCopies)
	}
	var err error
	if m.Channels, err = targets(m.Channels, m.Body); err != nil {
		return err
	}
	return m.Bodies.check(m.Channels, m.Body)
}

// targets returns the distinct channels if the message is not too large for them.
func targets(channels []string, message []byte) ([]string, error) {
	if len(channels) > MaxTargets {
		return nil, fmt.Errorf("%w: more than %d channels", ErrTooLarge, MaxTargets)
	}
	channels = Distinct(channels)
	size := len(message)
	for _, name := range channels {
		size += len(name)
	}
	if size > MaxMessage {
		return nil, fmt.Errorf("%w: over %d bytes", ErrTooLarge, MaxMessage)
	}
	if len(message)*len(channels) > MaxCopies {
		return nil, errBodiesTooLarge
	}
	return channels, nil
}

// Distinct removes duplicates and keeps the order. Names are few, so a linear search is enough.
func Distinct(names []string) []string {
	for i, name := range names {
		if !slices.Contains(names[:i], name) {
			continue
		}
		once := slices.Clone(names[:i])
		for _, name := range names[i+1:] {
			if !slices.Contains(once, name) {
				once = append(once, name)
			}
		}
		return once
	}
	return names
}

// checkRoom returns ErrBusy unless all channels have room for another message.
func (h *Host) checkRoom(to []*channel, message []byte, bodies Bodies) error {
	pending := h.pending
	for _, ch := range to {
		size := len(bodies.Of(ch.name, message))
		pending += size
		if ch.outgoing != nil && ch.outgoing.bytes+size > maxPending {
			return ErrBusy
		}
	}
	if pending > maxHostPending {
		return ErrBusy
	}
	return nil
}

// activeChannels returns the named channels that have listeners on this pod.
func (h *Host) activeChannels(names []string) []*channel {
	list := make([]*channel, 0, len(names))
	for _, name := range names {
		if ch := h.channels[name]; ch != nil {
			list = append(list, ch)
		}
	}
	return list
}

// queuePrivate sends a message to its private channels on this pod. The caller flushes the returned
// outboxes without the lock.
func (h *Host) queuePrivate(m Message) (owed []Outbox) {
	for _, name := range m.Channels {
		c := h.privateConn(name)
		if c != nil && c.id != m.Except && h.queueTo(c, &m) {
			owed = append(owed, c.out)
		}
	}
	return owed
}

// privateConn returns the connection on this pod that has the named private channel, or nil.
func (h *Host) privateConn(name string) *Conn {
	if !isPrivate(name) {
		return nil
	}
	id, ok := parsePrivate(name)
	if !ok {
		return nil
	}
	return h.byID[id]
}
