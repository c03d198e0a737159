package message

import "github.com/rollcall-gateway/rollcall/presence"

// kindShownDelta is a Delta with what is shown of members, where a Shower has decided about any. It
// has a type of its own, so that others have no byte for it.
const kindShownDelta = 14

func hasShown(m presence.Member) bool { return m.Shown != nil }

// shownMembers writes what is shown of members, by their index.
func (e *encoder) shownMembers(members []presence.Member) {
	n := 0
	for i := range members {
		if hasShown(members[i]) {
			n++
		}
	}
	e.length(n)
	last := -1
	for i := range members {
		s := members[i].Shown
		if s == nil {
			continue
		}
		e.uvarint(uint64(i - last - 1))
		last = i
		if (s.Record == "") != (s.Sender == "") || s.Record == "" && s.ID != "" {
			e.fail("a user of whom a part is shown")
		}
		e.text(s.ID, presence.MaxShown)
		e.shownObject(s.Record)
		e.shownObject(s.Sender)
		e.time(s.Time)
	}
}

func (d *decoder) shownDelta() Message {
	m := d.delta()
	d.shownMembers(m.Joined)
	if d.wrong != "" {
		return nil
	}
	return m
}

func (d *decoder) shownMembers(members []presence.Member) {
	n := d.length(leastShown)
	if n == 0 {
		d.fail("what is shown of nobody")
	}
	next := uint64(0)
	for ; n > 0 && d.wrong == ""; n-- {
		skipped := d.uvarint()
		if skipped >= uint64(len(members)) || next+skipped >= uint64(len(members)) {
			d.fail("what is shown of a user that there is not")
			return
		}
		s := &presence.Shown{ID: d.text(presence.MaxShown), Record: d.shownObject(), Sender: d.shownObject(), Time: d.time()}
		if (s.Record == "") != (s.Sender == "") || s.Record == "" && s.ID != "" {
			d.fail("a user of whom a part is shown")
			return
		}
		members[next+skipped].Shown = s
		next += skipped + 1
	}
}

// shownObject writes an object of JSON for browsers, or that there is none.
func (e *encoder) shownObject(s string) {
	if s != "" && !isObject([]byte(s)) {
		e.fail("what is shown is no object")
	}
	e.text(s, presence.MaxShown)
}

func (d *decoder) shownObject() string {
	s := d.plain(presence.MaxShown)
	if s != "" && !isObject([]byte(s)) {
		d.fail("what is shown is no object")
		return ""
	}
	return s
}

func shownSize(s *presence.Shown) int {
	return numberLimit + textSize(&s.ID) + textSize(&s.Record) + textSize(&s.Sender) + timeSize(s.Time)
}
