package message

import (
	"github.com/rollcall-gateway/rollcall/presence"
)

// kindCall is a Query with a Call. It has a type of its own, so that others have no byte for it.
const kindCall = 16

// isKnown reports whether a query of the kind exists, with a Call or without.
func (k QueryKind) isKnown(call bool) bool {
	if call {
		return k >= KindOnline && k <= KindLeave
	}
	return k >= KindCount && k <= KindNames || k >= KindLast && k <= KindListeners
}

func (e *encoder) call(c *Call) {
	if wrong := c.check(); wrong != "" {
		e.fail(wrong)
	}
	e.flags(c.Reconnect, c.SignedIn, c.Members)
	e.text(c.Reason, MaxReason)
	e.length(len(c.Users))
	for _, user := range c.Users {
		e.userID(user)
	}
	e.length(len(c.Conns))
	for _, id := range c.Conns {
		e.b = append(e.b, id[:]...)
	}
	e.length(len(c.Channels))
	for _, channel := range c.Channels {
		e.channel(channel)
	}
}

func (d *decoder) callQuery() Message {
	m := d.query(true)
	flags := d.flags(3)
	c := &Call{Reconnect: flags&1 != 0, SignedIn: flags&2 != 0, Members: flags&4 != 0, Reason: d.text(MaxReason)}
	c.Users = list(d, leastUser, d.userID)
	c.Conns = list(d, len(presence.ID{}), func() presence.ID { return d.sixteen() })
	c.Channels = list(d, leastName, d.channel)
	if wrong := c.check(); wrong != "" {
		d.fail(wrong)
	}
	if d.wrong != "" {
		return nil
	}
	m.Call = c
	return m
}

// check returns what is wrong with the numbers of a call, or "".
func (c *Call) check() string {
	size := 0
	for _, name := range c.Channels {
		size += len(name)
	}
	switch {
	case len(c.Users) > presence.MaxUsers:
		return manyUsers
	case len(c.Conns) > presence.MaxUsers:
		return "too many connections"
	case len(c.Channels) > presence.MaxTargets || size > presence.MaxMessage:
		return "too many channels"
	}
	return ""
}
