package cluster

import (
	"hash/crc32"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// replicator shows watchers the same presence on all pods. Together with the messenger, it
// implements the registry's [presence.Relay].
//
// It publishes the changes of this pod's part of every channel. It merges the parts of other pods
// into the channels that are watched here. A channel gets a pod's part by a [message.Check], and
// then deltas. Messages can be lost, repeated or late, so each delta names the one before it. A
// channel is checked again if a delta does not follow from the one before, and after some seconds
// without a delta. The next check replaces a lost answer.
//
// Events from outside are queued in the intake. One goroutine, the worker, handles them. It alone
// calls the registry, except for answers to checks, which have goroutines of their own (see
// answer.go).
type replicator struct {
	link    *link
	members *members
	reg     presence.Pods
	timing  timing
	logger  *zap.Logger

	worker  *worker
	intake  intake
	answers *answers

	resynced atomic.Uint64 // see resyncs

	// Only the worker uses the fields below.
	changedAt time.Time // time of the first change that waits; zero if none waits

	alive    map[peer]string // live pods, with their keys in the registry
	hosts    map[presence.HostName]*watchedHost
	pending  expiries[*watch] // watches that are not ready, with the deadline of pods in this data center
	distant  expiries[*watch] // the same, with the deadline of pods in other data centers
	idle     map[place]*subscription
	idling   expiries[*subscription]
	checks   map[uint64]*check
	checking expiries[*check]
	lastID   uint64

	wanted   map[question]map[*watch]bool // checks to send in this step
	gaps     map[replicaKey]bool
	gapsAt   time.Time // time of the next checks because of gaps
	slot     int       // next slot of periodic checks
	slotAt   time.Time // time of the next slot
	assembly map[peer]*assembler
}

// newReplicator returns a replicator, whose goroutines run until close.
func newReplicator(l *link, m *members, reg presence.Pods, t timing, logger *zap.Logger) *replicator {
	r := &replicator{
		link: l, members: m, reg: reg, timing: t, logger: logger,
		worker: newWorker(), answers: newAnswers(l, reg),

		alive:    make(map[peer]string),
		hosts:    make(map[presence.HostName]*watchedHost),
		idle:     make(map[place]*subscription),
		checks:   make(map[uint64]*check),
		wanted:   make(map[question]map[*watch]bool),
		gaps:     make(map[replicaKey]bool),
		assembly: make(map[peer]*assembler),
	}
	go r.worker.work(r.step, r.finish)
	return r
}

// close publishes the queued changes, so that a goodbye can follow, and ends the goroutines. Closing
// twice is not an error.
func (r *replicator) close() { r.worker.close() }

// resyncs counts copies of channels that were found to be wrong, by a gap between deltas or by a
// check.
func (r *replicator) resyncs() uint64 { return r.resynced.Load() }

// Changed implements [presence.Relay].
func (r *replicator) Changed(host presence.HostName, channel string) {
	r.intake.noteChange(place{host, channel})
	r.worker.wakeUp()
}

// Watched implements [presence.Relay].
func (r *replicator) Watched(host presence.HostName, channel string) {
	r.intake.noteWatch(place{host, channel}, true)
	r.worker.wakeUp()
}

// Unwatched implements [presence.Relay].
func (r *replicator) Unwatched(host presence.HostName, channel string) {
	r.intake.noteWatch(place{host, channel}, false)
	r.worker.wakeUp()
}

// PodUp handles a pod that joined, again or for the first time.
func (r *replicator) PodUp(p peer) {
	r.intake.notePeer(p, true)
	r.worker.wakeUp()
}

// PodDown handles a pod that left.
func (r *replicator) PodDown(p peer) {
	r.intake.notePeer(p, false)
	r.worker.wakeUp()
}

// SitesChanged handles a pod that may serve other hosts than before.
func (r *replicator) SitesChanged(p peer) {
	r.intake.noteLag(p)
	r.worker.wakeUp()
}

// RecheckAll checks all channels with all pods at once, because this pod may have missed deltas.
func (r *replicator) RecheckAll() {
	r.intake.noteRecheck()
	r.worker.wakeUp()
}

// handleLive handles a Delta on the subject of a channel. It does not block.
func (r *replicator) handleLive(from peer, m message.Message) {
	if _, ok := m.(*message.Delta); !ok {
		r.link.counts.unknown.Add(1)
		return
	}
	r.intake.noteMessage(from, m, true)
	r.worker.wakeUp()
}

// handle handles a Delta, Check or CheckDone in the inbox. It does not block.
func (r *replicator) handle(from peer, m message.Message) {
	if check, ok := m.(*message.Check); ok {
		r.answers.ask(from, check)
		return
	}
	r.intake.noteMessage(from, m, false)
	r.worker.wakeUp()
}

// finish is the worker's last step.
func (r *replicator) finish() {
	r.publish()
	r.unsubscribe()
	r.answers.close()
}

// step does what is due, and returns how long the worker may sleep.
func (r *replicator) step() time.Duration {
	noted := r.intake.swap()
	now := time.Now()
	r.apply(now, noted)
	if r.changedAt.IsZero() && r.intake.changes() > 0 {
		r.changedAt = now
	}
	wait := r.untilDue(now)
	if r.changedAt.IsZero() {
		return wait
	}
	due := r.changedAt.Add(r.timing.coalesce)
	if now.Before(due) {
		return min(wait, due.Sub(now))
	}
	r.publish()
	return wait
}

// publish publishes the changes of this pod's part of channels. It does not know whether another
// pod has subscribed; if none has, the bus drops them.
func (r *replicator) publish() {
	r.changedAt = time.Time{}
	for _, p := range r.intake.swapChanges() {
		d, ok := r.reg.Changes(p.host, p.channel)
		if !ok {
			continue
		}
		if message.DeltaSize(&d) > message.MaxDelta {
			d = r.reg.State(p.host, p.channel)
		}
		sendDelta(r.link, r.link.channelSubject(p.host, p.channel), p, d)
	}
}

// sendDelta sends a delta, in several parts if it is a large whole part.
func sendDelta(l *link, subject string, p place, d presence.Delta) {
	m := &message.Delta{Host: p.host, Channel: p.channel, Parts: 1, Delta: d}
	if d.Base != 0 || message.DeltaSize(&d) <= message.MaxDelta {
		l.send(subject, m)
		return
	}
	for _, part := range divide(m) {
		l.send(subject, part)
	}
}

// divide divides a whole part. The part of a user depends only on the ID and the number of parts,
// so parts of several answers to one check fit together: the next delta has the differences between
// the answers.
func divide(m *message.Delta) []*message.Delta {
	for n := message.DeltaSize(&m.Delta)/(message.MaxDelta/2) + 1; ; n++ {
		parts := make([]*message.Delta, n)
		for i := range parts {
			part := *m
			part.Part, part.Parts = uint32(i), uint32(n)
			part.Joined, part.Left = nil, nil
			parts[i] = &part
		}
		for _, u := range m.Joined {
			part := parts[crc32.ChecksumIEEE([]byte(u.ID))%uint32(n)]
			part.Joined = append(part.Joined, u)
		}
		for _, u := range m.Left {
			part := parts[crc32.ChecksumIEEE([]byte(u.ID))%uint32(n)]
			part.Left = append(part.Left, u)
		}
		if n >= message.MaxParts || !slices.ContainsFunc(parts, func(p *message.Delta) bool { return message.DeltaSize(&p.Delta) > message.MaxDelta }) {
			return parts // the codec refuses too many or too large parts
		}
	}
}
