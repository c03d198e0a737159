package message

import (
	"github.com/rollcall-gateway/rollcall/presence"
)

// The least that an entry of a list takes in a payload, in bytes. Lists are made for no more
// entries than that allows.
const (
	leastSite       = 2
	leastSet        = 1
	leastText       = 1
	leastHash       = 8
	leastUser       = 2
	leastMember     = leastUser + 1
	leastDeparture  = 2
	leastDetail     = 2
	leastUserDetail = 3
	leastListing    = 5
	leastConnection = 5
	leastHostCount  = 2 + 5
	leastListener   = 16 + leastUser + 2
	leastChannel    = 3
	leastName       = 2
	leastID         = 8
	leastShard      = 2
	leastAnswer     = 2
	leastHostSum    = 2 + 8
	leastHostShards = 2 + 1
	leastRun        = 2 + 2 + 16 + 1 + 8 + 1 + 1 + 3
)

// message writes the type and the body. It reports false for what is no message.
func (e *encoder) message(m Message) bool {
	if m == nil {
		return false
	}
	e.byte(m.kind())
	switch m := m.(type) {
	case *Heartbeat:
		e.heartbeat(m)
	case *Goodbye:
		e.uvarint(m.Clock)
		e.flags(m.Back)
	case *SitesWanted:
	case *Sites:
		e.sites(m)
	case *Query:
		e.query(m)
		if m.Call != nil {
			e.call(m.Call)
		}
	case *Reply:
		e.reply(m)
		if m.Event != nil {
			e.event(m.Event)
		}
		if m.kind() == kindOperatorReply {
			e.operatorLists(m)
		}
	case *Delta:
		e.delta(m)
	case *Check:
		e.check(m)
	case *CheckDone:
		e.checkDone(m)
	case *ShardSum:
		e.uvarint(m.AsOf)
		e.uvarint(m.Follows)
		e.fixed(m.Sum)
	case *HostSums:
		e.hostSums(m)
	case *HostShards:
		e.hostShards(m)
	case *Unfollow:
		e.unfollow(m)
	case *Send:
		e.send(m)
		if m.isAddressed() {
			e.address(m)
		}
	case *Details:
		e.host(m.Host)
		e.flags(m.Hello)
		e.length(len(m.Users))
		for i := range m.Users {
			e.detail(&m.Users[i])
		}
	case *Probe:
		e.nonce(m.Nonce)
	case *RunsWanted:
		e.ids(m.IDs)
	case *Runs:
		e.runs(m)
	case *Assignments:
		e.assignments(m)
	case *AssignmentsTaken:
		e.assignmentsTaken(m)
	case *AssignmentTotal:
		e.assignmentTotal(m)
	case *AssignmentCheck:
		e.assignmentCheck(m)
	case *EventsAsk:
		e.eventsAsk(m)
	case *EventsPart:
		e.eventsPart(m)
	case *EventsTaken:
		e.uvarint(m.Session)
		e.uvarint(m.Stream)
		e.uvarint(m.Number)
	case *EventsLost:
		e.uvarint(m.Session)
	case *EventsHosts:
		e.eventsHosts(m)
	case *Bundle:
		e.bundle(m)
	default:
		return false
	}
	return true
}

func (d *decoder) message() Message {
	switch d.byte() {
	case (*Heartbeat)(nil).kind():
		return d.heartbeat()
	case (*Goodbye)(nil).kind():
		return &Goodbye{Clock: d.uvarint(), Back: d.flags(1) != 0}
	case (*SitesWanted)(nil).kind():
		return &SitesWanted{}
	case (*Sites)(nil).kind():
		return d.sites()
	case (*Query)(nil).kind():
		return d.query(false)
	case kindCall:
		return d.callQuery()
	case (*Reply)(nil).kind():
		return d.reply()
	case kindEventReply:
		return d.eventReply()
	case kindOperatorReply:
		return d.operatorReply()
	case (*Delta)(nil).kind():
		return d.delta()
	case kindDetailedDelta:
		return d.detailedDelta()
	case (*Check)(nil).kind():
		return d.check()
	case (*CheckDone)(nil).kind():
		return d.checkDone()
	case (*ShardSum)(nil).kind():
		return &ShardSum{AsOf: d.uvarint(), Follows: d.uvarint(), Sum: d.fixed()}
	case (*HostSums)(nil).kind():
		return d.hostSums()
	case (*HostShards)(nil).kind():
		return d.hostShards()
	case (*Unfollow)(nil).kind():
		return d.unfollow()
	case (*Send)(nil).kind():
		return d.send(false)
	case kindAddressedSend:
		return d.addressedSend()
	case (*Details)(nil).kind():
		return &Details{Host: d.host(), Hello: d.flags(1) != 0, Users: list(d, leastUserDetail, d.detail)}
	case (*Probe)(nil).kind():
		return &Probe{Nonce: d.nonce()}
	case (*RunsWanted)(nil).kind():
		return &RunsWanted{IDs: d.ids()}
	case (*Runs)(nil).kind():
		return d.runs()
	case (*Assignments)(nil).kind():
		return d.assignments()
	case (*AssignmentsTaken)(nil).kind():
		return d.assignmentsTaken()
	case (*AssignmentTotal)(nil).kind():
		return d.assignmentTotal()
	case (*AssignmentCheck)(nil).kind():
		return d.assignmentCheck()
	case (*EventsAsk)(nil).kind():
		return d.eventsAsk()
	case (*EventsPart)(nil).kind():
		return d.eventsPart()
	case (*EventsTaken)(nil).kind():
		return &EventsTaken{Session: d.uvarint(), Stream: d.uvarint(), Number: d.uvarint()}
	case (*EventsLost)(nil).kind():
		return &EventsLost{Session: d.uvarint()}
	case (*EventsHosts)(nil).kind():
		return d.eventsHosts()
	case (*Bundle)(nil).kind():
		return d.bundle()
	}
	d.fail("an unknown type of message")
	return nil
}

