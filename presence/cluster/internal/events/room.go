// Package events carries the parts of shards, of which other pods tell events, between pods.
//
// A [Room] is between the [events.Speaker] of this pod, which asks other pods for their parts of
// the shards that it owns (asking.go), and the connections of this pod, of which it sends parts to
// the pods that ask (answering.go). What one pod sends to another is a stream of numbered messages,
// each of which is repeated until it is confirmed. Nothing is sent or kept for a pod that asks for
// nothing.
//
// A pod that is gone to this one, which the other one may not know, has lost its stream: it finds
// that by a check every few seconds, and asks again. A pod that has connections of a host, whose
// owner has not asked, names the host to the owner until it does (naming.go).
//
// Notes of other goroutines are queued in the intake, whose lock is held only to add one. The
// worker handles them and owns the rest of the state, which needs no lock.
package events

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/assignments"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/membership"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/work"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
	"github.com/rollcall-gateway/rollcall/presence/events"
)

// Room carries parts of shards between pods. It implements [events.Peers].
type Room struct {
	link    *link.Link
	members *membership.Members
	book    *assignments.Keeper
	reg     presence.Pods
	speaker *events.Speaker // nil without one
	timing  timing.Timing
	worker  *work.Worker
	intake  intake

	// Only the worker uses the fields below.
	asking    map[link.Peer]*asking
	byKey     map[string]*asking // the same by keys
	answering map[link.Peer]*answering
	session   uint64    // number of the last session
	settled   bool      // the Speaker knows that this pod is settled
	settling  time.Time // time of the next look whether it is; zero if it is
	naming    naming
	changedAt time.Time // time of the first change of this pod that waits; zero if none does
}

// New returns a room, whose goroutine runs until Close. speaker may be nil.
func New(
	l *link.Link, m *membership.Members, book *assignments.Keeper, reg presence.Pods, speaker *events.Speaker, t timing.Timing,
) *Room {
	r := &Room{
		link: l, members: m, book: book, reg: reg, speaker: speaker, timing: t, worker: work.NewWorker(),
		asking: make(map[link.Peer]*asking), byKey: make(map[string]*asking), answering: make(map[link.Peer]*answering),
	}
	r.settling = time.Now()
	go r.worker.Run(r.step, r.finish)
	r.worker.Wake()
	return r
}

// Close ends the goroutine, and the taps of this pod. Closing twice is not an error.
func (r *Room) Close() { r.worker.Close() }

func (r *Room) finish() {
	for _, a := range r.answering {
		a.close()
	}
}

// Clock implements [events.Peers].
func (r *Room) Clock() uint64 { return r.members.Clock() }

// Settled implements [events.Peers].
func (r *Room) Settled() bool { return r.members.Settled() }

// Self implements [events.Peers].
func (r *Room) Self() string { return r.link.Self().Key() }

// Speakers implements [events.Peers].
func (r *Room) Speakers(host presence.HostName) []string { return keysOf(r.members.Speakers(host)) }

// Sources implements [events.Peers].
func (r *Room) Sources(host presence.HostName) []string {
	return keysOf(r.members.Serving(host, membership.ScopeAll, true))
}

// Misses implements [events.Peers].
func (r *Room) Misses() bool { return r.members.Misses() }

func keysOf(peers []link.Peer) []string {
	keys := make([]string, len(peers), len(peers)+1)
	for i, p := range peers {
		keys[i] = p.Key()
	}
	return keys
}

// Ask implements [events.Peers].
func (r *Room) Ask(pod string, id uint64, host presence.HostName, shard uint8, users bool) {
	q := message.EventsQuestion{ID: id, Host: host, Shard: shard, Users: users}
	r.note(func(n *notes) { n.wishes = append(n.wishes, wish{pod: pod, ask: q}) })
}

// Drop implements [events.Peers].
func (r *Room) Drop(pod string, id uint64) {
	q := message.EventsQuestion{ID: id}
	r.note(func(n *notes) { n.wishes = append(n.wishes, wish{pod: pod, ask: q, end: true}) })
}

// Spread implements [events.Peers].
func (r *Room) Spread(_ presence.HostName, records []assignment.Record) { r.book.Publish(records) }

var _ events.Peers = (*Room)(nil)

// step does what is due, and returns how long the worker may sleep.
func (r *Room) step() time.Duration {
	if r.timing.Stall != nil {
		r.timing.Stall()
	}
	r.intake.mu.Lock()
	n := r.intake.notes
	r.intake.notes = notes{}
	r.intake.mu.Unlock()
	now := time.Now()
	r.apply(now, &n)
	next := work.Earliest(r.settle(now), r.askAll(now), r.answerAll(now), r.nameHosts(now))
	if next.IsZero() {
		return time.Hour
	}
	return max(0, time.Until(next))
}

func (r *Room) apply(now time.Time, n *notes) {
	for p, alive := range n.peers {
		if n.ended[p] {
			r.dropPod(p)
		}
		if alive {
			r.startAsking(p)
		}
	}
	if n.recheck {
		r.settled, r.settling = false, now
		for _, a := range r.asking {
			a.checkAt = now
		}
		if r.speaker != nil {
			r.speaker.PodsUnheard()
		}
	}
	for _, w := range n.wishes {
		r.wish(w)
	}
	for _, p := range n.messages {
		r.handle(now, p)
	}
	for a := range n.changed {
		if a.to.ready(a); r.changedAt.IsZero() {
			r.changedAt = now
		}
	}
	if r.speaker != nil && (len(n.peers) > 0 || n.review) {
		r.speaker.PodsChanged()
	}
	r.naming.note(n)
}

// settle notifies the Speaker when this pod knows which pods are alive, and returns when to look
// again.
func (r *Room) settle(now time.Time) time.Time {
	if r.settled || now.Before(r.settling) {
		return r.settling
	}
	if r.members.Settled() {
		r.settled, r.settling = true, time.Time{}
		if r.speaker != nil {
			r.speaker.PodsChanged()
		}
		r.naming.wanted = true
		return time.Time{}
	}
	const again = 100 * time.Millisecond
	r.settling = now.Add(again)
	return r.settling
}

// dropPod drops the state of a pod that left.
func (r *Room) dropPod(p link.Peer) {
	delete(r.asking, p)
	delete(r.byKey, p.Key())
	if a := r.answering[p]; a != nil {
		a.close()
		delete(r.answering, p)
	}
	if r.speaker != nil {
		r.speaker.PodDown(p.Key())
	}
}

// handle handles a message of another pod.
func (r *Room) handle(now time.Time, p parcel) {
	switch m := p.message.(type) {
	case *message.EventsAsk:
		r.answer(now, p.from, m)
	case *message.EventsTaken:
		r.taken(p.from, m)
	case *message.EventsPart:
		r.merge(p.from, m)
	case *message.EventsLost:
		r.lost(p.from, m)
	case *message.EventsHosts:
		if r.speaker != nil {
			r.named(p.from, m)
		}
	}
}

// repetition is when a message is repeated that is not answered.
type repetition struct {
	at    time.Time // zero if nothing waits for an answer
	pause time.Duration
}

// maxRepeat is the longest pause between two repetitions.
const maxRepeat = 5 * time.Second

// start begins to wait for an answer.
func (r *repetition) start(now time.Time, first time.Duration) { r.at, r.pause = now.Add(first), first }

// due reports whether to repeat now, and doubles the pause.
func (r *repetition) due(now time.Time) bool {
	if r.at.IsZero() || now.Before(r.at) {
		return false
	}
	r.pause = min(2*r.pause, maxRepeat)
	r.at = now.Add(r.pause)
	return true
}
