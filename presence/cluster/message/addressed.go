package message

import (
	"slices"

	"github.com/rollcall-gateway/rollcall/presence"
)

// kindAddressedSend is a Send with users, an excepted connection, a key, or an event to keep. It
// has a type of its own, so that others have no byte for them.
const kindAddressedSend = 15

func (m *Send) isAddressed() bool {
	return len(m.Users) > 0 || m.Except != presence.ID{} || !m.Key.IsZero() || m.From.Keep != presence.Keeping{}
}

func (e *encoder) address(m *Send) {
	if !m.From.Backend {
		e.fail(badAddress)
	}
	if len(m.Users) > presence.MaxUsers {
		e.fail(manyUsers)
	}
	if m.From.To != "" && !slices.Equal(m.Users, []string{m.From.To}) {
		e.fail(badTo)
	}
	e.flags(m.Except != presence.ID{}, !m.Key.IsZero(), m.From.To != "", m.From.Keep != presence.Keeping{})
	e.length(len(m.Users))
	for _, user := range m.Users {
		e.userID(user)
	}
	if m.Except != (presence.ID{}) {
		e.b = append(e.b, m.Except[:]...)
	}
	if !m.Key.IsZero() {
		e.b = append(e.b, m.Key[:]...)
	}
	if (m.From.Keep != presence.Keeping{}) {
		e.keeping(m.From.Keep)
	}
}

func (d *decoder) addressedSend() Message {
	m := d.send(true)
	if !m.From.Backend {
		d.fail(badAddress)
	}
	flags := d.flags(4)
	if m.Users = list(d, leastUser, d.userID); len(m.Users) > presence.MaxUsers {
		d.fail(manyUsers)
	}
	if flags&4 != 0 {
		if len(m.Users) == 1 {
			m.From.To = m.Users[0]
		} else {
			d.fail(badTo)
		}
	}
	if flags&1 != 0 {
		m.Except = d.sixteen()
	}
	if flags&2 != 0 {
		m.Key = d.sixteen()
	}
	if flags&8 != 0 {
		m.From.Keep = d.keeping()
	}
	if len(m.Channels)+len(m.Users) == 0 {
		d.fail("a message to nobody")
	}
	if d.wrong == "" && !m.isAddressed() {
		d.fail("an address that is none")
	}
	if d.wrong != "" {
		return nil
	}
	return m
}

// sixteen reads an ID or a hash of 16 bytes, which is not zero.
func (d *decoder) sixteen() (v [16]byte) {
	if d.left() < len(v) {
		d.fail("end of payload")
		return v
	}
	copy(v[:], d.payload[d.pos:])
	d.pos += len(v)
	if v == [16]byte{} {
		d.fail("an ID of zeros")
	}
	return v
}

const (
	badAddress = "an address of a message that is not of the backend"
	manyUsers  = "too many users"
	badTo      = "a message for connections that are signed in as no user, or as several"
)
