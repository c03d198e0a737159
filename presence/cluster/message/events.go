package message

import "github.com/rollcall-gateway/rollcall/presence"

// EventsAsk asks a pod, which is the subject's, for its parts of shards, for events about presence.
// The pod sends them, and then what changes in them, as EventsPart. Without questions it only asks
// whether the session is known.
type EventsAsk struct {
	Session uint64 // grows with each session of the sender
	Open    bool   // the session may be new: nothing was received in it
	Asks    []EventsQuestion
	Ends    []uint64 // IDs of questions that are no longer asked
}

// EventsQuestion asks for a part of one shard.
type EventsQuestion struct {
	ID    uint64 // grows with each question of the sender; the last one for a shard counts
	Host  presence.HostName
	Shard uint8
	Users bool // with the users who are online
}

// EventsPart has parts of shards, in answer to EventsAsk. The parts of a stream are numbered, and
// used in this order. Each is repeated until EventsTaken.
type EventsPart struct {
	Session uint64
	Stream  uint64 // tells the streams of a session apart, of which the sender has forgotten one
	Number  uint64 // from 1
	Items   []EventsItem
}

// EventsItem is a part of the shard that the question of the ID is about.
type EventsItem struct {
	ID uint64
	presence.TapPart
}

// EventsTaken confirms the EventsParts of a stream up to a number.
type EventsTaken struct{ Session, Stream, Number uint64 }

// EventsLost says that the session is not known, because this pod has taken the other one for gone.
type EventsLost struct{ Session uint64 }

// EventsHosts names hosts that have connections on this pod. They go to a pod that owns a shard of
// each and has not asked for it.
type EventsHosts struct {
	Hosts []presence.HostName // at most MaxEventsHosts
}

// Maximum numbers of entries in one message.
const (
	MaxEventsHosts = 1024
	MaxEventsAsks  = 1024 // questions, and also ends
)

// The least that entries take in a payload, in bytes.
const (
	leastQuestion = 5
	leastItem     = 3
	leastChange   = 6
	leastHost     = 2
)

const (
	badShard  = "no shard"
	badClass  = "a bad class of a channel"
	manyParts = "too many entries of a message about events"
)

func (e *encoder) eventsAsk(m *EventsAsk) {
	if max(len(m.Asks), len(m.Ends)) > MaxEventsAsks {
		e.fail(manyParts)
	}
	e.uvarint(m.Session)
	e.flags(m.Open)
	e.length(len(m.Asks))
	for i := range m.Asks {
		q := &m.Asks[i]
		e.uvarint(q.ID)
		e.host(q.Host)
		if q.Shard >= presence.Shards {
			e.fail(badShard)
		}
		e.byte(q.Shard)
		e.flags(q.Users)
	}
	e.length(len(m.Ends))
	for _, id := range m.Ends {
		e.uvarint(id)
	}
}

func (d *decoder) eventsAsk() *EventsAsk {
	m := &EventsAsk{Session: d.uvarint(), Open: d.flags(1) != 0}
	m.Asks = list(d, leastQuestion, func() EventsQuestion {
		q := EventsQuestion{ID: d.uvarint(), Host: d.host(), Shard: d.byte(), Users: d.flags(1) != 0}
		if q.Shard >= presence.Shards {
			d.fail(badShard)
		}
		return q
	})
	m.Ends = list(d, 1, d.uvarint)
	if max(len(m.Asks), len(m.Ends)) > MaxEventsAsks {
		d.fail(manyParts)
	}
	return m
}

func (e *encoder) eventsHosts(m *EventsHosts) {
	if len(m.Hosts) > MaxEventsHosts {
		e.fail(manyParts)
	}
	e.length(len(m.Hosts))
	for _, h := range m.Hosts {
		e.host(h)
	}
}

func (d *decoder) eventsHosts() *EventsHosts {
	m := &EventsHosts{Hosts: list(d, leastHost, d.host)}
	if len(m.Hosts) > MaxEventsHosts {
		d.fail(manyParts)
	}
	return m
}

func (e *encoder) eventsPart(m *EventsPart) {
	e.uvarint(m.Session)
	e.uvarint(m.Stream)
	e.uvarint(m.Number)
	e.length(len(m.Items))
	for i := range m.Items {
		it := &m.Items[i]
		e.uvarint(it.ID)
		e.flags(it.First, it.Whole)
		e.length(len(it.Changes))
		for j := range it.Changes {
			e.change(&it.Changes[j])
		}
	}
}

