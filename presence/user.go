package presence

import "slices"

// User is the user that a connection is logged in as.
type User struct {
	ID    string
	Email string // latest e-mail address of a connection with this ID; "" if none had one
	// Info is what else is known, as [CompactInfo] returns it: the latest of a connection with this
	// ID. "" if none had any.
	Info string
	// Status is what the user says of itself, as [CompactStatus] returns it; "" for nothing. A
	// login has none, see [Conn.SetStatus].
	Status string
}

// user is a user with a connection on the host, or with a member of a channel. A member remains
// while the user is on another pod, and until watchers have seen that it left. A user who
// reconnects meanwhile is the same member.
type user struct {
	ID      string
	*login  // never nil; see user.ensureLogin
	members memberList
}

// login is what this pod knows of a user by its own connections.
type login struct {
	Email      string // e-mail address that this pod has learned
	extra      *extra // what else it has learned; nil if nothing
	seen       int64  // time at which the e-mail address was learned, see Member.Seen
	index      int32  // index in Host.online
	conns      int32
	identities int32  // number of memberships that describe the user, if it is the own one of a member
	queued     bool   // in the queue of the Shower
	decided    bool   // the Shower has decided about the user as it is
	restated   bool   // only the status has changed since the last decision
	shown      *Shown // decision of the Shower; nil without one
	first      *Conn  // head of the list of its connections
}

// elsewhere is the login of all users who have had no connection here: a user of other pods takes
// less than half of the memory. It must not be written.
var elsewhere = new(login)

// ensureLogin gives the user a login that can be written.
func (u *user) ensureLogin() {
	if u.login == elsewhere {
		u.login = new(login)
	}
}

// acquire counts one more connection of the user and updates its e-mail address.
func (h *Host) acquire(u User) *user {
	known := h.users[u.ID]
	if known == nil {
		known = &user{ID: u.ID, login: &login{Email: u.Email}}
		h.users[u.ID] = known
	}
	known.ensureLogin()
	before := known.known()
	known.conns++
	h.loggedIn++
	first := known.conns == 1
	if first {
		known.index = int32(len(h.online))
		h.online = append(h.online, known)
		h.invalidateOnline(known.index)
	}
	if u.Email != "" || first {
		h.setEmail(known, u.Email)
	}
	switch {
	case !first:
	case slices.ContainsFunc(known.members.all(), (*member).remembers):
		known.extra = known.latest()
	default:
		h.resetUser(known)
	}
	if u.Info != "" {
		h.setInfo(known, u.Info)
	}
	if first {
		h.introduce(known)
	}
	changed := known.known() != before
	if changed {
		known.decided, known.restated = false, false
	}
	switch {
	case h.rules().Shower != nil && (first || changed):
		h.askShower(known)
	case first:
		known.shown = nil
	}
	if first {
		h.tapUser(known, false)
	}
	h.refreshIdentified(known)
	return known
}

// resetUser drops the info and the status of a user who was gone and is back.
func (h *Host) resetUser(u *user) {
	if change := h.statuses[u.ID]; change != nil {
		change.waits = false
	}
	if u.extra != nil {
		h.setExtra(u, new(extra)) // watchers that have not seen the user leave see the change
		u.extra = nil
	}
}

// askShower asks the Shower about a user, unless it has decided. Until then, frames do not name a
// user for whom there was no decision.
func (h *Host) askShower(u *user) {
	if u.decided {
		return
	}
	if u.shown == nil {
		u.shown = undecided
	}
	h.queueUser(u, u.shown.Failed)
}

// setEmail sets the e-mail address, "" for none, and the time at which it was learned.
func (h *Host) setEmail(u *user, email string) {
	same := email == u.Email
	var now int64
	if email != "" { // reading the clock takes 5 % of connect, join and close
		now = h.time()
	}
	u.learnEmail(email, now)
	h.tapKnown(u)
	if !same {
		h.invalidateUser(u)
	}
	h.updateMembers(u, !same && u.shown == nil && h.hide&FieldEmail == 0, false)
	h.flushMembers(u)
}

// learnEmail takes over an e-mail address, "" for none, that is learned at a time.
func (u *user) learnEmail(email string, now int64) {
	switch email {
	case "":
		u.seen = 0
	case u.Email:
		u.seen = max(u.seen, now)
	default:
		u.seen = max(u.seen+1, now)
	}
	u.Email = email
}

// updateMembers updates what watchers see of a user of whom this pod has learned something. changed
// reports whether that is another view if no other pod has the user; restated, whether it is the
// status alone. The caller calls flushMembers.
func (h *Host) updateMembers(u *user, changed, restated bool) {
	for _, m := range u.members.all() {
		if m.own != nil && m.own != u {
			h.refreshOwn(m)
			continue
		}
		if m.conns > 0 {
			h.recordMember(m, false) // also if it is the same: another pod may have an older time
		}
		switch {
		case m.overlay != nil:
			m.updateView(h.hide)
		case changed:
			m.changed(restated)
		}
	}
}

// flushMembers schedules a flush of the channels in which watchers will see another view of the
// user.
func (h *Host) flushMembers(u *user) {
	for i := 0; i < len(u.members.all()); {
		m := u.members.all()[i]
		if m.dirty {
			h.scheduleFlush(m.channel)
		}
		if all := u.members.all(); i < len(all) && all[i] == m { // otherwise the flush has removed it
			i++
		}
	}
}

