package replication

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/membership"
)

// watch is a channel from its first watcher on this pod to its last one.
type watch struct {
	shard    *watchedShard
	channel  string
	replicas map[*pod]*replica  // pods with a check in progress, or with deltas that are missing
	waiting  map[link.Peer]bool // pods whose answer the first joins wait for
	early    bool               // this pod does not know yet which pods to check
	ready    bool
	over     bool
}

// replica is what the replicator knows of a pod's part of a channel until it has all of it, in
// addition to the registry.
type replica struct {
	check  uint64 // ID of the check in progress; 0 if there is none
	seen   uint64 // highest Clock of the deltas since the check was sent
	behind bool   // since the check was sent, a delta was found to be missing
	// floor is the clock of the shard in the last CheckDone. Deltas of the channel up to it are in
	// the answers, so they are late or were recorded by an outsider.
	floor uint64
	live  uint64 // Clock of a live delta that was merged since the check was sent; 0 without one, or after the answer
	// answered is set if an answer was merged since the check was sent. It can be that to an
	// earlier check, which came late.
	answered bool
}

type replicaKey struct {
	*watch
	*pod
}

func (w *watch) replica(p *pod) *replica {
	rep := w.replicas[p]
	if rep == nil {
		if w.replicas == nil {
			w.replicas = make(map[*pod]*replica)
		}
		rep = &replica{}
		w.replicas[p] = rep
	}
	return rep
}

// tidy drops a replica that the clock of the shard makes superfluous.
func (w *watch) tidy(p *pod) {
	rep := w.replicas[p]
	if rep == nil || rep.check != 0 || rep.behind || !w.shard.knows(p) || rep.floor > w.shard.clock(p) {
		return
	}
	if delete(w.replicas, p); len(w.replicas) == 0 {
		w.replicas = nil
	}
}

// apply handles the notes, and what is due.
func (r *Replicator) apply(now time.Time, n notes) {
	for p, alive := range n.peers {
		if alive {
			r.addPod(p)
		} else {
			r.drop(p)
		}
	}
	for p, watched := range n.watches {
		r.endWatch(now, p)
		if watched {
			r.startWatch(now, p)
		}
	}
	for _, parcel := range n.messages {
		if p := r.alive[parcel.from]; p != nil {
			r.handleParcel(now, p, parcel)
		}
	}
	for _, p := range r.alive {
		if n.recheck || n.lagging[p.peer] {
			r.recheckPeer(p)
		}
	}
	r.expire(now)
	r.checkGaps(now)
	r.round(now)
	r.repeat(now)
	r.ask(now)
}

// untilDue returns the time until something is due.
func (r *Replicator) untilDue(now time.Time) time.Duration {
	next := now.Add(time.Hour)
	soonest := func(t time.Time, ok bool) {
		if ok && t.Before(next) {
			next = t
		}
	}
	soonest(r.pending.Next())
	soonest(r.distant.Next())
	soonest(r.idling.Next())
	soonest(r.checking.Next())
	soonest(r.settling.Next())
	soonest(r.repeatAt, len(r.checks) > 0)
	soonest(r.gapsAt, len(r.gaps)+len(r.torn) > 0)
	soonest(r.slotAt, len(r.alive) > 0)
	return max(0, next.Sub(now))
}

// startWatch starts to watch a channel.
func (r *Replicator) startWatch(now time.Time, p place) {
	w := &watch{
		shard:   r.followShard(p),
		channel: p.channel,
		waiting: make(map[link.Peer]bool),
		early:   !r.members.KnowsPods(),
	}
	w.shard.channels[p.channel] = w
	r.dropParts(p) // their lists were not kept
	for _, to := range r.members.Serving(p.host, membership.ScopeAll, false) {
		w.waiting[to] = true
	}
	for _, to := range r.members.Serving(p.host, membership.ScopeAll, true) {
		if pod := r.alive[to]; pod != nil { // otherwise it is checked when its note arrives
			r.want(w, pod)
		}
	}
	local, remote := r.members.Timeouts()
	r.pending.Add(now.Add(local), w)
	r.distant.Add(now.Add(remote), w)
	r.answerIfReady(w)
}

// endWatch ends the watch of a channel, if there is one.
func (r *Replicator) endWatch(now time.Time, p place) {
	w := r.watch(p)
	if w == nil {
		return
	}
	w.over = true
	delete(w.shard.channels, p.channel)
	r.dropParts(p)
	if len(w.shard.channels) == 0 {
		r.release(now, w.shard)
	}
}

// dropParts drops the incomplete deltas of a channel.
func (r *Replicator) dropParts(p place) {
	for _, from := range r.alive {
		from.assembly.drop(p)
	}
}

// watch returns a channel that is watched here, or nil.
func (r *Replicator) watch(p place) *watch {
	if s := r.shard(p); s != nil {
		return s.channels[p.channel]
	}
	return nil
}

// answered removes a pod from those that the first joins wait for.
func (r *Replicator) answered(w *watch, p link.Peer) {
	delete(w.waiting, p)
	r.answerIfReady(w)
}

// answerIfReady answers the first joins if they no longer wait for a pod.
func (r *Replicator) answerIfReady(w *watch) {
	if w.ready || w.over || w.early || len(w.waiting) > 0 {
		return
	}
	w.ready, w.waiting = true, nil
	r.reg.Ready(w.shard.host.name, w.channel)
}

// expire ends what has timed out.
func (r *Replicator) expire(now time.Time) {
	for w, ok := r.pending.Pop(now); ok; w, ok = r.pending.Pop(now) {
		w.early = false
		for p := range w.waiting {
			if !r.members.Remote(p) {
				delete(w.waiting, p)
			}
		}
		r.answerIfReady(w)
	}
	for w, ok := r.distant.Pop(now); ok; w, ok = r.distant.Pop(now) {
		clear(w.waiting)
		r.answerIfReady(w)
	}
	for c, ok := r.checking.Pop(now); ok; c, ok = r.checking.Pop(now) {
		if r.checks[c.id] == c {
			r.endCheck(c)
		}
	}
	r.unfollowIdle(now)
	for p, ok := r.settling.Pop(now); ok; p, ok = r.settling.Pop(now) {
		r.compareSums(p)
	}
}
