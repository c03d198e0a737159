package message

import (
	"slices"

	"github.com/rollcall-gateway/rollcall/presence"
)

// kindDetailedDelta is a Delta with the info and the status of members, and what a Shower has
// decided to show of them, if any has one of these. It has a type of its own, so that others have
// no byte for it.
const kindDetailedDelta = 14

func isDetailed(m presence.Member) bool {
	return m.InfoTime != 0 || m.StatusTime != 0 || m.Shown != nil
}

// details writes the details of members, by their index. Only in a delta they have what is shown.
func (e *encoder) details(members []presence.Member, inDelta bool) {
	n := 0
	for i := range members {
		if isDetailed(members[i]) {
			n++
		}
	}
	e.length(n)
	last := -1
	for i := range members {
		m := &members[i]
		if !isDetailed(*m) {
			continue
		}
		e.uvarint(uint64(i - last - 1))
		last = i
		if m.Shown != nil && !inDelta {
			e.fail("what is shown of a user in a reply")
		}
		if m.Own && m.InfoTime == 0 {
			e.fail(ownWithoutTime)
		}
		e.flags(m.InfoTime != 0, m.StatusTime != 0, m.Own, m.Shown != nil)
		if m.InfoTime != 0 {
			if m.Own {
				e.valueOrNone(m.Info, presence.MaxInfo)
			} else {
				e.objectOrNone(m.Info, presence.MaxInfo)
			}
			e.time(m.InfoTime)
		}
		if m.StatusTime != 0 {
			e.objectOrNone(m.Status, presence.MaxStatus)
			e.time(m.StatusTime)
		}
		s := m.Shown
		if s == nil {
			continue
		}
		if (s.Record == "") != (s.Sender == "") || s.Record == "" && s.ID != "" {
			e.fail("a user of whom a part is shown")
		}
		e.text(s.ID, presence.MaxShown)
		e.objectOrNone(s.Record, presence.MaxShown)
		e.objectOrNone(s.Sender, presence.MaxShown)
		e.time(s.Time)
	}
}

func (d *decoder) detailedDelta() Message {
	m := d.delta()
	d.details(m.Joined, 4)
	if d.wrong != "" {
		return nil
	}
	return m
}

// details reads what encoder.details has written, with as many flags.
func (d *decoder) details(members []presence.Member, flagged int) {
	n := d.length(leastDetail)
	if n == 0 {
		d.fail("details of nobody")
	}
	next := uint64(0)
	for ; n > 0 && d.wrong == ""; n-- {
		skipped := d.uvarint()
		if skipped >= uint64(len(members)) || next+skipped >= uint64(len(members)) {
			d.fail("details of a user that there is not")
			return
		}
		m := &members[next+skipped]
		next += skipped + 1
		flags := d.flags(flagged)
		if flags == 0 {
			d.fail("no detail of a user")
			return
		}
		switch flags & 5 {
		case 1:
			m.Info, m.InfoTime = d.objectOrNone(presence.MaxInfo), d.timeOfDetail()
		case 5:
			m.Info, m.InfoTime, m.Own = d.valueOrNone(presence.MaxInfo), d.timeOfDetail(), true
		case 4:
			d.fail(ownWithoutTime)
			return
		}
		if flags&2 != 0 {
			m.Status, m.StatusTime = d.objectOrNone(presence.MaxStatus), d.timeOfDetail()
		}
		if flags&8 == 0 {
			continue
		}
		s := &presence.Shown{
			ID: d.text(presence.MaxShown), Record: d.objectOrNone(presence.MaxShown), Sender: d.objectOrNone(presence.MaxShown), Time: d.time(),
		}
		if (s.Record == "") != (s.Sender == "") || s.Record == "" && s.ID != "" {
			d.fail("a user of whom a part is shown")
			return
		}
		m.Shown = s
	}
}

// detail writes a user of Details.
func (e *encoder) detail(u *presence.Detail) {
	e.userID(u.ID)
	info, status := u.With&presence.FieldInfo != 0, u.With&presence.FieldStatus != 0
	if u.With&presence.FieldEmail != 0 || info && u.InfoTime == 0 || status && u.StatusTime == 0 {
		e.fail("a detail without a time")
	}
	e.flags(u.InfoTime != 0, u.StatusTime != 0, info, status)
	if u.InfoTime != 0 {
		e.time(u.InfoTime)
	}
	if info {
		e.objectOrNone(u.Info, presence.MaxInfo)
	}
	if u.StatusTime != 0 {
		e.time(u.StatusTime)
	}
	if status {
		e.objectOrNone(u.Status, presence.MaxStatus)
	}
}

