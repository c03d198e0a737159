package presence

import (
	"math/rand/v2"
	"slices"
	"time"
)

// extra is the info and the status of a user; many users have none. It is immutable: a change
// replaces it. The zero value and nil are equal.
type extra struct {
	info, status         string // as in [User]
	infoTime, statusTime int64  // times at which they were set, see Member.InfoTime; 0: never
	own                  bool   // info is that of a membership, see Member.Own
}

func (e *extra) isOwn() bool { return e != nil && e.own }

// shared returns what is true of the user in every channel; nil if it is nothing.
func (e *extra) shared() *extra {
	switch {
	case !e.isOwn():
		return e
	case e.statusTime == 0:
		return nil
	}
	return &extra{status: e.status, statusTime: e.statusTime}
}

// newest returns the later info and the later status of two pods. Of two that were set at the same
// time, all pods choose the same one. The info of a membership comes before that of the user.
func (e *extra) newest(other *extra) *extra {
	if other == nil || e == other {
		return e
	}
	if e == nil {
		return other
	}
	best := *e
	if other.own != e.own && other.own || other.own == e.own && later(other.infoTime, e.infoTime, other.info, e.info) {
		best.info, best.infoTime, best.own = other.info, other.infoTime, other.own
	}
	if later(other.statusTime, e.statusTime, other.status, e.status) {
		best.status, best.statusTime = other.status, other.statusTime
	}
	switch best {
	case *e:
		return e
	case *other:
		return other
	}
	return &best
}

func later(at, before int64, text, other string) bool {
	return at > before || at == before && text > other
}

// value returns a copy.
func (e *extra) value() extra {
	if e == nil {
		return extra{}
	}
	return *e
}

// differs reports whether clients see a difference between the two.
func (e *extra) differs(other *extra, hide Fields) bool {
	a, b := e.value(), other.value()
	if a.own || b.own {
		hide &^= FieldInfo // see View.Own
	}
	return a.info != b.info && hide&FieldInfo == 0 || a.status != b.status && hide&FieldStatus == 0
}

// fill sets the fields of a user.
func (e *extra) fill(u *User) {
	if e != nil {
		u.Info, u.Status = e.info, e.status
	}
}

// Fields is a set of fields of a [User].
type Fields uint8

// Fields of a user besides the ID.
const (
	FieldEmail Fields = 1 << iota
	FieldInfo
	FieldStatus
)

// fieldKeys are the keys of the fields in JSON objects, in the order of their bits.
var fieldKeys = [...]string{"email", "info", "status"}

// ParseField returns the field with the key "email", "info" or "status". It returns 0 for any other
// key.
func ParseField(key string) Fields {
	if i := slices.Index(fieldKeys[:], key); i >= 0 {
		return 1 << i
	}
	return 0
}

// known returns what this pod knows of the user.
func (u *user) known() User {
	k := User{ID: u.ID, Email: u.Email}
	u.extra.fill(&k)
	return k
}

// setInfo sets what a login says of the user, "" for nothing.
func (h *Host) setInfo(u *user, info string) {
	e := u.extra.value()
	same := e.info == info
	e.info, e.infoTime = info, h.timeAfter(e.infoTime)
	h.setExtra(u, &e)
	if !same { // otherwise, a pod that hears of another one is told that this one is later
		h.tell(u.ID, u.extra, 0)
	}
}

// setExtra changes the info and the status of a user, and shows the change.
func (h *Host) setExtra(u *user, e *extra) {
	before := u.extra
	u.extra = e
	h.detailed = true
	restated := before.value().info == e.info
	if !restated {
		h.tapKnown(u)
	}
	if e.differs(before, 0) {
		h.invalidateUser(u)
		if h.rules().Shower != nil {
			u.restated = restated && (u.decided || u.restated)
			u.decided = false
			h.askShower(u)
		}
	}
	h.updateMembers(u, u.shown == nil && e.differs(before, h.hide), restated)
	h.flushMembers(u)
}

// learn takes over what another pod knows of a user with connections on this pod: it is true of the
// user wherever it is connected.
func (h *Host) learn(u *user, e *extra) {
	if best := u.extra.newest(e); best != u.extra {
		h.setExtra(u, best)
		if h.relay != nil {
			h.addNews(u.ID, fresh{extra: best, later: true})
		}
	}
}

// timeAfter returns the time of a change of something that was set before, as Unix time in
// nanoseconds. It is random within the millisecond, so that pods that compare times alone do not
// take two texts for one.
func (h *Host) timeAfter(before int64) int64 {
	const ms = int64(time.Millisecond)
	return max(h.time()*ms, before+1) + rand.Int64N(ms) //nolint:gosec // guessing it is useless
}

// time returns the time that all pods agree on, as Unix time in milliseconds.
func (h *Host) time() int64 { return timeOf(h.relay) }

// timeOf returns the time that all pods agree on by a relay, which is nil if this pod is the only
// one.
func timeOf(relay Relay) int64 {
	if relay != nil {
		return int64(relay.Clock())
	}
	return time.Now().UnixMilli()
}

// statusPause is the least time between two changes of a user's status that others see.
const statusPause = time.Second

// statusChange is the last change of a user's status in statusPause.
type statusChange struct {
	waits  bool
	status string // if it waits
	at     int64  // time at which it was set, if it waits
}

