package presence

import (
	"slices"
	"time"
)

// channel is an active channel. The host's lock guards it.
type channel struct {
	name        string
	class       Class
	kindChanged bool                 // the kind is not the one that watchers know
	listeners   swapList[membership] // membership.pos is the place
	watchers    swapList[membership] // those with a snapshot, who get diffs; membership.watchPos is the place
	joiners     []*membership        // those who wait for their snapshot, in order

	// Authenticated channels only: who is there, by user.
	members swapList[member] // in order of arrival, except that the last fills a gap; member.pos is the place
	byUser  map[*user]*member
	users   int // members with a connection on this pod
	visible int // members whom watchers are to see

	snapshot []byte    // the list of those whom watchers know of, as joiners get it; nil while it is not kept
	chunks   *chunks   // users of this pod as bytes; nil while nobody asks for them
	overlay  *overlay  // nil while there is nothing to know of other pods, and nobody lost
	changes  *changes  // nil without a relay
	outgoing *outgoing // messages; nil while none are delivered

	dirty      []*member // may differ from what watchers were told
	shownCount int       // count in the last frame or snapshot
	seq        uint64    // of the last frame
	lastFlush  time.Time
	timer      *time.Timer // not nil while a flush is due
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
		return ch.visible
	case ch.overlay != nil:
		return len(ch.listeners) + ch.overlay.conns + ch.overlay.lostConns
	}
	return len(ch.listeners)
}

func (h *Host) addListener(ch *channel, c *Conn) *membership {
	m := &membership{conn: c, channel: ch, index: len(ch.listeners), watchIndex: -1}
	ch.listeners = append(ch.listeners, m)
	c.memberships = append(c.memberships, m)
	ch.replaceLost(1)
	if c.user != nil {
		h.addConn(ch, c.user)
	}
	h.notifyRelay(ch)
	return m
}

// remove takes a listener out of its channel, as lost or for good; the last one takes the channel
// along.
func (h *Host) removeListener(m *membership, lost bool) {
	ch, c := m.channel, m.conn
	h.unwatch(m)
	h.dropOverlay(ch)
	ch.listeners.remove(m.index, func(m *membership) *int { return &m.index })

	i := slices.Index(c.memberships, m)
	c.memberships = slices.Delete(c.memberships, i, i+1)
	if c.user != nil {
		h.removeConn(ch, c.user, lost)
	}
	if lost {
		h.holdLost(ch, 1)
		if ch.changes != nil {
			ch.changes.lost++
		}
	}
	h.notifyRelay(ch)
	if len(ch.listeners) == 0 {
		h.deactivate(ch)
		return
	}
	h.scheduleFlush(ch)
}

func (h *Host) deactivate(ch *channel) {
	if ch.timer != nil {
		ch.timer.Stop()
		ch.timer = nil
	}
	for len(ch.members) > 0 {
		h.removeMember(ch.members[len(ch.members)-1])
	}
	h.dropOutgoing(ch)
	delete(h.channels, ch.name)
	h.keepLastChanges(ch)
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
	ch.kindChanged = before != class.Kind
	if before != Authenticated && class.Kind == Authenticated {
		h.identify(ch)
	}
	for _, m := range ch.members {
		ch.markDirty(m) // whether a name may be shown can have changed
	}
	var out []*membership
	for _, m := range ch.listeners {
		if m.conn.checkClass(class) != nil {
			h.unwatch(m) // they are told no more, neither names nor who else goes
			out = append(out, m)
		}
	}
	for _, m := range out {
		h.removeListener(m, false)
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
			h.addConn(ch, m.conn.user)
		}
	}
	if ch.overlay == nil {
		return
	}
	ch.overlay.lossBatches, ch.overlay.lostConns = nil, 0
	for _, p := range ch.overlay.parts {
		for id := range p.users {
			h.countPod(ch, id, false)
		}
	}
}

// anonymize removes all members. What other pods reported is kept.
func (h *Host) anonymize(ch *channel) {
	for _, m := range ch.members {
		if m.conns > 0 {
			m.conns = 0
			h.recordMember(m, false)
		}
		if m.overlay != nil {
			m.overlay.pods = 0
		}
		if m.inGrace() {
			ch.overlay.inGrace.remove(m.overlay)
		}
		ch.markDirty(m)
	}
	ch.users, ch.visible = 0, 0
}
