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

// replicator keeps what watchers see of a channel the same on all pods. It is the registry's [presence.Relay], with the
// messenger.
//
// It publishes the changes of this pod's part of every channel, and has the registry merge those of other pods for the
// channels that have watchers here. Messages can be lost, come twice or late, so each delta names the one before it, and
// each watched channel is compared with each pod every few seconds (see sync.go).
//
// What comes from outside is noted in the intake. One goroutine, the worker, works it off, and it alone calls the registry but
// for the answers to checks, which have goroutines of their own (see answer.go).
type replicator struct {
	link    *link
	members *members
	reg     presence.Pods
	timing  timing
	logger  *zap.Logger

	*worker
	intake  intake
	answers *answers

	resynced atomic.Uint64 // see resyncs

	// The rest is the worker's.
	changedAt time.Time // when the first of the changes that wait was noted; zero: none waits
	sync      *syncer
}

// newReplicator returns a replicator. Close publishes what was noted before, so that a goodbye can follow, and ends its goroutines.
func newReplicator(l *link, m *members, reg presence.Pods, t timing, logger *zap.Logger) *replicator {
	r := &replicator{
		link: l, members: m, reg: reg, timing: t, logger: logger,
		worker: newWorker(), answers: newAnswers(l, reg),
	}
	r.sync = newSyncer(r)
	go r.work(r.step, r.finish)
	return r
}

// resyncs counts the copies of channels that were found to be wrong: by a gap between deltas, or by a check.
func (r *replicator) resyncs() uint64 { return r.resynced.Load() }

// Changed implements [presence.Relay].
func (r *replicator) Changed(host presence.HostName, channel string) {
	r.intake.noteChange(place{host, channel})
	r.rouse()
}

// Watched implements [presence.Relay].
func (r *replicator) Watched(host presence.HostName, channel string) {
	r.intake.noteWatch(place{host, channel}, true)
	r.rouse()
}

// Unwatched implements [presence.Relay].
func (r *replicator) Unwatched(host presence.HostName, channel string) {
	r.intake.noteWatch(place{host, channel}, false)
	r.rouse()
}

// up tells that the pod is alive, after its start or after it was thought to be gone.
func (r *replicator) up(p peer) {
	r.intake.notePeer(p, true)
	r.rouse()
}

// down tells that the pod is gone.
func (r *replicator) down(p peer) {
	r.intake.notePeer(p, false)
	r.rouse()
}

// sitesChanged tells that the pod may serve other hosts than before.
func (r *replicator) sitesChanged(p peer) {
	r.intake.noteLag(p)
	r.rouse()
}

// recheck has all channels compared with all pods at once: this pod may have missed anything.
func (r *replicator) recheck() {
	r.intake.noteRecheck()
	r.rouse()
}

// takeLive takes a Delta by the subject of a channel. It does not block.
func (r *replicator) takeLive(from peer, m message.Message) {
	if _, ok := m.(*message.Delta); !ok {
		r.link.unknown.Add(1)
		return
	}
	r.intake.noteMessage(from, m, true)
	r.rouse()
}

// take takes a Delta, Check or CheckDone of another pod from the inbox. It does not block.
func (r *replicator) take(from peer, m message.Message) {
	if check, ok := m.(*message.Check); ok {
		r.answers.ask(from, check)
		return
	}
	r.intake.noteMessage(from, m, false)
	r.rouse()
}

// finish is the worker's last step.
func (r *replicator) finish() {
	r.publish()
	r.sync.close()
	r.answers.close()
}

// step does what is due, and returns how long there is nothing to do if nothing comes.
func (r *replicator) step() time.Duration {
	noted := r.intake.swap()
	now := time.Now()
	r.sync.step(now, noted)
	if r.changedAt.IsZero() && r.intake.changes() > 0 {
		r.changedAt = now
	}
	wait := r.sync.wait(now)
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

// publish sends the changes of this pod's part of channels. Whether a pod listens is not known here: one that no pod
// has subscribed to ends at the bus.
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

// sendDelta sends a delta, in parts if it is a large one of everything.
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

// divide returns the parts of a delta of everything. Who is in which part depends on the ID and the number of parts alone,
// so that parts of several answers to the same question fit together: what is in one answer and not in another, the next
// delta tells.
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
			return parts // too many parts, or one too large after all, is refused by the codec
		}
	}
}
