package replication

import (
	"hash/fnv"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/membership"
)

const (
	slots = 10 // rounds over which the checks of all hosts are spread
	// busy is how long after a delta a channel is not checked. More deltas are probably on their
	// way: they would make the answer useless, and they show by themselves if one was lost.
	busy = 500 * time.Millisecond
	// gapWait is the minimum time between two checks of a channel with a pod because of gaps.
	gapWait   = 100 * time.Millisecond
	maxLinger = 1024 // idle subscriptions
)

// watchedHost is a host with its channels that are watched here.
type watchedHost struct {
	slot     int // slot of its periodic checks
	channels map[string]*watch
}

// watch is a channel from its first watcher on this pod to its last one.
type watch struct {
	place
	sub      *subscription
	replicas map[link.Peer]*replica // pods that were checked or have sent a delta
	waiting  map[link.Peer]bool     // pods whose answer the first joins wait for
	early    bool                   // this pod does not know yet which pods to check
	ready    bool
	over     bool
}

// replica is what the replicator knows of a pod's part of a channel, in addition to the registry.
type replica struct {
	check  uint64 // ID of the check in progress; 0 if there is none
	seen   uint64 // highest Clock of all deltas
	behind bool   // since the check was sent, a delta was found to be missing
	// followed is the time of the last delta that followed the one before.
	followed time.Time
	// floor is the Clock of the last CheckDone. Deltas of the channel up to it are in the answers,
	// so they are late or were recorded by an outsider.
	floor uint64
	live  uint64 // Clock of a live delta that was merged since the check was sent; 0 without one, or after the answer
}

type replicaKey struct {
	*watch
	link.Peer
}

// question groups the channels that go into one check.
type question struct {
	link.Peer
	host presence.HostName
}

// check is a check in progress.
type check struct {
	id      uint64
	to      link.Peer
	host    presence.HostName
	watches []*watch
	heard   time.Time // time of the last delta of the answer; before the first, time at which it was last sent
	again   int       // memorySize of the last repetition; 0 before the first
}

// subscription is the subscription to a channel's deltas.
type subscription struct {
	place
	in    *link.Subscription
	until time.Time // end of an idle subscription
}

// apply handles the notes, and what is due.
func (r *Replicator) apply(now time.Time, n notes) {
	for p, alive := range n.peers {
		if alive {
			r.alive[p] = p.Key()
			r.recheckPeer(p)
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
		if _, ok := r.alive[parcel.from]; ok {
			r.handleParcel(parcel)
		}
	}
	for p := range r.alive {
		if n.recheck || n.lagging[p] {
			r.recheckPeer(p)
		}
	}
	r.expire(now)
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
	soonest(r.repeatAt, len(r.checks) > 0)
	soonest(r.gapsAt, len(r.gaps) > 0)
	soonest(r.slotAt, len(r.hosts) > 0)
	return max(0, next.Sub(now))
}

// drop drops a pod that has left.
func (r *Replicator) drop(p link.Peer) {
	delete(r.alive, p)
	delete(r.assembly, p)
	r.reg.Forget(p.Key())
	for _, h := range r.hosts {
		for _, w := range h.channels {
			delete(w.replicas, p)
			r.answered(w, p)
		}
	}
}

// startWatch starts to watch a channel.
func (r *Replicator) startWatch(now time.Time, p place) {
	h := r.hosts[p.host]
	if h == nil {
		if len(r.hosts) == 0 {
			r.slotAt = now.Add(r.timing.Check / slots)
		}
		h = &watchedHost{slot: slotOf(p.host), channels: make(map[string]*watch)}
		r.hosts[p.host] = h
	}
	w := &watch{
		place:    p,
		sub:      r.subscribe(p),
		replicas: make(map[link.Peer]*replica),
		waiting:  make(map[link.Peer]bool),
		early:    !r.members.KnowsPods(),
	}
	h.channels[p.channel] = w
	for _, to := range r.members.Serving(p.host, membership.ScopeAll, false) {
		w.waiting[to] = true
	}
	for _, to := range r.members.Serving(p.host, membership.ScopeAll, true) {
		if _, ok := r.alive[to]; ok { // otherwise it is checked when its note arrives
			r.want(w, to)
		}
	}
	local, remote := r.members.Timeouts()
	r.pending.Add(now.Add(local), w)
	r.distant.Add(now.Add(remote), w)
	r.answerIfReady(w)
}

// slotOf returns the slot of a host. Hosts are spread evenly.
func slotOf(host presence.HostName) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(host.String())) // never fails
	return int(h.Sum32() % slots)
}

// endWatch ends the watch of a channel, if there is one.
func (r *Replicator) endWatch(now time.Time, p place) {
	h := r.hosts[p.host]
	if h == nil || h.channels[p.channel] == nil {
		return
	}
	w := h.channels[p.channel]
	w.over = true
	delete(h.channels, p.channel)
	if len(h.channels) == 0 {
		delete(r.hosts, p.host)
	}
	for _, a := range r.assembly {
		a.drop(p)
	}
	r.release(now, w.sub)
}

// subscribe returns the idle subscription of a channel, or a new one.
func (r *Replicator) subscribe(p place) *subscription {
	if sub := r.idle[p]; sub != nil {
		delete(r.idle, p)
		sub.in.Renew()
		return sub
	}
	in, err := r.link.Subscribe(r.link.Channel(p.host, p.channel), link.Unordered, r.handleLive)
	if err != nil { // the bus is closed; otherwise, checks still find changes
		r.logger.Error("cannot subscribe to the changes of a channel on other pods", zap.Error(err))
	}
	return &subscription{place: p, in: in}
}

// release keeps a subscription for a while, in case the channel is watched again.
func (r *Replicator) release(now time.Time, sub *subscription) {
	if len(r.idle) >= maxLinger {
		sub.in.End()
		return
	}
	sub.until = now.Add(r.timing.Linger)
	r.idle[sub.place] = sub
	r.idling.Add(sub.until, sub)
}

// unsubscribe ends all subscriptions.
func (r *Replicator) unsubscribe() {
	for _, h := range r.hosts {
		for _, w := range h.channels {
			w.sub.in.End()
		}
	}
	for _, sub := range r.idle {
		sub.in.End()
	}
}
