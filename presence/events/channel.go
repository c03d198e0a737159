package events

import (
	"slices"
	"strings"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// channel is a channel of a shard over all pods, and what the epoch has told of it.
type channel struct {
	name  string
	parts []part
	conns int // connections of all parts
	// userless is the number of those that count as no user of an authenticated channel.
	userless int
	kind     presence.Kind // 0 before the first part
	named    bool          // events name its members
	hidden   bool          // no event names it
	seats    map[*person]*seat
	visible  int           // number of seats that are visible
	until    time.Duration // end of the grace period of its last connection, see Speaker.now; 0 without one

	opened    bool          // it has become occupied, and that was not told yet
	told      bool          // the channel
	toldNamed bool          // its members
	toldCount int           // number of seats that were told
	toldConns int           // number of connections that was told last
	countAt   time.Duration // time from which the next number of connections is told, see Speaker.now; 0: now
	dirty     bool          // in shard.dirty
	news      []*seat
}

// part is a pod's part of a channel.
type part struct {
	*source
	conns int
	users int // seats that have the source
	// userless is the number of connections that count as no user.
	userless int
	class    presence.Class
}

// person is a user of a shard.
type person struct {
	user     presence.User
	seen     int64 // time of the e-mail address, see presence.Member
	infoTime int64
	seats    int
	record   string // last result of Sink.Name
}

// seat is a user in a channel.
type seat struct {
	*person
	at     sourceSet     // pods on which the user has a connection
	until  time.Duration // end of the grace period, see Speaker.now; 0 without one
	record string        // as it was told; "" if the Sink hides the user
	own    *ownInfo      // nil if no membership with an identity has described the user in the channel
	came   bool          // it has become visible, and that was not told yet
	told   bool
	dirty  bool // in channel.news
}

// ownInfo is the info of a user in one channel, see [presence.Member].Own.
type ownInfo struct {
	info string
	time int64
}

// describe takes over what a membership says of the user in the channel.
func (st *seat) describe(m *presence.Member) {
	if m.Own && (st.own == nil || m.InfoNewer(st.own.info, st.own.time)) {
		st.own = &ownInfo{strings.Clone(m.Info), m.InfoTime}
	}
}

// known returns the user as events of the channel have it.
func (st *seat) known() presence.User {
	u := st.user
	if st.own != nil {
		u.Info = st.own.info
	}
	return u
}

// visible reports whether the user counts as there.
func (st *seat) visible() bool { return st.at.first != nil || st.until != 0 }

// sourceSet is a set of sources. Most have one.
type sourceSet struct {
	first *source
	more  *[]*source // nil if there is at most one
}

// add adds a source, and reports whether it was not there.
func (s *sourceSet) add(src *source) bool {
	switch {
	case s.first == src || s.more != nil && slices.Contains(*s.more, src):
		return false
	case s.first == nil:
		s.first = src
	case s.more == nil:
		s.more = &[]*source{src}
	default:
		*s.more = append(*s.more, src)
	}
	return true
}

// remove removes a source, and reports whether it was there.
func (s *sourceSet) remove(src *source) bool {
	if s.first == src {
		s.first = nil
		if s.more != nil {
			s.first = (*s.more)[0]
			s.removeMore(0)
		}
		return true
	}
	if s.more != nil {
		if i := slices.Index(*s.more, src); i >= 0 {
			s.removeMore(i)
			return true
		}
	}
	return false
}

func (s *sourceSet) removeMore(i int) {
	if *s.more = slices.Delete(*s.more, i, i+1); len(*s.more) == 0 {
		s.more = nil
	}
}

// has reports whether the source is there.
func (s *sourceSet) has(src *source) bool {
	return s.first == src || s.more != nil && slices.Contains(*s.more, src)
}

// replace replaces a source by one that is not there.
func (s *sourceSet) replace(old, by *source) {
	if s.remove(old) {
		s.add(by)
	}
}

// occupied reports whether the channel counts as occupied.
func (ch *channel) occupied() bool {
	return ch.visible > 0 || ch.conns > 0 || ch.until != 0
}

// count returns what watchers see as the count of the channel.
func (ch *channel) count() int {
	switch {
	case ch.name == "":
		return 0
	case ch.kind == presence.Authenticated && ch.named:
		return ch.visible
	case ch.kind == presence.Authenticated:
		return ch.visible + ch.userless
	}
	return ch.conns
}

// part returns the part of a source, or nil.
func (ch *channel) part(src *source) *part {
	for i := range ch.parts {
		if ch.parts[i].source == src {
			return &ch.parts[i]
		}
	}
	return nil
}

// updateClass applies the classes of the parts. If pods differ, because one has not applied a
// reload yet, the class that tells less applies. Without parts, the last class stays.
func (ch *channel) updateClass() {
	first := true
	for i := range ch.parts {
		c := ch.parts[i].class
		if c.Kind == 0 {
			continue
		}
		if first {
			first, ch.kind, ch.named, ch.hidden = false, presence.Anonymous, true, false
		}
		if c.Kind == presence.Authenticated {
			ch.kind = c.Kind
		}
		ch.named = ch.named && !c.CountOnly
		ch.hidden = ch.hidden || c.Hidden
	}
	if !first {
		ch.named = ch.named && ch.kind == presence.Authenticated
	}
}

// person returns a user, which it creates if necessary.
func (sh *shard) person(m *presence.Member) *person {
	if m.Own { // its info is that of a seat
		shared := *m
		shared.Info, shared.InfoTime, shared.Own = "", 0, false
		m = &shared
	}
	p := sh.persons[m.ID]
	if p == nil {
		// The texts of a decoded message share memory with others.
		p = &person{user: presence.User{ID: strings.Clone(m.ID), Email: strings.Clone(m.Email), Info: strings.Clone(m.Info)}, seen: m.Seen, infoTime: m.InfoTime}
		sh.persons[p.user.ID] = p
		return p
	}
	if m.EmailNewer(p.user.Email, p.seen) {
		p.seen = m.Seen
		if m.Email != p.user.Email {
			p.user.Email = strings.Clone(m.Email)
		}
	}
	if m.InfoNewer(p.user.Info, p.infoTime) {
		p.infoTime = m.InfoTime
		if m.Info != p.user.Info {
			p.user.Info = strings.Clone(m.Info)
		}
	}
	return p
}

// seat returns the seat of a user in a channel, which it creates if necessary.
func (sh *shard) seat(ch *channel, p *person) *seat {
	st := ch.seats[p]
	if st == nil {
		st = &seat{person: p}
		if ch.seats == nil {
			ch.seats = make(map[*person]*seat)
		}
		ch.seats[p] = st
		p.seats++
	}
	return st
}

// dropSeat removes a seat that is not visible.
func (sh *shard) dropSeat(ch *channel, st *seat) {
	if ch.seats[st.person] != st {
		return
	}
	delete(ch.seats, st.person)
	if st.seats--; st.seats == 0 {
		delete(sh.persons, st.user.ID)
	}
}

// dropIfEmpty removes a channel of which nothing is left, and nothing to tell.
func (sh *shard) dropIfEmpty(ch *channel) {
	if len(ch.parts) == 0 && len(ch.seats) == 0 && ch.until == 0 && !ch.told && !ch.dirty {
		delete(sh.channels, ch.name)
	}
}

// mark records that something may have to be told of a channel, and of a seat of it if there is
// one.
func (sh *shard) mark(ch *channel, st *seat) {
	if sh.muted() {
		if st != nil && !st.visible() {
			sh.dropSeat(ch, st)
		}
		sh.dropIfEmpty(ch)
		return
	}
	if st != nil && !st.dirty {
		st.dirty = true
		ch.news = append(ch.news, st)
	}
	if !ch.dirty {
		ch.dirty = true
		sh.dirty = append(sh.dirty, ch)
	}
}

// reset marks everything as not told.
func (sh *shard) reset() {
	sh.dirty = nil
	for _, ch := range sh.channels {
		ch.opened, ch.told, ch.toldNamed, ch.dirty, ch.news = false, false, false, false, nil
		ch.toldCount, ch.toldConns, ch.countAt = 0, 0, 0
		for _, st := range ch.seats {
			st.came, st.told, st.dirty, st.record = false, false, false, ""
			if !st.visible() {
				sh.dropSeat(ch, st)
			}
		}
		sh.dropIfEmpty(ch)
	}
}
