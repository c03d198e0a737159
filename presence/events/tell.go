package events

import (
	"container/heap"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// maxBatch is about how many events are put at a time.
const maxBatch = 200

// draft is an event that has no record of its user yet.
type draft struct {
	kind    Type
	channel string
	count   int
	seat    *seat  // user who came; nil without one
	record  string // user who went
}

// reconcile returns about limit events that bring receivers up to date.
func (sh *shard) reconcile(limit int, now time.Duration) (list []draft) {
	for len(sh.dirty) > 0 && len(list) < limit {
		ch := sh.dirty[0]
		list = ch.tell(sh, list, limit, now)
		if len(ch.news) > 0 {
			break // at the limit, or the rest is told in the next batch
		}
		sh.dirty = sh.dirty[1:]
		ch.dirty = false
		sh.dropIfEmpty(ch)
	}
	if len(sh.dirty) == 0 {
		sh.dirty = nil
	}
	return list
}

// tell appends the events of a channel, up to the limit.
func (ch *channel) tell(sh *shard, list []draft, limit int, now time.Duration) []draft {
	came, went := MemberJoined, MemberLeft
	if ch.name == "" {
		came, went = UserOnline, UserOffline
	}
	there, named := ch.occupied() && !ch.hidden, ch.named && !ch.hidden
	if (there || ch.opened && !ch.hidden) && !ch.told {
		if ch.told = true; ch.name != "" {
			list = append(list, draft{kind: ChannelOccupied, channel: ch.name, count: max(ch.count(), 1)})
		}
	}
	if named != ch.toldNamed {
		ch.toldNamed = named
		for _, st := range ch.seats {
			sh.mark(ch, st)
		}
	}
	ch.opened = false
	var gone []*seat // they are told in the next batch, when the records of this one are known
	for len(ch.news) > 0 && len(list) < limit {
		st := ch.news[0]
		ch.news = ch.news[1:]
		st.dirty = false
		was := st.came
		st.came = false
		switch want := named && st.visible(); {
		case (want || named && was) && !st.told:
			st.told = true
			ch.toldCount++
			list = append(list, draft{kind: came, channel: ch.name, count: ch.counted(), seat: st})
		case !want && st.told:
			st.told = false
			ch.toldCount--
			list = append(list, draft{kind: went, channel: ch.name, count: ch.counted(), record: st.record})
		}
		switch {
		case st.visible():
		case st.told:
			st.dirty = true
			gone = append(gone, st)
		default:
			sh.dropSeat(ch, st)
		}
	}
	if ch.news = append(ch.news, gone...); len(ch.news) > 0 {
		return list
	}
	ch.news = nil
	if ch.told && sh.countDue(ch, there, now) {
		list = append(list, draft{kind: SubscriptionCount, channel: ch.name, count: ch.toldConns})
	}
	if !there && ch.told {
		if ch.told = false; ch.name != "" {
			list = append(list, draft{kind: ChannelVacated, channel: ch.name})
		}
	}
	return list
}

// Numbers of connections are told at most once in countPause while there are more than calmConns.
const (
	calmConns  = 100
	countPause = 5 * time.Second
)

// countDue reports whether the number of connections of a channel is told now, and records that it
// is.
func (sh *shard) countDue(ch *channel, there bool, now time.Duration) bool {
	conns := ch.conns
	switch {
	case !sh.host.wanted.Counts || ch.name == "":
		return false
	case !there:
		conns = 0 // also if it is hidden now
	case conns == 0, ch.countAt != 0: // in a grace period, or later
		return false
	}
	if conns == ch.toldConns {
		return false
	}
	if ch.toldConns = conns; conns > calmConns {
		ch.countAt = now + countPause
		heap.Push(&sh.grace, graceEnd{at: ch.countAt, ch: ch, count: true})
	}
	return true
}

// counted returns the count of an event about a member.
func (ch *channel) counted() int {
	if ch.name == "" {
		return 0
	}
	return ch.toldCount
}

// tell puts events.
func (s *Speaker) tell(t turn, list []draft) {
	var came []*seat
	for i := range list {
		if list[i].seat != nil {
			came = append(came, list[i].seat)
		}
	}
	records := s.name(t, came)
	batch := make([]Event, 0, len(list))
	for _, l := range list {
		record := l.record
		if l.seat != nil {
			record, records = records[0], records[1:]
		}
		e := t.event(l.kind, l.channel, l.count)
		if l.kind != ChannelOccupied && l.kind != ChannelVacated && l.kind != SubscriptionCount {
			if record == "" {
				continue // the Sink hides the user
			}
			e.Records = []string{record}
		}
		batch = append(batch, e)
	}
	s.put(t, batch)
}

func (t turn) event(kind Type, channel string, count int) Event {
	return Event{Type: kind, Host: t.host, Shard: t.shard.number, Epoch: t.epoch, Channel: channel, Count: count, Time: t.time}
}

// name returns the records of users, and keeps them for the events that say that they have gone.
func (s *Speaker) name(t turn, seats []*seat) []string {
	if len(seats) == 0 {
		return nil
	}
	users := make([]presence.User, len(seats))
	s.mu.Lock()
	for i, st := range seats {
		users[i] = st.known()
	}
	s.mu.Unlock()
	records := s.cfg.Sink.Name(t.host, users)
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.shard.turn != t.number {
		return records
	}
	for i, st := range seats {
		if st.own != nil {
			st.record = records[i]
			continue
		}
		if st.person.record != records[i] {
			st.person.record = records[i]
		}
		st.record = st.person.record // one text for all channels
	}
	return records
}

// put puts events, and reports whether the epoch goes on.
func (s *Speaker) put(t turn, batch []Event) bool {
	full := len(batch) > 0 && s.cfg.Sink.Put(batch)
	s.mu.Lock()
	defer s.mu.Unlock()
	if full && t.shard.turn == t.number {
		t.shard.halted = true
		t.shard.reset()
	}
	return !full && !t.over()
}

// state names everything that is there.
func (s *Speaker) state(sh *shard) {
	s.mu.Lock()
	t := s.turnOf(sh)
	names := make([]string, 0, len(sh.channels))
	for name := range sh.channels {
		names = append(names, name)
	}
	s.mu.Unlock()
	var batch []Event
	named := 0
	for _, name := range names {
		count, conns, seats, ok := s.stateOf(t, name)
		if !ok {
			continue
		}
		for more := true; more; more = len(seats) > 0 {
			n := min(MaxState, len(seats))
			batch = append(batch, s.stateEvents(t, name, count, seats[:n])...)
			seats, named = seats[n:], named+n+1
			if named >= MaxState {
				if !s.put(t, batch) {
					return
				}
				batch, named = nil, 0
			}
		}
		if conns > 0 {
			batch = append(batch, t.event(SubscriptionCount, name, conns))
		}
	}
	batch = append(batch, t.event(EpochComplete, "", 0))
	if !s.put(t, batch) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !t.over() {
		sh.phase = speaking
	}
}

// stateOf marks a channel as told, and returns its count, the number of connections if that is
// told, and the seats to name. It returns false if there is nothing to tell.
func (s *Speaker) stateOf(t turn, name string) (count, conns int, seats []*seat, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := t.channels[name]
	if t.over() || ch == nil || ch.told || ch.hidden || !ch.occupied() {
		return 0, 0, nil, false
	}
	ch.told, ch.toldNamed = true, ch.named
	if ch.named {
		for _, st := range ch.seats {
			if st.visible() && !st.told {
				st.told = true
				seats = append(seats, st)
			}
		}
		ch.toldCount = len(seats)
	}
	if t.countDue(ch, true, s.now()) {
		conns = ch.toldConns
	}
	return ch.count(), conns, seats, true
}

// stateEvents returns the events that name users of a channel.
func (s *Speaker) stateEvents(t turn, channel string, count int, seats []*seat) []Event {
	var records []string
	for _, r := range s.name(t, seats) {
		if r != "" {
			records = append(records, r)
		}
	}
	if channel != "" {
		e := t.event(ChannelState, channel, count)
		e.Records = records
		return []Event{e}
	}
	events := make([]Event, len(records))
	for i, r := range records {
		events[i] = t.event(UserOnline, "", 0)
		events[i].Records = []string{r}
	}
	return events
}
