package presence

// overlay is what watchers see of a channel in addition to the connections of this pod: the parts
// of other pods, and lost connections in their grace period. It exists only while the channel has
// watchers. The host's lock guards it.
type overlay struct {
	relayed bool // the relay knows that the channel is watched
	syncing bool // joiners wait for Pods.Ready; there is no watcher yet
	parts   podParts
	losses  *losses // nil if there are none
}

// datedEmail is an e-mail address with the time at which it was learned, see Member.
type datedEmail struct {
	email string
	seen  int64
}

// newer reports whether a applies and not b. If both have the same time, all pods choose the same
// one.
func (a datedEmail) newer(b datedEmail) bool {
	switch {
	case a.email == "" || b.email == "":
		return a.email != ""
	case a.seen != b.seen:
		return a.seen > b.seen
	}
	return a.email > b.email
}

// EmailNewer reports whether the e-mail address of m applies, and not another one that was learned
// at the time seen.
func (m *Member) EmailNewer(email string, seen int64) bool {
	return datedEmail{m.Email, m.Seen}.newer(datedEmail{email, seen})
}

// InfoNewer reports whether the info of m applies, and not another one that was set at the time.
func (m *Member) InfoNewer(info string, at int64) bool { return later(m.InfoTime, at, m.Info, info) }

// memberOverlay is what watchers see of a member in addition to its connections on this pod.
type memberOverlay struct {
	pods  int32       // number of other pods that have the user
	email string      // e-mail address that watchers see
	shown *Shown      // decision of a Shower that applies; nil if no pod has one
	extra *extra      // info and status that apply
	lost  *lostMember // nil if not in its grace period
}

// ensureOverlay returns the overlay of the channel, which it creates if necessary.
func (ch *channel) ensureOverlay() *overlay {
	if ch.overlay == nil {
		ch.overlay = new(overlay)
	}
	return ch.overlay
}

func (ch *channel) syncing() bool { return ch.overlay != nil && ch.overlay.syncing }

// ensureOverlay returns the overlay of the member, which it creates if necessary.
func (m *member) ensureOverlay() *memberOverlay {
	if m.overlay == nil {
		now := m.here()
		m.overlay = &memberOverlay{email: now.email, shown: now.shown, extra: now.extra}
	}
	return m.overlay
}

// updateMember updates what watchers will see of a member whose connections have changed, on this
// pod or on another. was is the result of m.visible before the change. lost reports whether
// connections were lost.
func (h *Host) updateMember(m *member, was, lost bool) {
	switch {
	case m.inGrace():
		if m.connected() || !lost {
			m.endGrace()
		}
	case was && lost && !m.connected():
		h.startGrace(m)
	}
	m.updateView(h.hide)
	there := m.visible()
	if there == was {
		return
	}
	if there {
		m.channel.visible++
	} else {
		m.channel.visible--
	}
	m.channel.markDirty(m)
}

// updateView chooses what watchers see of a user that several pods can have. A member without
// connections keeps its last view.
func (m *member) updateView(hide Fields) {
	t := m.overlay
	if t == nil || !m.connected() {
		return
	}
	var best datedEmail
	var shown *Shown
	var rest *extra
	if m.conns > 0 {
		of := m.source()
		best, shown, rest = m.address(), of.shown, of.extra
	}
	if t.pods > 0 {
		for i := range m.channel.overlay.parts {
			known, _ := m.channel.overlay.parts[i].users.get(m.user.ID)
			if known.datedEmail.newer(best) {
				best = known.datedEmail
			}
			s := known.shown.without(hide)
			switch own := known.extra.isOwn(); {
			case own != rest.isOwn(): // the decision about a description applies with it
				if own {
					shown = s
				}
			case s.newer(shown):
				shown = s
			}
			rest = rest.newest(known.extra)
		}
	}
	switch {
	case !shown.equal(t.shown):
		same := best.email == t.email && !rest.differs(t.extra, FieldStatus)
		m.changed(m.source().restated || m.conns == 0 && same)
	case shown == nil && best.email != t.email && hide&FieldEmail == 0:
		m.changed(false)
	}
	if shown == nil && rest.differs(t.extra, hide) {
		m.changed(!rest.differs(t.extra, hide|FieldStatus))
	}
	t.email, t.shown, t.extra = best.email, shown, rest
	if t.pods == 0 && !m.inGrace() { // updateMember ends the grace of a member that is back
		m.overlay = nil
	}
}

// dropOverlay drops the overlay if the channel has no watchers.
func (h *Host) dropOverlay(ch *channel) {
	o := ch.overlay
	if o == nil || len(ch.watchers)+len(ch.joiners) > 0 {
		return
	}
	if o.relayed {
		h.relay.Unwatched(h.name, ch.name)
	}
	h.forgetPods(ch)
	if l := o.losses; l != nil {
		for len(l.members) > 0 {
			h.updateMember(l.members[0].member, true, false)
		}
		l.timer.Stop()
	}
	ch.overlay = nil
	if len(ch.dirty) > 0 {
		h.scheduleFlush(ch) // removes the members that are gone
	}
}

// forgetPods removes the parts of other pods.
func (h *Host) forgetPods(ch *channel) {
	o := ch.overlay
	o.relayed, o.syncing, o.parts = false, false, nil
	for _, m := range ch.members {
		if m.overlay != nil && m.overlay.pods > 0 {
			m.overlay.pods = 0
			h.updateMember(m, true, false)
		}
	}
}