func (e *encoder) heartbeat(m *Heartbeat) {
	e.number(m.Connections)
	e.number(m.Hosts)
	e.fixed(m.Sites)
	e.fixed(m.Heard)
	e.uvarint(m.Clock)
	e.flags(m.Draining, m.Hello, m.Nonce != 0, m.Missed != 0)
	if m.Missed != 0 {
		e.fixed(m.Missed)
	}
	if m.Nonce != 0 {
		e.nonce(m.Nonce)
	}
}

func (d *decoder) heartbeat() *Heartbeat {
	m := &Heartbeat{
		Connections: d.number(), Hosts: d.number(), Sites: d.fixed(), Heard: d.fixed(), Clock: d.uvarint(),
	}
	flags := d.flags(4)
	m.Draining, m.Hello = flags&1 != 0, flags&2 != 0
	if flags&8 != 0 {
		if m.Missed = d.fixed(); m.Missed == 0 {
			d.fail("a sum of nothing")
		}
	}
	if flags&4 != 0 {
		m.Nonce = d.nonce()
	}
	return m
}

func (e *encoder) nonce(n uint64) {
	if n == 0 {
		e.fail("no nonce")
	}
	e.fixed(n)
}

func (d *decoder) nonce() uint64 {
	n := d.fixed()
	if n == 0 {
		d.fail("no nonce")
	}
	return n
}

func (e *encoder) sites(m *Sites) {
	e.fixed(m.Sum)
	e.part(m.Part, m.Parts)
	e.length(len(m.Sites))
	for _, site := range m.Sites {
		if len(site.Sets) > maxSets {
			e.fail("too many sets of a site")
		}
		e.flags(site.Events)
		e.length(len(site.Sets))
		for _, set := range site.Sets {
			e.length(len(set))
			for _, pattern := range set {
				e.text(pattern, maxPattern)
			}
		}
	}
}

func (d *decoder) sites() *Sites {
	m := &Sites{Sum: d.fixed()}
	m.Part, m.Parts = d.part()
	m.Sites = list(d, leastSite, func() Site {
		site := Site{Events: d.flags(1) != 0, Sets: list(d, leastSet, func() []string {
			return list(d, leastText, func() string { return d.text(maxPattern) })
		})}
		if len(site.Sets) > maxSets {
			d.fail("too many sets of a site")
		}
		return site
	})
	return m
}

func (e *encoder) query(m *Query) {
	e.uvarint(m.ID)
	e.number(uint64(m.Try))
	if !m.Kind.isKnown(m.Call != nil) {
		e.fail("an unknown kind of query")
	}
	e.byte(byte(m.Kind))
	if m.From != 0 && !m.Whole {
		e.fail(badFrom)
	}
	e.flags(m.Raw, !m.Host.IsZero(), m.Page != presence.Page{}, m.Info, m.Whole, m.From != 0)
	if !m.Host.IsZero() || m.Kind.hasHost() {
		e.host(m.Host)
	}
	e.optional(m.Channel, e.channel)
	e.optional(m.User, e.userID)
	e.fixed(m.Seed)
	if m.Page != (presence.Page{}) {
		e.page(m.Page)
	}
	if m.From != 0 {
		e.fixed(m.From)
	}
}

const badFrom = "a part of a list that is not wanted whole"

// query reads a query. call tells that a Call follows.
func (d *decoder) query(call bool) *Query {
	m := &Query{ID: d.uvarint(), Try: uint32(d.number()), Kind: QueryKind(d.byte())}
	if !m.Kind.isKnown(call) {
		d.fail("an unknown kind of query")
	}
	flags := d.flags(6)
	m.Raw, m.Info, m.Whole = flags&1 != 0, flags&8 != 0, flags&16 != 0
	switch {
	case flags&2 != 0:
		m.Host = d.host()
	case m.Kind.hasHost():
		d.fail("no host")
	}
	m.Channel, m.User, m.Seed = d.optional(d.channel), d.optional(d.userID), d.fixed()
	if flags&4 != 0 {
		m.Page = d.page()
	}
	if flags&32 != 0 {
		if m.From = d.fixed(); m.From == 0 || !m.Whole {
			d.fail(badFrom)
		}
	}
	return m
}