// SetStatus sets what the user of c says of itself on the host, as [CompactStatus] returns it; ""
// for nothing. It holds for all connections of the user, on all pods, and ends with the last one.
// Of the changes on a pod, others see at most one in a second, the latest, also if the user
// reconnects while the host has another connection there.
//
// It returns ErrLoginRequired, ErrDenied or ErrClosed.
func (c *Conn) SetStatus(status string) error {
	h := c.host
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case c.closed:
		return ErrClosed
	case c.user == nil:
		return ErrLoginRequired
	case h.hide&FieldStatus != 0:
		return errNoStatus
	}
	u := c.user
	at := h.timeAfter(u.extra.value().statusTime)
	if change := h.statuses[u.ID]; change != nil {
		*change = statusChange{waits: true, status: status, at: at}
		return nil
	}
	h.setStatus(u, status, at)
	if h.statuses == nil {
		h.statuses = make(map[string]*statusChange)
	}
	h.statuses[u.ID] = new(statusChange)
	time.AfterFunc(statusPause, func() { h.nextStatus(u.ID) })
	return nil
}

// nextStatus shows the latest change of a user's status, if there was another one.
func (h *Host) nextStatus(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change := h.statuses[id]
	if !change.waits || h.dropped {
		delete(h.statuses, id)
		return
	}
	set := &extra{status: change.status, statusTime: change.at}
	switch u := h.users[id]; {
	case u == nil:
		h.tell(id, set, FieldStatus) // the user can be on other pods
	case u.conns == 0:
		u.ensureLogin()
		u.extra = u.extra.newest(set) // for its return in the grace period
		h.tell(id, set, FieldStatus)
	case change.at > u.extra.value().statusTime: // otherwise, another pod has a later one
		h.setStatus(u, change.status, change.at)
	}
	*change = statusChange{}
	time.AfterFunc(statusPause, func() { h.nextStatus(id) })
}

// setStatus sets the status of a user, and tells other pods.
func (h *Host) setStatus(u *user, status string, at int64) {
	e := u.extra.value()
	e.status, e.statusTime = status, at
	h.setExtra(u, &e)
	h.tell(u.ID, u.extra, FieldStatus)
}

// Bounds of changed statuses in the frames of a channel.
const (
	maxStatusBytes = 64 << 10
	statusWindow   = time.Second
)

// statusBudget counts the changed statuses of a channel.
type statusBudget struct {
	since time.Time // start of the window
	bytes int
	timer *time.Timer // for those that wait; nil if none does
}

// changed marks a member of whom watchers see something else; restated says that it is the status
// alone.
func (m *member) changed(restated bool) {
	change := viewUpdated
	if restated {
		change = viewRestated
	}
	m.change = max(m.change, change)
	m.channel.markDirty(m)
}

// waits reports whether a change of the status has to wait, because the frames of the channel have
// enough of them.
func (m *member) waits(ch *channel) bool {
	if m.change != viewRestated || m.seen != seenUser || !m.visible() || len(ch.watchers) == 0 {
		return false
	}
	v := m.view()
	if v.hidden() {
		return false
	}
	if ch.restated == nil {
		ch.ensureExtras().restated = new(statusBudget)
	}
	return !ch.restated.takes(time.Now(), v.Status)
}

// restateLater flushes the channel when its frames can have the statuses that wait.
func (h *Host) restateLater(ch *channel) {
	b := ch.restated
	if b.timer != nil {
		return
	}
	b.timer = time.AfterFunc(statusWindow, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		b.timer = nil
		if h.channels[ch.name] == ch {
			h.scheduleFlush(ch)
		}
	})
}

// updateHide shows all users again if the rules hide other fields than before.
func (h *Host) updateHide(rules *Rules) {
	if rules.Hide == h.hide {
		return
	}
	hidden := rules.Hide &^ h.hide
	h.hide = rules.Hide
	hideShown := func(u *user) {
		if hidden != 0 && u.shown != nil {
			h.setShown(u, new(Shown)) // what was shown has a field that is hidden now
		}
	}
	for _, u := range h.users { // also those in their grace period, who may come back
		hideShown(u)
	}
	h.eachDescription(hideShown)
	for _, ch := range h.channels {
		for _, m := range ch.members {
			m.updateView(h.hide)
			if m.overlay != nil {
				m.overlay.shown = m.overlay.shown.without(h.hide) // that of a member in its grace period stays
			}
			m.changed(false)
		}
		for m, s := range ch.seen {
			ch.seen[m] = s.without(h.hide)
		}
		ch.snapshots = nil
		h.scheduleFlush(ch)
	}
}

// hideNow hides the fields that the rules have begun to hide, before [Host.Reclassify] does: no
// frame has them once the rules are in effect.
func (h *Host) hideNow() {
	if rules := h.rules(); rules.Hide&^h.hide != 0 {
		h.updateHide(rules)
	}
}

// encodeMessage builds the frame for a message of a channel.
func (h *Host) encodeMessage(e Encoding, channel string, from Source, message []byte) []byte {
	h.hideNow()
	from.Hide = h.hide
	return h.registry.frames[e].Message(channel, from, message)
}

// takes reports whether a frame may have another changed status.
func (b *statusBudget) takes(now time.Time, status string) bool {
	if now.Sub(b.since) >= statusWindow {
		b.since, b.bytes = now, 0
	}
	const least = 16 // for none
	size := max(len(status), least)
	if b.bytes+size > maxStatusBytes {
		return false
	}
	b.bytes += size
	return true
}
