package message

import (
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// MaxAssignments is how many bytes the records of one Assignments take at most, so that the rest of the payload always
// fits.
const MaxAssignments = MaxPayload - 4096

// leastAssignment is the least that a record takes: two texts of a byte, mode, clock and node.
const leastAssignment = 2 + 2 + 1 + 8 + 8

// AssignmentSize returns how many bytes of a payload a record takes.
func AssignmentSize(r *assignment.Record) int {
	return textSize(&r.User) + textSize(&r.Channel) + 1 + 8 + 8
}

func (e *encoder) assignments(m *Assignments) {
	e.uvarint(m.ID)
	e.host(m.Host)
	e.length(len(m.Records))
	for i := range m.Records {
		r := &m.Records[i]
		if r.Host != m.Host {
			e.fail("an assignment of another host")
		}
		if r.Mode > assignment.Receive {
			e.fail("an unknown mode")
		}
		if r.Version.Clock > assignment.MaxClock {
			e.fail("a clock out of range")
		}
		e.userID(r.User)
		e.channel(r.Channel)
		e.byte(byte(r.Mode))
		e.fixed(r.Version.Clock)
		e.fixed(r.Version.Node)
	}
}

func (d *decoder) assignments() *Assignments {
	m := &Assignments{ID: d.uvarint(), Host: d.host()}
	m.Records = list(d, leastAssignment, func() assignment.Record {
		r := assignment.Record{
			Host: m.Host, User: d.userID(), Channel: d.channel(), Mode: assignment.Mode(d.byte()),
			Version: assignment.Version{Clock: d.fixed(), Node: d.fixed()},
		}
		switch {
		case r.Mode > assignment.Receive:
			d.fail("an unknown mode")
		case r.Version.Clock > assignment.MaxClock:
			d.fail("a clock out of range")
		}
		return r
	})
	return m
}

func (e *encoder) assignmentCheck(m *AssignmentCheck) {
	e.uvarint(m.ID)
	for _, sum := range m.Sums {
		e.fixed(sum)
	}
}

func (d *decoder) assignmentCheck() *AssignmentCheck {
	m := &AssignmentCheck{ID: d.uvarint()}
	for i := range m.Sums {
		m.Sums[i] = d.fixed()
	}
	return m
}
