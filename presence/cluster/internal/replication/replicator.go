// Package replication shows the watchers of a channel the same members on all pods.
//
// A [Replicator] publishes the changes of this pod's part of channels as deltas, and merges those
// of other pods into the channels that are watched here. Checks find the deltas that it missed.
//
// The registry, the members and the subscriptions queue events in the intake. Its lock is held only
// to add one, because the caller may hold the lock of a host. One worker handles the events and
// owns the rest of the state, which needs no lock. Checks of other pods are answered by goroutines
// of their own, from a bounded queue.
package replication

import (
	"hash/crc32"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/membership"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/work"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Replicator shows watchers the same presence on all pods. Together with the messenger, it
// implements the registry's [presence.Relay].
//
// It publishes the changes of this pod's part of every channel. It merges the parts of other pods
// into the channels that are watched here. A channel gets a pod's part by a [message.Check], and
// then deltas. Channels are divided into shards: a pod follows those in which it watches a channel
// (see shard.go). Messages can be lost, repeated or late, so each delta names the one before it in
// its shard. The watched channels of a shard are checked again if a delta is missing (see
// chain.go). A lost delta without one after it is found by the sums that pods compare every few
// seconds (see sums.go). A check without an answer is repeated (see repeat.go).
//
// Events from outside are queued in the intake. One goroutine, the worker, handles them. It alone
// calls the registry, except for answers to checks, which have goroutines of their own (see
// answer.go).
type Replicator struct {
	link    *link.Link
	members *membership.Members
	reg     presence.Pods
	timing  timing.Timing
	logger  *zap.Logger

	worker  *work.Worker
	intake  intake
	answers *answers
	ledger  *ledger

	resynced atomic.Uint64 // see Resyncs
	followed sync.Map      // set of the shards that this pod follows, by shardKey

	// Only the worker uses the fields below.
	changedAt time.Time // time of the first change that waits; zero if none waits

	alive    map[link.Peer]*pod // live pods
	indexes  []bool             // numbers of pods that are in use
	hosts    map[presence.HostName]*watchedHost
	pending  work.Expiries[*watch]        // watches that are not ready, with the deadline of pods in this data center
	distant  work.Expiries[*watch]        // the same, with the deadline of pods in other data centers
	subjects map[string]*subject          // subjects that this pod is subscribed to
	idling   work.Expiries[*watchedShard] // shards that linger
	settling work.Expiries[*pod]          // pods whose sums are compared
	checks   map[uint64]*check
	checking work.Expiries[*check]
	repeatAt time.Time // time of the next look for checks to repeat; zero if no check is in progress
	lastID   uint64

	wanted  map[hostOf]map[*watch]bool // checks to send in this step
	gaps    map[replicaKey]bool        // channels of which a delta is missing
	torn    map[shardOf]bool           // shards of which a delta is missing, or the clock unknown
	gapsAt  time.Time                  // time of the next checks because of gaps
	leaving map[hostOf]bool            // hosts that a pod no longer serves, and of which this one has its parts
	slot    int                        // next slot of sums
	slotAt  time.Time                  // time of the next slot
}

// New returns a replicator, whose goroutines run until Close.
func New(l *link.Link, m *membership.Members, reg presence.Pods, t timing.Timing, logger *zap.Logger) *Replicator {
	published := newLedger(reg)
	r := &Replicator{
		link: l, members: m, reg: reg, timing: t, logger: logger,
		worker: work.NewWorker(), answers: newAnswers(l, published, reg), ledger: published,

		alive:    make(map[link.Peer]*pod),
		hosts:    make(map[presence.HostName]*watchedHost),
		subjects: make(map[string]*subject),
		checks:   make(map[uint64]*check),
		wanted:   make(map[hostOf]map[*watch]bool),
		gaps:     make(map[replicaKey]bool),
		torn:     make(map[shardOf]bool),
		leaving:  make(map[hostOf]bool),
	}
	go r.worker.Run(r.step, r.finish)
	return r
}

// Close publishes the queued changes, so that a goodbye can follow, and ends the goroutines.
// Closing twice is not an error.
func (r *Replicator) Close() { r.worker.Close() }

// Resyncs counts copies of channels that were found to be wrong, by a gap between deltas or by a
// check.
func (r *Replicator) Resyncs() uint64 { return r.resynced.Load() }

// Changed implements [presence.Relay].
func (r *Replicator) Changed(host presence.HostName, channel string) {
	r.intake.noteChange(place{host, channel})
	r.worker.Wake()
}

// Watched implements [presence.Relay].
func (r *Replicator) Watched(host presence.HostName, channel string) {
	r.intake.noteWatch(place{host, channel}, true)
	r.worker.Wake()
}

// Unwatched implements [presence.Relay].
func (r *Replicator) Unwatched(host presence.HostName, channel string) {
	r.intake.noteWatch(place{host, channel}, false)
	r.worker.Wake()
}

// TakeOver makes the pods that follow this one check all channels, because until now another relay
// has fetched the changes. It is called when this pod's registry has the relay.
func (r *Replicator) TakeOver() { r.ledger.skip() }

// PodUp handles a pod that joined, again or for the first time.
func (r *Replicator) PodUp(p link.Peer) {
	r.ledger.add(p) // now, because it can have sent a check
	r.intake.notePeer(p, true)
	r.worker.Wake()
}

// PodDown handles a pod that left.
func (r *Replicator) PodDown(p link.Peer) {
	r.intake.notePeer(p, false)
	r.worker.Wake()
}

// SitesChanged handles a pod that may serve other hosts than before.
func (r *Replicator) SitesChanged(p link.Peer) {
	r.intake.noteLag(p)
	r.worker.Wake()
}

// RecheckAll checks all channels with all pods at once, because this pod may have missed deltas.
func (r *Replicator) RecheckAll() {
	r.intake.noteRecheck()
	r.worker.Wake()
}

// handleLive handles a Delta on the subject of shards. It does not block.
func (r *Replicator) handleLive(from link.Peer, m message.Message) {
	d, ok := m.(*message.Delta)
	if !ok {
		r.link.Counts.Unknown.Add(1)
		return
	}
	if _, ok := r.followed.Load(shardKey{d.Host, presence.ChannelShardOf(d.Channel)}); !ok {
		return // of another shard with the subject
	}
	r.intake.noteMessage(from, m, true)
	r.worker.Wake()
}

// Handle handles a message in the inbox: a Delta, or one about checks, sums or shards. It does not
// block.
func (r *Replicator) Handle(from link.Peer, m message.Message) {
	switch m := m.(type) {
	case *message.Check:
		r.answers.ask(from, m)
	case *message.Unfollow:
		r.ledger.unfollow(from, m.Hosts)
	default:
		r.intake.noteMessage(from, m, false)
		r.worker.Wake()
	}
}

// finish is the worker's last step.
func (r *Replicator) finish() {
	r.publish()
	r.unsubscribe()
	r.answers.close()
}

// step does what is due, and returns how long the worker may sleep.
func (r *Replicator) step() time.Duration {
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
	due := r.changedAt.Add(r.timing.Coalesce)
	if now.Before(due) {
		return min(wait, due.Sub(now))
	}
	r.publish()
	return wait
}

// publish publishes the changes of this pod's part of channels. It does not know whether another
// pod has subscribed; if none has, the bus drops them.
func (r *Replicator) publish() {
	r.changedAt = time.Time{}
	for _, p := range r.intake.swapChanges() {
		k := shardKey{p.host, presence.ChannelShardOf(p.channel)}
		d, ok := r.reg.Changes(p.host, p.channel)
		if !ok { // the relay before this one has fetched them
			r.ledger.publish(k, r.reg.LastClock())
			continue
		}
		if message.DeltaSize(&d) > message.MaxDelta {
			d = r.reg.State(p.host, p.channel)
		}
		sendDelta(r.link, r.link.Channels(seedOf(k.host, k.shard)), p, d, r.ledger.publish(k, d.Clock))
	}
}

// sendDelta sends a delta, in several parts if it is a large whole part.
func sendDelta(l *link.Link, subject string, p place, d presence.Delta, step uint64) {
	m := &message.Delta{Host: p.host, Channel: p.channel, Parts: 1, Step: step, Delta: d}
	if d.Base != 0 || message.DeltaSize(&d) <= message.MaxDelta {
		l.Send(subject, m)
		return
	}
	for _, part := range divide(m) {
		l.Send(subject, part)
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