// release counts one connection of the user less, as lost or as having left.
func (h *Host) release(u *user, lost bool) {
	u.conns--
	h.loggedIn--
	if u.conns == 0 {
		h.invalidateOnline(u.index)
		h.invalidateOnline(int32(len(h.online) - 1)) // the last user moves to u.index
		h.online.remove(u.index, func(u *user) *int32 { return &u.index })
		h.tapUser(u, lost)
		h.refreshIdentified(u) // its status ends
		h.discardUser(u)
	}
}

// memberSeen is what watchers have seen of a member.
type memberSeen uint8

const (
	seenNothing memberSeen = iota
	seenCount              // a count with the user
	seenUser               // the user
)

// viewChange is how the view of a member differs from what watchers have seen.
type viewChange uint8

const (
	viewSame     viewChange = iota
	viewRestated            // another status, which may wait
	viewUpdated             // another view
)

// in returns the member of the channel that the user is, or was before the next flush; nil if there
// is none. u may be nil.
func (u *user) in(ch *channel) *member {
	if u == nil {
		return nil
	}
	return u.members.in(ch)
}

// discardUser drops a user without connections and members.
func (h *Host) discardUser(u *user) {
	if u.conns == 0 && u.members.isEmpty() {
		delete(h.users, u.ID)
	}
}

// member is one user in one channel.
type member struct {
	user      *user
	channel   *channel
	index     int32          // index in channel.members
	userIndex int32          // index in the list of user.members
	overlay   *memberOverlay // nil if the user has connections only on this pod
	own       *user          // the user as memberships with an identity describe it, see Host.setOwn; nil if none has
	conns     int32          // number of the user's connections in the channel, on this pod
	seen      memberSeen
	change    viewChange // of what watchers have seen
	dirty     bool
	inDiff    bool // it has come or gone in the diff of the last flush
}

// member returns the user's member of an authenticated channel, which it creates if necessary.
func (ch *channel) member(u *user) *member {
	m := u.in(ch)
	if m == nil {
		m = &member{user: u, channel: ch, index: int32(len(ch.members))}
		ch.members = append(ch.members, m)
		u.members.add(m)
	}
	return m
}

// addConn counts one more connection of the user in the channel.
func (h *Host) addConn(ch *channel, u *user) { h.addConnAs(ch, u, nil) }

// addConnAs is addConn for a membership with an identity, or nil.
func (h *Host) addConnAs(ch *channel, u *user, as *Identity) {
	if ch.class.Kind != Authenticated {
		return
	}
	m := ch.member(u)
	was := m.visible()
	m.conns++
	if as != nil || m.identities() == 0 {
		h.setOwn(m, as)
	}
	if as != nil {
		m.own.identities++
	}
	if m.conns == 1 {
		ch.users++
		ch.chunks.invalidate(m.index)
		h.recordMember(m, false)
		h.tapMember(m, false)
		h.updateMember(m, was, false)
	}
}

// removeConn counts one connection of the user less in the channel, as lost or as having left.
func (h *Host) removeConn(ch *channel, u *user, lost bool) { h.removeConnAs(ch, u, nil, lost) }

// removeConnAs is removeConn for a membership with an identity, or nil.
func (h *Host) removeConnAs(ch *channel, u *user, as *Identity, lost bool) {
	if ch.class.Kind != Authenticated {
		return
	}
	m := u.in(ch)
	m.conns--
	if as != nil {
		m.own.identities--
	}
	switch {
	case m.conns > 0 && m.identities() == 0:
		h.setOwn(m, nil)
	case m.conns == 0:
		ch.users--
		ch.chunks.invalidate(m.index)
		h.recordMember(m, lost)
		h.tapMember(m, lost)
		h.updateMember(m, true, lost)
	}
}

// removeMember removes a member from its channel.
func (h *Host) removeMember(m *member) {
	ch := m.channel
	ch.chunks.invalidate(m.index)
	ch.chunks.invalidate(int32(len(ch.members) - 1)) // the last member moves to m.index
	ch.members.remove(m.index, func(m *member) *int32 { return &m.index })
	if m.own != nil {
		ch.identified--
	}

	u := m.user
	u.members.remove(m)
	h.discardUser(u)
}

func (ch *channel) markDirty(m *member) {
	if !m.dirty {
		m.dirty = true
		ch.dirty = append(ch.dirty, m)
	}
}

// identities returns the number of the user's connections in the channel that have an identity, on
// this pod.
func (m *member) identities() int32 {
	if m.own == nil {
		return 0
	}
	return m.own.identities
}

// connected reports whether the user has a connection in the channel, on any pod.
func (m *member) connected() bool { return m.conns > 0 || (m.overlay != nil && m.overlay.pods > 0) }

// inGrace reports whether the member was lost and its grace period has not ended.
func (m *member) inGrace() bool { return m.overlay != nil && m.overlay.lost != nil }

// visible reports whether watchers see the member after the next flush.
func (m *member) visible() bool { return m.connected() || m.inGrace() }

// remembers reports whether the user is still there by a login, on another pod or in its grace
// period.
func (m *member) remembers() bool {
	return m.visible() && m.overlay != nil && !m.overlay.extra.isOwn()
}

// view returns the user as watchers see it after the next flush.
func (m *member) view() View {
	of := m.source()
	v := View{User: User{ID: of.ID, Email: of.Email}, Shown: of.shown}
	e := of.extra
	if m.overlay != nil {
		v.Email, v.Shown, e = m.overlay.email, m.overlay.shown, m.overlay.extra
	}
	e.fill(&v.User)
	v.Own = e.isOwn()
	return v
}
