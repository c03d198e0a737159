package presence

import "slices"

// A channel with too many members is nameless: its frames have only their number. It becomes
// nameless above Rules.MaxNames members, or if a list of them would have more than maxList bytes.
// It has names again below half of both, so a channel of about that size does not change to and
// fro. A change costs time in proportion to the members, and at least half as many have come or
// gone since the one before.
//
// Watchers of a channel that has names again are not sent the list: all of them at once would be a
// storm. They join again when they like.

// maxList is the maximum size of a list of members in a frame, in bytes.
const maxList = 4 << 20

const (
	// shortList is a number of members whose list is never longer than half of maxList: with
	// escaped texts, a member has up to 8 KiB.
	shortList = maxList / 2 / (8 << 10)
	// measureStep is the number of members that are encoded at a time to measure a list.
	measureStep = 64
)

// listSize is the size of the list that a nameless channel would have.
type listSize struct {
	bytes   int
	changes int // number of members that have changed since it was measured
}

// updateNames decides whether the channel is nameless, before a flush.
func (h *Host) updateNames(ch *channel) {
	if ch.class.Kind != Authenticated { // watchers hear of the kind, and forget the members
		ch.restoreNames()
		return
	}
	switch limit := h.rules().MaxNames; {
	case ch.class.CountOnly:
	case !ch.nameless && limit > 0 && int(ch.visible) > limit:
		h.hideNames(ch)
	case ch.nameless:
		if ch.size != nil {
			ch.size.changes += len(ch.dirty)
		}
		if (limit == 0 || 2*int(ch.visible) < limit) && h.measureList(ch) < maxList/2 {
			h.returnNames(ch)
		}
	}
}

// hideNames makes the channel nameless.
func (h *Host) hideNames(ch *channel) {
	for _, m := range ch.members {
		m.seen = min(m.seen, seenCount)
	}
	ch.nameless, ch.snapshots = true, nil
	if ch.seen != nil { // otherwise the extras can be shared
		ch.seen = nil
	}
}

// returnNames makes the members known to those who join from now on.
func (h *Host) returnNames(ch *channel) {
	ch.restoreNames()
	for _, m := range ch.members {
		view := m.view()
		if m.visible() && !view.hidden() {
			m.seen = seenUser
		}
		m.change = viewSame
		ch.keepView(m, &view)
	}
}

// restoreNames makes the channel one that has names.
func (ch *channel) restoreNames() {
	ch.nameless = false
	if ch.size != nil { // otherwise the extras can be shared
		ch.size = nil
	}
}

// measureList returns the size of the list that the channel would have. It measures again after an
// eighth of the members has changed, so the cost of a change does not depend on their number.
func (h *Host) measureList(ch *channel) int {
	if ch.visible <= shortList {
		return 0
	}
	if ch.size != nil && ch.size.changes < int(ch.visible)/8 {
		return ch.size.bytes
	}
	ch.ensureExtras().size = new(listSize)
	var sizes [maxEncodings]int
	views := make([]View, 0, measureStep)
	for step := range slices.Chunk(ch.members, measureStep) {
		views = views[:0]
		for _, m := range step {
			if view := m.view(); m.visible() && !view.hidden() {
				views = append(views, view)
			}
		}
		for e := range Encoding(h.encoders()) {
			if e == 0 || ch.hears(e) {
				sizes[e] += len(h.registry.frames[e].Members(views, h.hide))
			}
		}
	}
	ch.size.bytes = slices.Max(sizes[:])
	return ch.size.bytes
}

// checkSnapshot makes the channel nameless if the list that a joiner would receive is too long.
func (h *Host) checkSnapshot(ch *channel) {
	tooLong := func(m joiner) bool { return m.listsMembers() && len(h.membersSeen(ch, m.conn.encoding)) > maxList }
	if !slices.ContainsFunc(ch.joiners, tooLong) {
		return
	}
	h.hideNames(ch)
	if len(ch.watchers) > 0 {
		h.pushDiff(ch, Diff{Channel: ch.name, Count: int(ch.shownCount), Names: NamesHidden})
	}
}

// setNames sets whether the diff has names. was is whether the diff before had none.
func (d *Diff) setNames(ch *channel, was bool) {
	switch {
	case ch.nameless:
		d.Names = NamesHidden
	case was && d.Kind == 0:
		d.Names = NamesReturned
	default:
		return
	}
	d.Joined, d.Left, d.Updated = nil, nil, nil
}

// updateMaxNames flushes the channels that the rules make nameless, or that may have names again.
func (h *Host) updateMaxNames(rules *Rules) {
	for _, ch := range h.channels {
		if ch.nameless || rules.MaxNames > 0 && int(ch.visible) > rules.MaxNames && ch.named() {
			h.scheduleFlush(ch)
		}
	}
}
