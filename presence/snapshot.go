package presence

// snapshots are encoded lists of the members that watchers have seen, by Encoding; nil if not kept.
type snapshots [maxEncodings][]byte

// kept returns the encoded list of the members that watchers have seen; nil if it is not kept.
func (ch *channel) kept(e Encoding) []byte {
	if ch.snapshots == nil {
		return nil
	}
	return ch.snapshots[e]
}

// membersSeen returns the encoded list of the members that watchers have seen.
func (h *Host) membersSeen(ch *channel, e Encoding) []byte {
	if list := ch.kept(e); list != nil {
		return list
	}
	list := h.registry.frames[e].Members(ch.shownUsers(), h.hide)
	if ch.snapshots == nil {
		ch.snapshots = new(snapshots)
	}
	ch.snapshots[e] = list
	return list
}

// dropShortSnapshots drops the lists that are cheap to encode again.
func (ch *channel) dropShortSnapshots() {
	if ch.snapshots == nil {
		return
	}
	keep := false
	for e, list := range ch.snapshots {
		if len(list) < minKeptSnapshot {
			ch.snapshots[e] = nil
		}
		keep = keep || ch.snapshots[e] != nil
	}
	if !keep {
		ch.snapshots = nil
	}
}

// shownUsers returns the members that watchers have seen.
func (ch *channel) shownUsers() []View {
	users := make([]View, 0, ch.visible)
	for _, m := range ch.members {
		if m.seen == seenUser {
			users = append(users, m.lastView())
		}
	}
	return users
}

// answersSelf reports whether the answer to a join has the joiner as a member, shown or not.
func (h *Host) answersSelf(m *membership) bool {
	if m.conn.encoding == 0 || m.channel.class.Kind != Authenticated {
		return false
	}
	return h.memberOf(m).in(m.channel) != nil
}

// self returns [Joined].Self. listed reports whether the answer has the members that watchers have
// seen.
func (h *Host) self(m *membership, listed bool) *View {
	if !h.answersSelf(m) {
		return nil
	}
	of := h.memberOf(m).in(m.channel)
	if listed && of.seen == seenUser {
		if last := of.lastView(); last.id() == of.user.ID {
			return nil
		}
	}
	v := of.view()
	v.Shown = nil
	return &v
}
