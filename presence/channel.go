package presence

import (
	"slices"
	"time"
)

// channel is an active channel. The host's lock guards it.
type channel struct {
	name      string
	class     Class
	rekinded  bool                 // the kind is not the one that watchers know
	listeners swapList[membership] // membership.pos is the place
	watchers  swapList[membership] // those with a snapshot, who get diffs; membership.watchPos is the place
	joiners   []*membership        // those who wait for their snapshot, in order

	// Authenticated channels only: who is there, by user.
	members swapList[member] // in order of arrival, except that the last fills a gap; member.pos is the place
	byUser  map[*user]*member
	users   int // members with a connection on this pod
	present int // members whom watchers are to see

	snapshot []byte    // the list of those whom watchers know of, as joiners get it; nil while it is not kept
	chunks   *chunks   // users of this pod as bytes; nil while nobody asks for them
	overlay  *overlay  // nil while there is nothing to know of other pods, and nobody lost
	changes  *changes  // nil without a relay
	outgoing *outgoing // messages; nil while none are delivered

	dirty     []*member // may differ from what watchers were told
	told      int       // count in the last frame or snapshot
	seq       uint64    // of the last frame
	lastFlush time.Time
	timer     *time.Timer // not nil while a flush is due
}

func newChannel(name string, class Class) *channel {
	ch := &channel{name: name, class: class}
	if class.Kind == Authenticated {
		ch.byUser = make(map[*user]*member)
	}
	return ch
}

// named reports whether watchers may see who is there.
func (ch *channel) named() bool { return ch.class.Kind == Authenticated && !ch.class.CountOnly }

// countOnly reports whether the channel is authenticated and shows no users.
func (ch *channel) countOnly() bool { return ch.class.Kind == Authenticated && ch.class.CountOnly }

// count is the number that watchers are to see: users when they log in, otherwise connections.
func (ch *channel) count() int {
	switch {
	case ch.class.Kind == Authenticated:
		return ch.present
	case ch.overlay != nil:
		return len(ch.listeners) + ch.overlay.conns + ch.overlay.held
	}
	return len(ch.listeners)
}

func (h *Host) add(ch *channel, c *Conn) *membership {
	m := &membership{conn: c, channel: ch, pos: len(ch.listeners), watchPos: -1}
	ch.listeners = append(ch.listeners, m)
	c.memberships = append(c.memberships, m)
	ch.redeem(1)
	if c.user != nil {
		h.arrive(ch, c.user)
	}
	h.tell(ch)
	return m
}

// remove takes a listener out of its channel, as lost or for good; the last one takes the channel
// along.
func (h *Host) remove(m *membership, lost bool) {
	ch, c := m.channel, m.conn
	h.unwatch(m)
	h.idle(ch)
	ch.listeners.remove(m.pos, func(m *membership) *int { return &m.pos })

	i := slices.Index(c.memberships, m)
	c.memberships = slices.Delete(c.memberships, i, i+1)
	if c.user != nil {
		h.depart(ch, c.user, lost)
	}
	if lost {
		h.hold(ch, 1)
		if ch.changes != nil {
			ch.changes.lost++
		}
	}
	h.tell(ch)
	if len(ch.listeners) == 0 {
		h.deactivate(ch)
		return
	}
	h.changed(ch)
}

func (h *Host) deactivate(ch *channel) {
	if ch.timer != nil {
		ch.timer.Stop()
		ch.timer = nil
	}
	for len(ch.members) > 0 {
		h.forget(ch.members[len(ch.members)-1])
	}
	h.unsend(ch)
	delete(h.channels, ch.name)
	h.end(ch)
}

// reclassify gives an active channel another class.
func (h *Host) reclassify(ch *channel, class Class) {
	if ch.syncing() {
		ch.overlay.syncing = false // what other pods have is told as it comes
	}
	h.flush(ch) // joins that wait are answered by the class they were let in by
	before := ch.class.Kind
	if before == Authenticated && class.Kind != Authenticated {
		h.anonymize(ch)
	}
	ch.class = class
	ch.rekinded = before != class.Kind
	if before != Authenticated && class.Kind == Authenticated {
		h.identify(ch)
	}
	for _, m := range ch.members {
		ch.markDirty(m) // whether a name may be shown can have changed
	}
	var out []*membership
	for _, m := range ch.listeners {
		if m.conn.allowed(class) != nil {
			h.unwatch(m) // they are told no more, neither names nor who else goes
			out = append(out, m)
		}
	}
	for _, m := range out {
		h.remove(m, false)
		m.conn.out.Push(h.registry.encoder.Left("", ch.name, ReasonDenied))
	}
	if len(ch.listeners) > 0 {
		h.flush(ch)
	}
}

// identify makes members of those who listen, on this pod and others.
func (h *Host) identify(ch *channel) {
	ch.byUser = make(map[*user]*member)
	for _, m := range ch.listeners {
		if m.conn.user != nil {
			h.arrive(ch, m.conn.user)
		}
	}
	if ch.overlay == nil {
		return
	}
	ch.overlay.tokens, ch.overlay.held = nil, 0
	for _, p := range ch.overlay.parts {
		for id := range p.users {
			h.appear(ch, id, false)
		}
	}
}

// anonymize removes all members. What other pods reported is kept.
func (h *Host) anonymize(ch *channel) {
	for _, m := range ch.members {
		if m.refs > 0 {
			m.refs = 0
			h.note(m, false)
		}
		if m.trace != nil {
			m.trace.pods = 0
		}
		if m.absent() {
			ch.overlay.absent.remove(m.trace)
		}
		ch.markDirty(m)
	}
	ch.users, ch.present = 0, 0
}
