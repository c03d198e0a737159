package events

import (
	"cmp"
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/work"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// asking is what this pod asks another one.
type asking struct {
	peer    link.Peer
	key     string
	session uint64
	stream  uint64 // of the answers; 0 before the first
	got     uint64 // number of the last EventsPart
	open    map[uint64]*question
	ends    []uint64   // questions to end, which the next message names
	unsent  bool       // questions were not sent yet
	repeat  repetition // of questions without an answer
	checkAt time.Time  // time of the next check
}

// question is a question of the Speaker.
type question struct {
	message.EventsQuestion
	sent     bool
	answered bool
}

func (r *Room) startAsking(p link.Peer) *asking {
	a := r.asking[p]
	if a == nil {
		a = &asking{peer: p, key: p.Key(), open: make(map[uint64]*question)}
		r.asking[p], r.byKey[a.key] = a, a
		r.restart(a)
	}
	return a
}

// find starts to ask a pod that has joined, of which the note has not arrived. If the pod has left,
// it tells the Speaker, which has asked later than that, and returns nil.
func (r *Room) find(key string) *asking {
	for _, p := range r.members.All() {
		if p.Key() == key {
			return r.startAsking(p)
		}
	}
	r.speaker.PodDown(key)
	return nil
}

// restart begins a new session, in which all questions are asked again.
func (r *Room) restart(a *asking) {
	r.session++
	a.session, a.stream, a.got, a.ends = r.session, 0, 0, nil
	for _, q := range a.open {
		q.sent, q.answered = false, false
	}
	a.unsent = len(a.open) > 0
}

// wish handles a question of the Speaker, or the end of one.
func (r *Room) wish(w wish) {
	a := r.byKey[w.pod]
	if a == nil && !w.end {
		a = r.find(w.pod)
	}
	switch {
	case a == nil: // the pod left
	case w.end:
		if a.open[w.ask.ID] != nil {
			delete(a.open, w.ask.ID)
			a.ends = append(a.ends, w.ask.ID)
		}
	default:
		a.open[w.ask.ID] = &question{EventsQuestion: w.ask}
		a.unsent = true
	}
}

// askAll sends questions and checks that are due, and returns when the next one is.
func (r *Room) askAll(now time.Time) (next time.Time) {
	for _, a := range r.asking {
		again := a.repeat.due(now)
		if a.unsent || again {
			r.ask(now, a, again)
		}
		if len(a.open) == 0 && len(a.ends) == 0 {
			a.repeat.at, a.checkAt = time.Time{}, time.Time{}
			continue
		}
		if len(a.ends) > 0 || a.checkAt.IsZero() || !now.Before(a.checkAt) {
			r.check(now, a)
		}
		next = work.Earliest(next, a.repeat.at, a.checkAt)
	}
	return next
}

// ask sends the questions that were not sent, or all without an answer.
func (r *Room) ask(now time.Time, a *asking, again bool) {
	var list []message.EventsQuestion
	waiting := false
	for _, q := range a.open {
		waiting = waiting || !q.answered
		if !q.sent || again && !q.answered {
			q.sent = true
			list = append(list, q.EventsQuestion)
		}
	}
	a.unsent = false
	switch {
	case !waiting:
		a.repeat.at = time.Time{}
	case !again:
		a.repeat.start(now, r.timing.Repeat)
	}
	slices.SortFunc(list, func(x, y message.EventsQuestion) int { return cmp.Compare(x.ID, y.ID) })
	for part := range slices.Chunk(list, message.MaxEventsAsks) {
		r.link.Send(r.link.Inbox(a.peer), &message.EventsAsk{Session: a.session, Open: a.stream == 0, Asks: part})
	}
	if len(list) > 0 {
		a.checkAt = now.Add(r.timing.Check)
	}
}

// check asks whether the other pod knows the session, and ends questions.
func (r *Room) check(now time.Time, a *asking) {
	a.checkAt = now.Add(r.timing.Check)
	if a.stream == 0 {
		a.ends = nil // it was never answered: the questions are repeated
		return
	}
	for part := range slices.Chunk(append(a.ends, 0), message.MaxEventsAsks) { // 0 is no question
		r.link.Send(r.link.Inbox(a.peer), &message.EventsAsk{Session: a.session, Ends: part})
	}
	a.ends = nil
}

// merge passes an answer on to the Speaker.
func (r *Room) merge(from link.Peer, m *message.EventsPart) {
	a := r.asking[from]
	if a == nil || m.Session != a.session {
		return
	}
	if a.stream == 0 {
		a.stream = m.Stream
	}
	if m.Stream != a.stream { // the other pod has forgotten the stream that this one knows
		r.restart(a)
		return
	}
	if m.Number == a.got+1 {
		a.got++
		for i := range m.Items {
			it := &m.Items[i]
			q := a.open[it.ID]
			if q == nil || !r.speaker.Merge(a.key, it.ID, &it.TapPart) {
				a.ends = append(a.ends, it.ID)
				delete(a.open, it.ID)
				continue
			}
			q.answered = true
		}
	}
	r.link.Send(r.link.Inbox(from), &message.EventsTaken{Session: a.session, Stream: a.stream, Number: a.got})
}

// lost begins a new session if the other pod does not know the present one.
func (r *Room) lost(from link.Peer, m *message.EventsLost) {
	if a := r.asking[from]; a != nil && m.Session == a.session {
		r.restart(a)
	}
}