func (d *decoder) eventsPart() *EventsPart {
	return &EventsPart{Session: d.uvarint(), Stream: d.uvarint(), Number: d.uvarint(), Items: list(d, leastItem, func() EventsItem {
		it := EventsItem{ID: d.uvarint()}
		flags := d.flags(2)
		it.First, it.Whole = flags&1 != 0, flags&2 != 0
		it.Changes = list(d, leastChange, d.change)
		return it
	})}
}

// isClass reports whether a TapChange can have the class: other fields than these are not sent.
func isClass(c presence.Class) bool {
	return c == presence.Class{Kind: c.Kind, Hidden: c.Hidden, CountOnly: c.CountOnly} && c.Kind <= presence.Anonymous
}

func (e *encoder) change(c *presence.TapChange) {
	if !isClass(c.Class) {
		e.fail(badClass)
	}
	detailed := false
	for i := range c.Came {
		detailed = detailed || isDetailed(c.Came[i])
	}
	e.optional(c.Channel, e.channel)
	e.byte(byte(c.Class.Kind))
	e.flags(c.Class.Hidden, c.Class.CountOnly, c.Lost, c.Full, c.More, detailed, c.Userless != 0)
	e.count(c.Conns)
	if c.Userless != 0 {
		e.count(c.Userless)
	}
	e.length(len(c.Came))
	for i := range c.Came {
		e.member(&c.Came[i])
	}
	if detailed {
		e.details(c.Came, false)
	}
	e.length(len(c.Left))
	for i := range c.Left {
		e.userID(c.Left[i].ID)
		e.flags(c.Left[i].Lost)
	}
}

func (d *decoder) change() presence.TapChange {
	c := presence.TapChange{Channel: d.optional(d.channel)}
	c.Class.Kind = presence.Kind(d.byte())
	flags := d.flags(7)
	c.Class.Hidden, c.Class.CountOnly, c.Lost, c.Full, c.More = flags&1 != 0, flags&2 != 0, flags&4 != 0, flags&8 != 0, flags&16 != 0
	if !isClass(c.Class) {
		d.fail(badClass)
	}
	c.Conns = d.count()
	if flags&64 != 0 {
		c.Userless = d.count()
	}
	c.Came = list(d, leastMember, d.member)
	if flags&32 != 0 {
		d.details(c.Came, 3)
	}
	c.Left = list(d, leastDeparture, func() presence.Departure {
		return presence.Departure{ID: d.userID(), Lost: d.flags(1) != 0}
	})
	return c
}

// changeSize returns how many bytes of a payload a change takes without its users, at most.
func changeSize(c *presence.TapChange) int { return textSize(&c.Channel) + 2 + 5*numberLimit }

// itemSize is how many bytes of a payload an item takes without its changes, at most.
const itemSize = 10 + 1 + numberLimit

// SplitEvents divides items among as many messages as they need, in order, and returns the items of
// each. The changes of a channel with many users are divided too.
func SplitEvents(items []EventsItem) (messages [][]EventsItem) {
	var (
		current []EventsItem
		free    = room
	)
	flush := func() {
		messages, current, free = append(messages, current), nil, room
	}
	for i := range items {
		it := &items[i]
		if free < itemSize {
			flush()
		}
		begin := func(first bool) *EventsItem {
			free -= itemSize
			current = append(current, EventsItem{ID: it.ID, TapPart: presence.TapPart{First: first}})
			return &current[len(current)-1]
		}
		part := begin(it.First)
		for j := range it.Changes {
			for rest, more := it.Changes[j], true; more; more = len(rest.Came)+len(rest.Left) > 0 {
				if head := changeSize(&rest); free < head+memberLimit+detailLimit {
					flush()
					part = begin(false)
				}
				free -= changeSize(&rest)
				c := rest
				c.Came, rest.Came = fit(rest.Came, &free, room, memberSize)
				if len(rest.Came) == 0 {
					c.Left, rest.Left = fit(rest.Left, &free, room, departureSize)
				} else {
					c.Left = nil
				}
				c.More = rest.More || len(rest.Came)+len(rest.Left) > 0
				part.Changes = append(part.Changes, c)
			}
		}
		part.Whole = it.Whole
	}
	if len(current) > 0 {
		flush()
	}
	return messages
}
