package events

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/work"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Limits of what a pod sends.
const (
	// window is the number of messages that wait for a confirmation.
	window = 4
	// pullLimit is the number of names that are pulled from a tap at a time.
	pullLimit = 1000
	// maxNames is the number of names from which on a message is sent, and no further tap is
	// pulled.
	maxNames = 4000
	// maxAnswers limits the questions of one pod. It is not told when it has more: it begins to
	// speak without the answers.
	maxAnswers = 1 << 20
)

// answering is what this pod sends to another one that has asked.
type answering struct {
	room    *Room
	peer    link.Peer
	session uint64
	stream  uint64
	number  uint64 // of the last message
	byID    map[uint64]*answer
	byShard map[shardKey]*answer
	queue   []*answer // that have something to pull
	unsent  []*message.EventsPart
	unheard []*message.EventsPart // sent and not confirmed, in order
	repeat  repetition
}

type shardKey struct {
	host  presence.HostName
	shard uint8
}

// answer is the answer to one question.
type answer struct {
	to     *answering
	id     uint64
	key    shardKey
	tap    *presence.Tap
	queued bool // in queue
}

func (a *answering) close() {
	for _, w := range a.byID {
		w.tap.Close()
	}
	a.byID, a.byShard, a.queue = nil, nil, nil
}

// ready queues an answer that has something to pull.
func (a *answering) ready(w *answer) {
	if !w.queued && a.byID[w.id] == w {
		w.queued = true
		a.queue = append(a.queue, w)
	}
}

// answer handles questions of another pod.
func (r *Room) answer(now time.Time, from link.Peer, m *message.EventsAsk) {
	a := r.answering[from]
	switch {
	case a != nil && m.Session < a.session:
		return // it is late
	case a == nil || m.Session > a.session:
		if !m.Open {
			r.link.Send(r.link.Inbox(from), &message.EventsLost{Session: m.Session})
			return
		}
		if a != nil {
			a.close()
		}
		a = &answering{
			room: r, peer: from, session: m.Session, stream: link.Random() | 1,
			byID: make(map[uint64]*answer), byShard: make(map[shardKey]*answer),
		}
		r.answering[from] = a
	}
	for i := range m.Asks {
		a.begin(&m.Asks[i])
	}
	for _, id := range m.Ends {
		a.end(a.byID[id])
	}
	if r.changedAt.IsZero() && len(a.queue) > 0 {
		r.changedAt = now.Add(-r.timing.Coalesce)
	}
}

// begin begins to answer a question, unless it is repeated or late.
func (a *answering) begin(q *message.EventsQuestion) {
	key := shardKey{q.Host, q.Shard}
	old := a.byShard[key]
	if old != nil && old.id >= q.ID || a.byID[q.ID] != nil || len(a.byID) >= maxAnswers {
		return
	}
	a.end(old)
	w := &answer{to: a, id: q.ID, key: key}
	w.tap = a.room.reg.Tap(q.Host, q.Shard, q.Users, func() {
		a.room.note(func(n *notes) {
			if n.changed == nil {
				n.changed = make(map[*answer]bool)
			}
			n.changed[w] = true
		})
	})
	a.byID[q.ID], a.byShard[key] = w, w
	a.ready(w)
}

func (a *answering) end(w *answer) {
	if w != nil {
		w.tap.Close()
		delete(a.byID, w.id)
		delete(a.byShard, w.key)
	}
}

// answerAll sends changes, and repeats messages that were not confirmed. It returns the time of its
// next call.
func (r *Room) answerAll(now time.Time) (next time.Time) {
	if !r.changedAt.IsZero() {
		if due := r.changedAt.Add(r.timing.Coalesce); now.Before(due) {
			next = due
		} else {
			r.changedAt = time.Time{}
		}
	}
	for _, a := range r.answering {
		if r.changedAt.IsZero() {
			a.send(now)
		}
		if a.repeat.due(now) {
			for _, m := range a.unheard {
				r.link.Send(r.link.Inbox(a.peer), m)
			}
		}
		next = work.Earliest(next, a.repeat.at)
	}
	return next
}

// send sends messages as long as there is room in the window.
func (a *answering) send(now time.Time) {
	for len(a.unheard) < window {
		if len(a.unsent) == 0 && !a.pull() {
			return
		}
		m := a.unsent[0]
		a.unsent = a.unsent[1:]
		a.unheard = append(a.unheard, m)
		if len(a.unheard) == 1 {
			a.repeat.start(now, a.room.timing.Repeat)
		}
		a.room.link.Send(a.room.link.Inbox(a.peer), m)
	}
}

// pull makes messages of the changes of taps. It returns false if there are none.
func (a *answering) pull() bool {
	var items []message.EventsItem
	for names := 0; names < maxNames && len(a.queue) > 0; {
		w := a.queue[0]
		a.queue = a.queue[1:]
		w.queued = false
		if a.byID[w.id] != w {
			continue
		}
		part, more := w.tap.Pull(pullLimit)
		if more {
			a.ready(w) // behind the others
		}
		names++
		for i := range part.Changes {
			names += 1 + len(part.Changes[i].Came) + len(part.Changes[i].Left)
		}
		if part.First || part.Whole || len(part.Changes) > 0 {
			items = append(items, message.EventsItem{ID: w.id, TapPart: part})
		}
	}
	for _, list := range message.SplitEvents(items) {
		a.number++
		a.unsent = append(a.unsent, &message.EventsPart{Session: a.session, Stream: a.stream, Number: a.number, Items: list})
	}
	return len(a.unsent) > 0
}

// taken handles a confirmation.
func (r *Room) taken(from link.Peer, m *message.EventsTaken) {
	a := r.answering[from]
	if a == nil || m.Session != a.session || m.Stream != a.stream {
		return
	}
	before := len(a.unheard)
	for len(a.unheard) > 0 && a.unheard[0].Number <= m.Number {
		a.unheard = a.unheard[1:]
	}
	switch {
	case len(a.unheard) == 0:
		a.repeat.at = time.Time{}
	case len(a.unheard) < before:
		a.repeat.start(time.Now(), r.timing.Repeat)
	}
}