func (e *encoder) page(p presence.Page) {
	e.text(p.Prefix, presence.MaxChannelName)
	e.optional(p.After, e.channel)
	if p.Limit < 0 || p.Limit > presence.MaxPage {
		e.fail(badPage)
	}
	e.length(p.Limit)
}

func (d *decoder) page() presence.Page {
	p := presence.Page{Prefix: d.text(presence.MaxChannelName), After: d.optional(d.channel)}
	if limit := d.uvarint(); limit <= presence.MaxPage {
		p.Limit = int(limit)
	} else {
		d.fail(badPage)
	}
	if p == (presence.Page{}) {
		d.fail("a page that is none")
	}
	return p
}

const badPage = "too many channels of a page"

func (e *encoder) delta(m *Delta) {
	e.host(m.Host)
	e.channel(m.Channel)
	e.part(m.Part, m.Parts)
	if m.Parts > 1 && m.Base != 0 {
		e.fail("parts of a delta that is not of everything")
	}
	e.uvarint(m.Clock)
	e.uvarint(m.Base)
	if m.Step > m.Clock {
		e.fail(badStep)
	}
	e.uvarint(m.Step)
	e.count(m.Conns)
	e.count(m.Delta.Lost)
	e.count(m.Userless)
	e.length(len(m.Joined))
	for i := range m.Joined {
		e.member(&m.Joined[i])
	}
	e.length(len(m.Left))
	for i := range m.Left {
		e.userID(m.Left[i].ID)
		e.flags(m.Left[i].Lost)
	}
	if m.kind() == kindDetailedDelta {
		e.details(m.Joined, true)
	}
}

func (d *decoder) delta() *Delta {
	m := &Delta{Host: d.host(), Channel: d.channel()}
	m.Part, m.Parts = d.part()
	m.Clock, m.Base = d.uvarint(), d.uvarint()
	if m.Parts > 1 && m.Base != 0 {
		d.fail("parts of a delta that is not of everything")
	}
	if m.Step = d.uvarint(); m.Step > m.Clock {
		d.fail(badStep)
	}
	m.Conns, m.Lost, m.Userless = d.count(), d.count(), d.count()
	m.Joined = list(d, leastMember, d.member)
	m.Left = list(d, leastDeparture, func() presence.Departure {
		return presence.Departure{ID: d.userID(), Lost: d.flags(1) != 0}
	})
	return m
}

const badStep = "a delta before the first"

func (e *encoder) check(m *Check) {
	e.uvarint(m.ID)
	e.host(m.Host)
	e.length(len(m.Channels))
	for i := range m.Channels {
		e.channel(m.Channels[i].Channel)
		e.uvarint(m.Channels[i].Clock)
	}
}

func (d *decoder) check() *Check {
	return &Check{ID: d.uvarint(), Host: d.host(), Channels: list(d, leastChannel, func() CheckChannel {
		return CheckChannel{Channel: d.channel(), Clock: d.uvarint()}
	})}
}

func (e *encoder) send(m *Send) {
	e.host(m.Host)
	if len(m.Channels) == 0 && len(m.Users) == 0 || len(m.Channels) > presence.MaxTargets {
		e.fail(badTargets)
	}
	e.length(len(m.Channels))
	for _, channel := range m.Channels {
		e.channel(channel)
	}
	if m.From.User != nil && m.From.Backend {
		e.fail("a message of a user and of the backend")
	}
	if m.From.User == nil && m.From.Shown != nil {
		e.fail("what is shown of no user")
	}
	e.flags(m.From.User != nil, m.From.Backend, m.From.Shown != nil, m.From.Raw)
	if m.From.User != nil {
		e.user(m.From.User)
	}
	if m.From.Shown != nil {
		e.objectOrNone(m.From.Shown.Sender, presence.MaxShown)
	}
	e.object(m.Message)
}

const badTargets = "too many channels of a message, or none"

// send reads a message. addressed tells that users can follow, so that it may have no channels.
func (d *decoder) send(addressed bool) *Send {
	m := &Send{Host: d.host()}
	if m.Channels = list(d, leastName, d.channel); len(m.Channels) == 0 && !addressed || len(m.Channels) > presence.MaxTargets {
		d.fail(badTargets)
	}
	flags := d.flags(4)
	m.From.Raw = flags&8 != 0
	switch flags &^= 8; flags {
	case 0:
	case 1, 5:
		user := d.user()
		m.From.User = &user
		if flags == 5 {
			m.From.Shown = &presence.Shown{Sender: d.objectOrNone(presence.MaxShown)}
		}
	case 2:
		m.From.Backend = true
	case 3, 7:
		d.fail("a message of a user and of the backend")
	default:
		d.fail("what is shown of no user")
	}
	m.Message = d.object()
	return m
}

// list reads a list of entries of which each takes so many bytes at least.
func list[T any](d *decoder, least int, read func() T) []T {
	n := d.length(least)
	if n == 0 {
		return nil
	}
	entries := make([]T, n)
	for i := range entries {
		if d.wrong != "" {
			return nil
		}
		entries[i] = read()
	}
	return entries
}
