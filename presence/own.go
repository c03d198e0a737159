package presence

// A member has its own description while memberships with an identity count as its user: the info
// of an [Identity] holds in one channel alone. The description is a user that is in no list of the
// host, so that the Shower decides about it like about any other.

// source returns what this pod knows of the member in its channel.
func (m *member) source() *user {
	if m.own != nil {
		return m.own
	}
	return m.user
}

// address returns the e-mail address that this pod knows.
func (m *member) address() datedEmail {
	if m.own != nil && m.own.seen != 0 {
		return m.own.learned()
	}
	return m.user.learned()
}

// here is what this pod knows of a member that watchers can see.
type here struct {
	email string
	shown *Shown
	extra *extra
}

func (m *member) here() here {
	u := m.source()
	return here{m.address().email, u.shown, u.extra}
}

// differs reports whether clients see a difference between the two, and whether it is the status
// alone.
func (a here) differs(b here, hide Fields) (differs, restated bool) {
	if a.shown != nil || b.shown != nil {
		return !a.shown.equal(b.shown), false
	}
	if a.email != b.email && hide&FieldEmail == 0 || a.extra.differs(b.extra, hide|FieldStatus) {
		return true, false
	}
	differs = a.extra.differs(b.extra, hide)
	return differs, differs
}

// setOwn takes over what a membership with an identity says of the member. If as is nil, there is
// no such membership any more. The caller schedules a flush.
func (h *Host) setOwn(m *member, as *Identity) {
	before := m.here()
	switch {
	case as != nil:
		h.describe(m, as)
	case m.own == nil:
		return
	default:
		m.own.conns, m.own = 0, nil
		m.channel.identified--
	}
	h.ownChanged(m, before)
}

// describe sets the description of the member.
func (h *Host) describe(m *member, as *Identity) {
	o := m.own
	if o == nil {
		o = &user{ID: m.user.ID, login: new(login), members: memberList{few: [2]*member{m}}}
		m.own = o
		m.channel.identified++
		if h.rules().Shower != nil {
			o.shown = m.user.shown // until the Shower has decided about the description
		}
	}
	o.conns = 1 // otherwise the Shower is not asked
	before := o.known()
	e := &extra{info: as.Info, infoTime: h.timeAfter(o.extra.value().infoTime), own: true}
	h.copyStatus(m, e)
	o.extra = e
	o.learnEmail(as.Email, h.time())
	if as.Email == "" {
		o.Email = m.user.Email
	}
	h.askAgain(o, o.known() != before, false)
}

// askAgain asks the Shower about a description, if it has changed or was not decided about.
// restated reports whether the status alone has changed.
func (h *Host) askAgain(o *user, changed, restated bool) {
	if h.rules().Shower == nil {
		o.shown = nil
		return
	}
	if changed {
		o.restated = restated && (o.decided || o.restated)
		o.decided = false
	}
	h.askShower(o)
}

// copyStatus sets the status in the description of a member: it belongs to the user.
func (h *Host) copyStatus(m *member, e *extra) {
	e.status, e.statusTime = "", 0
	if of := m.user.extra.value(); m.user.conns > 0 {
		e.status, e.statusTime = of.status, of.statusTime
	}
}

// refreshOwn takes over a change of the user into the description of a member.
func (h *Host) refreshOwn(m *member) {
	o, before := m.own, m.here()
	known := o.known()
	e := o.extra.value()
	h.copyStatus(m, &e)
	o.extra = &e
	if o.seen == 0 {
		o.Email = m.user.Email
	}
	if now := o.known(); now != known {
		known.Status = now.Status
		h.askAgain(o, true, now == known)
	}
	h.ownChanged(m, before)
}

// ownChanged reports a change of the description of a member.
func (h *Host) ownChanged(m *member, before here) {
	if m.conns > 0 {
		m.channel.chunks.invalidate(m.index)
		h.recordMember(m, false)
		h.tapMember(m, false)
	}
	switch {
	case m.inGrace(): // updateMember ends that, and updates the view
		return
	case m.overlay != nil:
		m.updateView(h.hide)
		return
	}
	if differs, restated := m.here().differs(before, h.hide); differs {
		m.changed(restated)
	}
}

// eachDescription calls f with all descriptions of members.
func (h *Host) eachDescription(f func(u *user)) {
	for _, ch := range h.channels {
		if ch.identified == 0 {
			continue
		}
		for _, m := range ch.members {
			if m.own != nil {
				f(m.own)
			}
		}
	}
}

// refreshIdentified takes over a change of the user into the descriptions of its members.
func (h *Host) refreshIdentified(u *user) {
	list := u.identifiedMembers()
	for _, m := range list {
		h.refreshOwn(m)
	}
	if list != nil {
		h.flushMembers(u)
	}
}
