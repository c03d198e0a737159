package presence

import (
	"slices"
	"time"
)

// channel is an active channel. The host's lock guards it.
type channel struct {
	name        string
	class       Class
	kindChanged bool                    // watchers have seen another kind
	nameless    bool                    // watchers see no names, because there are too many members
	shownCount  int32                   // count in the last frame or snapshot
	userless    int32                   // number of listeners that count as no user
	identified  int32                   // number of members with own, see member.own
	foreign     [maxEncodings - 1]int32 // number of listeners by Encoding, without the native one
	listeners   swapList[membership]    // every connection that has joined; see membership.index
	watchers    swapList[membership]    // listeners with a snapshot, which receive diffs; see membership.watchIndex
	joiners     []joiner                // listeners whose join is unanswered, in order

	// Users of an authenticated channel. The fields are zero if the channel has another kind.
	members swapList[member] // in order of arrival, except that the last fills a gap; see member.index
	users   int32            // number of members with a connection on this pod
	visible int32            // number of members that watchers see after the next flush

	snapshots      *snapshots // nil if none is kept
	overlay        *overlay   // nil if no other pod and no lost connection counts
	changes        *changes   // changes for other pods; nil without a relay
	outgoing       *outgoing  // messages to deliver; nil if there are none
	*channelExtras            // never nil; see channel.ensureExtras

	dirty     []*member     // members that may differ from what watchers have seen
	seq       uint64        // sequence number of the last presence frame; 0 before the first
	lastFlush time.Duration // see Registry.now
	timer     *time.Timer   // next flush; nil if none is due
}

// joiner is a listener whose join is unanswered.
type joiner struct {
	*membership
	ref string // argument of Join that the answer repeats
}

// channelExtras has what few channels need.
type channelExtras struct {
	seen        map[*member]*Shown // what watchers have seen of members that a Shower has decided about; nil if none
	chunks      *chunks            // encoded users of this pod, for listings; nil if not cached
	size        *listSize          // nil unless nameless
	restated    *statusBudget      // nil before the first change of a status
	following   *following         // of a cache channel; nil if no connection has wanted its last event
	connCounter *connCounter       // nil unless listeners receive their number
}

// noExtras are the extras of all channels that have none. They must not be written.
var noExtras = new(channelExtras)

// ensureExtras returns extras of the channel that can be written.
func (ch *channel) ensureExtras() *channelExtras {
	if ch.channelExtras == noExtras {
		ch.channelExtras = new(channelExtras)
	}
	return ch.channelExtras
}

func newChannel(name string, class Class) *channel {
	const past = -maxFlushWait // the first flush is never too early
	return &channel{name: name, class: class, channelExtras: noExtras, lastFlush: past}
}

// named reports whether listings have the members of the channel, and not only their number. Watchers
// see them too, unless the channel is nameless.
func (ch *channel) named() bool { return ch.class.Kind == Authenticated && !ch.class.CountOnly }

// countOnly reports whether the channel is authenticated and shows no users.
func (ch *channel) countOnly() bool { return ch.class.Kind == Authenticated && ch.class.CountOnly }

// count returns the number that watchers see: members if the channel is authenticated, otherwise
// connections.
func (ch *channel) count() int {
	switch {
	case ch.class.Kind == Authenticated:
		return int(ch.visible) + ch.userlessCount()
	case ch.overlay != nil:
		return len(ch.listeners) + ch.overlay.parts.conns() + ch.overlay.lostConns()
	}
	return len(ch.listeners)
}

// userlessCount returns how many connections without a user a channel that shows no users counts, on
// all pods.
func (ch *channel) userlessCount() int {
	switch {
	case !ch.class.CountOnly:
		return 0
	case ch.overlay != nil:
		return int(ch.userless) + ch.overlay.parts.userless()
	}
	return int(ch.userless)
}