// detail reads what encoder.detail has written.
func (d *decoder) detail() presence.Detail {
	u := presence.Detail{ID: d.userID()}
	flags := d.flags(4)
	if with := flags >> 2; with&^flags != 0 {
		d.fail("a detail without a time")
	}
	if flags&1 != 0 {
		u.InfoTime = d.timeOfDetail()
	}
	if flags&4 != 0 {
		u.Info, u.With = d.objectOrNone(presence.MaxInfo), presence.FieldInfo
	}
	if flags&2 != 0 {
		u.StatusTime = d.timeOfDetail()
	}
	if flags&8 != 0 {
		u.Status, u.With = d.objectOrNone(presence.MaxStatus), u.With|presence.FieldStatus
	}
	return u
}

// userDetailSize returns what a user of Details takes in a payload, in bytes.
func userDetailSize(u *presence.Detail) int {
	size := textSize(&u.ID) + 1
	if u.InfoTime != 0 {
		size += timeSize(u.InfoTime)
	}
	if u.With&presence.FieldInfo != 0 {
		size += textSize(&u.Info)
	}
	if u.StatusTime != 0 {
		size += timeSize(u.StatusTime)
	}
	if u.With&presence.FieldStatus != 0 {
		size += textSize(&u.Status)
	}
	return size
}

// timeOfDetail reads the time of something that was set: others have none.
func (d *decoder) timeOfDetail() int64 {
	t := d.time()
	if t == 0 {
		d.fail("a detail without a time")
	}
	return t
}

// objectOrNone writes an object of JSON, or that there is none.
func (e *encoder) objectOrNone(s string, most int) {
	if s != "" && !isObject([]byte(s)) {
		e.fail("a detail of a user is no object")
	}
	e.text(s, most)
}

func (d *decoder) objectOrNone(most int) string {
	s := d.plain(most)
	if s != "" && !isObject([]byte(s)) {
		d.fail("a detail of a user is no object")
		return ""
	}
	return s
}

// valueOrNone writes a value of JSON, or that there is none.
func (e *encoder) valueOrNone(s string, most int) {
	if s != "" && !isValue(s) {
		e.fail(noValue)
	}
	e.text(s, most)
}

func (d *decoder) valueOrNone(most int) string {
	s := d.plain(most)
	if s != "" && !isValue(s) {
		d.fail(noValue)
		return ""
	}
	return s
}

// isValue reports whether a text is a value of JSON: it goes to browsers as it is.
func isValue(s string) bool { return presence.CheckIdentityInfo(s) == nil }

const (
	noValue        = "an info of a membership that is no JSON"
	ownWithoutTime = "an info of a membership without a time"
)

// listingMembers returns the users of a listing with the times of their details.
func listingMembers(l *presence.Listing) []presence.Member {
	list := make([]presence.Member, len(l.Users))
	for i := range list {
		list[i] = detailedMember(&l.Users[i], l.Details[i])
	}
	return list
}

// isListingDetailed reports whether a user of a listing has details.
func isListingDetailed(l *presence.Listing) bool {
	return slices.ContainsFunc(l.Details, func(t presence.DetailTimes) bool { return t != presence.DetailTimes{} })
}

// listingDetails reads the details of the users of a listing.
func (d *decoder) listingDetails(l *presence.Listing) {
	members := make([]presence.Member, len(l.Users))
	d.details(members, 3)
	l.Details = make([]presence.DetailTimes, len(members))
	for i, m := range members {
		l.Users[i].Info, l.Users[i].Status = m.Info, m.Status
		l.Details[i] = presence.DetailTimes{Info: m.InfoTime, Status: m.StatusTime, Own: m.Own}
	}
}

// detailLimit is the most that the info and the status of a user take.
const detailLimit = numberLimit + 1 + 2 + presence.MaxInfo + 2 + presence.MaxStatus + 2*timeLimit

func listedDetailSize(u *presence.User, times presence.DetailTimes) int {
	m := detailedMember(u, times)
	if !isDetailed(m) {
		return 0
	}
	return detailSize(&m)
}

func detailedMember(u *presence.User, times presence.DetailTimes) presence.Member {
	return presence.Member{User: *u, InfoTime: times.Info, StatusTime: times.Status, Own: times.Own}
}

func detailSize(m *presence.Member) int {
	size := numberLimit + 1
	if m.InfoTime != 0 {
		size += textSize(&m.Info) + timeSize(m.InfoTime)
	}
	if m.StatusTime != 0 {
		size += textSize(&m.Status) + timeSize(m.StatusTime)
	}
	if m.Shown != nil {
		size += shownSize(m.Shown)
	}
	return size
}

func shownSize(s *presence.Shown) int {
	return textSize(&s.ID) + textSize(&s.Record) + textSize(&s.Sender) + timeSize(s.Time)
}
