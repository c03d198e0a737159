package message

import (
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// MaxAssignments is how many bytes the records of one Assignments take at most, so that the rest of
// the payload always fits.
const MaxAssignments = MaxPayload - 4096

// leastAssignment is the size of the smallest record: a user of one byte, no channel, mode, clock
// and node.
const leastAssignment = 2 + 1 + 1 + 8 + 8

// Bits of the byte with the mode.
const (
	blindMode = 0x80 // added to the mode of a blind removal
	kindMode  = 0x40 // added to the kind of another record, which stands in the place of the mode
)

// AssignmentSize returns how many bytes of a payload a record takes.
func AssignmentSize(r *assignment.Record) int {
	size := textSize(&r.User) + textSize(&r.Channel) + 1 + 8 + 8
	if r.Kind != assignment.KindAssignment {
		size += 8 + 8
	}
	return size
}

func (e *encoder) assignments(m *Assignments) {
	e.uvarint(m.ID)
	e.flags(m.Answer)
	e.host(m.Host)
	e.length(len(m.Records))
	for i := range m.Records {
		r := &m.Records[i]
		if r.Host != m.Host {
			e.fail("an assignment of another host")
		}
		if wrong := wrongRecord(r); wrong != "" {
			e.fail(wrong)
		}
		e.userID(r.User)
		e.optional(r.Channel, e.channel)
		mode := byte(r.Mode)
		if r.Blind {
			mode |= blindMode
		}
		if r.Kind != assignment.KindAssignment {
			mode = kindMode | byte(r.Kind)
		}
		e.byte(mode)
		e.fixed(r.Version.Clock)
		e.fixed(r.Version.Node)
		if r.Kind != assignment.KindAssignment {
			e.fixed(r.Value)
			e.fixed(r.Until)
		}
	}
}

func (d *decoder) assignments() *Assignments {
	m := &Assignments{ID: d.uvarint(), Answer: d.flags(1) != 0, Host: d.host()}
	m.Records = list(d, leastAssignment, func() assignment.Record {
		r := assignment.Record{
			Host: m.Host, User: d.userID(), Channel: d.optional(d.channel),
		}
		mode := d.byte()
		r.Version = assignment.Version{Clock: d.fixed(), Node: d.fixed()}
		if mode&kindMode != 0 {
			if r.Kind = assignment.Kind(mode &^ kindMode); r.Kind == assignment.KindAssignment {
				d.fail("an assignment in the layout of other kinds")
			}
			r.Value, r.Until = d.fixed(), d.fixed()
		} else {
			r.Mode, r.Blind = assignment.Mode(mode&^blindMode), mode&blindMode != 0
		}
		if wrong := wrongRecord(&r); wrong != "" {
			d.fail(wrong)
		}
		return r
	})
	return m
}

// wrongRecord returns what is wrong with a record beside its texts, or an empty string.
func wrongRecord(r *assignment.Record) string {
	switch {
	case r.Kind != assignment.KindAssignment:
		if !r.Valid() {
			return "a bad revocation or epoch"
		}
	case r.Mode > assignment.Receive:
		return "an unknown mode"
	case r.Mode != assignment.None && r.Channel == "":
		return "an assignment to no channel"
	case r.Mode != assignment.None && r.Blind:
		return "an assignment that is a blind removal"
	case r.Version.Clock > assignment.MaxClock:
		return "a clock out of range"
	}
	return ""
}

func (e *encoder) assignmentsTaken(m *AssignmentsTaken) {
	if m.Held.Later.Clock > assignment.MaxClock {
		e.fail("a clock out of range")
	}
	e.uvarint(m.ID)
	e.flags(m.Held.Ended, m.More, m.Whole)
	e.fixed(m.Held.Later.Clock)
	e.fixed(m.Held.Later.Node)
	e.uvarint(m.Parts)
	e.outside(m.Outside)
}

func (e *encoder) outside(parts uint64) {
	if parts > assignment.Shards {
		e.fail("too many parts of assignments")
	}
	e.uvarint(parts)
}

func (d *decoder) outside() uint64 {
	parts := d.uvarint()
	if parts > assignment.Shards {
		d.fail("too many parts of assignments")
	}
	return parts
}

func (d *decoder) assignmentsTaken() *AssignmentsTaken {
	m := &AssignmentsTaken{ID: d.uvarint()}
	flags := d.flags(3)
	m.Held.Ended, m.More, m.Whole = flags&1 != 0, flags&2 != 0, flags&4 != 0
	m.Held.Later = assignment.Version{Clock: d.fixed(), Node: d.fixed()}
	m.Parts, m.Outside = d.uvarint(), d.outside()
	if m.Held.Later.Clock > assignment.MaxClock {
		d.fail("a clock out of range")
	}
	return m
}

func (e *encoder) assignmentTotal(m *AssignmentTotal) {
	if m.Wanted && m.ID == 0 {
		e.fail("a total that is wanted, without an ID")
	}
	e.fixed(m.Total)
	e.fixed(m.Scope)
	e.uvarint(m.ID)
	e.flags(m.Whole, m.Wanted, m.Outside)
}

func (d *decoder) assignmentTotal() *AssignmentTotal {
	m := &AssignmentTotal{Total: d.fixed(), Scope: d.fixed(), ID: d.uvarint()}
	flags := d.flags(3)
	m.Whole, m.Wanted, m.Outside = flags&1 != 0, flags&2 != 0, flags&4 != 0
	if m.Wanted && m.ID == 0 {
		d.fail("a total that is wanted, without an ID")
	}
	return m
}

func (e *encoder) assignmentCheck(m *AssignmentCheck) {
	e.uvarint(m.ID)
	e.fixed(m.Scope)
	e.outside(m.Outside)
	for _, sum := range m.Sums {
		e.fixed(sum)
	}
}

func (d *decoder) assignmentCheck() *AssignmentCheck {
	m := &AssignmentCheck{ID: d.uvarint(), Scope: d.fixed(), Outside: d.outside()}
	for i := range m.Sums {
		m.Sums[i] = d.fixed()
	}
	return m
}