// userlessMembers returns how many connections of this pod count as no user of an authenticated channel.
func (ch *channel) userlessMembers() int {
	if ch.class.Kind != Authenticated {
		return 0
	}
	return int(ch.userless)
}

func (h *Host) addListener(ch *channel, c *Conn, v permit, e *Entry) *membership {
	m := &membership{
		conn: c, channel: ch, index: int32(len(ch.listeners)), watchIndex: -1, may: v.may, asked: v.asked, proof: e.Proof, as: e.Member.clone(),
	}
	ch.listeners = append(ch.listeners, m)
	ch.countListener(c.encoding, 1)
	c.memberships = append(c.memberships, m)
	ch.replaceLost(1)
	h.addMembership(m)
	h.tapChannel(ch, true, false)
	h.notifyRelay(ch)
	return m
}

// removeListener removes a listener, as lost or as having left. The last one deactivates the
// channel.
func (h *Host) removeListener(m *membership, lost bool) {
	ch, c := m.channel, m.conn
	h.unwatch(m)
	ch.following.unhold(m)
	h.dropOverlay(ch)
	ch.listeners.remove(m.index, func(m *membership) *int32 { return &m.index })
	ch.countListener(c.encoding, -1)

	i := slices.Index(c.memberships, m)
	c.memberships = slices.Delete(c.memberships, i, i+1)
	h.removeMembership(ch, h.memberOf(m), m.as, lost)
	if lost {
		h.holdLost(ch, 1)
		if ch.changes != nil {
			ch.changes.lost++
		}
	}
	h.tapChannel(ch, false, lost)
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
	ch.connCounter.stop()
	h.dropOutgoing(ch)
	h.registry.last.leave(h.name, ch.name)
	delete(h.channels, ch.name)
	h.keepLastChanges(ch)
}

// reclassify changes the class of an active channel, with wait as in judge.
func (h *Host) reclassify(ch *channel, class Class, rules *Rules, wait bool) {
	if ch.syncing() {
		ch.overlay.syncing = false // watchers see the parts of other pods as they arrive
	}
	h.flush(ch) // the old class has admitted the joiners, so it answers them
	before := ch.class.Kind
	if before == Authenticated && class.Kind != Authenticated {
		h.anonymize(ch)
	}
	ch.class = class
	if ch.kindChanged = before != class.Kind; ch.kindChanged {
		for _, m := range ch.listeners {
			m.self = false // watchers forget the members, or hear of all of them
		}
	}
	if before != Authenticated && class.Kind == Authenticated {
		h.identify(ch)
	}
	if ch.kindChanged {
		h.notifyRelay(ch) // connections without a user count from now on, or no longer
	}
	h.tapClass(ch)
	for _, m := range ch.members {
		ch.markDirty(m) // the class decides whether members are shown
	}
	h.judgeAll(ch, rules, wait)
	if len(ch.listeners) > 0 {
		h.flush(ch)
	}
}

// identify makes a member of each user that listens, on this pod or on another.
func (h *Host) identify(ch *channel) {
	ch.userless = 0
	for _, m := range ch.listeners {
		h.addMembership(m)
	}
	if ch.overlay == nil {
		return
	}
	if l := ch.overlay.losses; l != nil {
		l.batches, l.conns = nil, 0
	}
	for i := range ch.overlay.parts {
		for id := range ch.overlay.parts[i].users.ids() {
			h.countPod(ch, id, false)
		}
	}
}

// anonymize hides all members. The parts of other pods are kept.
func (h *Host) anonymize(ch *channel) {
	for _, m := range ch.members {
		if m.conns > 0 {
			m.conns = 0
			if m.own != nil {
				m.own.identities = 0
			}
			h.recordMember(m, false)
			h.tapMember(m, false)
		}
		if m.overlay != nil {
			m.overlay.pods = 0
		}
		if m.inGrace() {
			m.endGrace()
		}
		ch.markDirty(m)
	}
	ch.users, ch.visible = 0, 0
}
