package message

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// kindEventReply is a Reply with an Event. It has a type of its own, so that others have no byte
// for it.
const kindEventReply = 24

func (e *encoder) event(ev *presence.LastEvent) {
	e.keeping(ev.Keeping)
	e.flags(ev.Raw)
	e.object(ev.Body)
}

func (d *decoder) eventReply() Message {
	m := d.reply()
	m.Event = &presence.LastEvent{Keeping: d.keeping(), Raw: d.flags(1) != 0, Body: d.object()}
	if d.wrong != "" {
		return nil
	}
	return m
}

// keeping writes a stamp, and the time in milliseconds, from 1 on: an event that is kept for less
// is not sent.
func (e *encoder) keeping(k presence.Keeping) {
	if k.Stamp == 0 || k.TTL < time.Millisecond || k.TTL > presence.MaxCacheTTL {
		e.fail(badKeeping)
	}
	e.fixed(k.Stamp)
	e.uvarint(uint64(k.TTL.Milliseconds()))
}

func (d *decoder) keeping() presence.Keeping {
	k := presence.Keeping{Stamp: d.fixed()}
	ms := d.uvarint()
	if k.Stamp == 0 || ms < 1 || ms > uint64(presence.MaxCacheTTL.Milliseconds()) {
		d.fail(badKeeping)
		return presence.Keeping{}
	}
	k.TTL = time.Duration(ms) * time.Millisecond
	return k
}

const badKeeping = "an event without a stamp, or a time out of range for it"
