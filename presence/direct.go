package presence

import (
	"bytes"
	"slices"
)

// directBytes is how many bytes of frames are queued for private channels before the host's lock is
// released: each connection has a frame of its own.
const directBytes = 1 << 20

// direct has the messages for users that a host has to deliver. It exists only while a goroutine
// runs [Host.deliverDirect]. The host's lock guards it.
type direct struct {
	messages []Message // the first one is being delivered
	bytes    int       // of all messages
	begun    bool      // to has the receivers of the first message
	to       []receiver
}

// receiver is a connection that is to receive a message in its private channel.
type receiver struct {
	conn *Conn
	user *user // by whose ID it receives the message; nil if by its own
}

// directSize returns what a message for users counts in direct.bytes.
func directSize(m Message) int {
	size := len(m.Body)
	for _, names := range [][]string{m.Channels, m.Users} {
		for _, name := range names {
			size += len(name)
		}
	}
	return size
}

// isDirect reports whether a message waits for those in direct: it is for users, or must not
// overtake a message for users.
func (h *Host) isDirect(m Message) bool {
	return len(m.Users) > 0 || h.direct != nil && slices.ContainsFunc(m.Channels, isPrivate)
}

// checkDirect returns ErrBusy unless there is room for a message in direct.
func (h *Host) checkDirect(m Message) error {
	if !h.isDirect(m) {
		return nil
	}
	size := directSize(m)
	if h.pending+size > maxHostPending || h.direct != nil && h.direct.bytes+size > maxPending {
		return ErrBusy
	}
	return nil
}

// sendDirect sends a message to its private channels and its users. The caller flushes the returned
// outboxes without the lock.
func (h *Host) sendDirect(m Message) (owed []Outbox) {
	if !h.isDirect(m) {
		return h.queuePrivate(m)
	}
	m = m.private()
	m.Users, m.Body = slices.Clone(m.Users), bytes.Clone(m.Body)
	if h.direct == nil {
		h.direct = &direct{}
		go h.deliverDirect() // ends when no message is left
	}
	size := directSize(m)
	h.pending += size
	h.direct.bytes += size
	h.direct.messages = append(h.direct.messages, m)
	return nil
}

// deliverDirect delivers the messages for users until none is left. A host has at most one, so
// messages keep their order.
func (h *Host) deliverDirect() {
	var owed []Outbox
	for more := true; more; {
		owed, more = h.queueDirect(owed)
		for _, out := range owed {
			out.Flush()
		}
		clear(owed)
		owed = owed[:0]
	}
}

// queueDirect queues a message for the next connections, and appends the outboxes to flush. It
// returns false if no message is left.
func (h *Host) queueDirect(owed []Outbox) ([]Outbox, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.direct
	if len(d.messages) == 0 {
		h.direct = nil
		return owed, false
	}
	m := &d.messages[0]
	if !d.begun {
		d.begun, d.to = true, h.receivers(m)
	}
	n := min(len(d.to), roundStep, 1+directBytes/max(len(m.Body), 1))
	for _, r := range d.to[:n] {
		if r.conn.closed || r.user != nil && r.conn.user != r.user || m.From.To != "" && !r.conn.signedIn() {
			continue
		}
		if h.queueTo(r.conn, m) {
			owed = append(owed, r.conn.out)
		}
	}
	clear(d.to[:n])
	if d.to = d.to[n:]; len(d.to) == 0 {
		size := directSize(*m)
		h.pending -= size
		d.bytes -= size
		d.messages[0] = Message{}
		d.messages, d.begun, d.to = d.messages[1:], false, nil
	}
	return owed, true
}

// queueTo queues a message to the private channel of a connection, and reports whether the caller
// must flush its outbox.
func (h *Host) queueTo(c *Conn, m *Message) (flush bool) {
	frame := h.encodeMessage(c.encoding, c.id.PrivateChannel(), m.From, m.Body)
	return frame != nil && c.out.Queue(frame, 1)
}

// receivers returns the connections on this pod that have one of the private channels, then those
// of the users. Each user counts once, so a connection that logs in as another one meanwhile
// receives the message once or not at all.
func (h *Host) receivers(m *Message) (to []receiver) {
	for _, name := range m.Channels {
		if c := h.privateConn(name); c != nil && c.id != m.Except {
			to = append(to, receiver{conn: c})
		}
	}
	done := make(map[*user]bool, len(m.Users))
	for _, id := range m.Users {
		u := h.users[id]
		if u == nil || done[u] {
			continue
		}
		done[u] = true
		for c := u.first; c != nil; c = c.next {
			if c.id != m.Except {
				to = append(to, receiver{c, u})
			}
		}
	}
	return to
}
