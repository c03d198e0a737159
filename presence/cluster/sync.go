package cluster

import (
	"hash/fnv"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence"
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

// syncer merges the parts of other pods into the channels that are watched on this one. Only the
// replicator's goroutine calls it.
//
// A channel gets a pod's part by a [message.Check], and then deltas. It is checked again if a delta
// does not follow from the one before, and after some seconds without a delta. The next check
// replaces a lost answer.
type syncer struct {
	*replicator
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

// watchedHost is a host with its channels that are watched here.
type watchedHost struct {
	slot     int // slot of its periodic checks
	channels map[string]*watch
}

// watch is a channel from its first watcher on this pod to its last one.
type watch struct {
	place
	sub      *subscription
	replicas map[peer]*replica // pods that were checked or have sent a delta
	waiting  map[peer]bool     // pods whose answer the first joins wait for
	early    bool              // this pod does not know yet which pods to check
	ready    bool
	over     bool
}

// replica is what the syncer knows of a pod's part of a channel, in addition to the registry.
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
	peer
}

// question groups the channels that go into one check.
type question struct {
	peer
	host presence.HostName
}

// check is a check in progress.
type check struct {
	id      uint64
	to      peer
	watches []*watch
}

// subscription is the subscription to a channel's deltas.
type subscription struct {
	place
	in    *received
	until time.Time // end of an idle subscription
}

func newSyncer(r *replicator) *syncer {
	return &syncer{
		replicator: r,
		alive:      make(map[peer]string),
		hosts:      make(map[presence.HostName]*watchedHost),
		idle:       make(map[place]*subscription),
		checks:     make(map[uint64]*check),
		wanted:     make(map[question]map[*watch]bool),
		gaps:       make(map[replicaKey]bool),
		assembly:   make(map[peer]*assembler),
	}
}

// step handles the notes, and what is due.
func (s *syncer) step(now time.Time, n notes) {
	for p, alive := range n.peers {
		if alive {
			s.alive[p] = p.key()
			s.recheckPeer(p)
		} else {
			s.drop(p)
		}
	}
	for p, watched := range n.watches {
		s.endWatch(now, p)
		if watched {
			s.startWatch(now, p)
		}
	}
	for _, parcel := range n.messages {
		if _, ok := s.alive[parcel.from]; ok {
			s.handle(parcel)
		}
	}
	for p := range s.alive {
		if n.recheck || n.lagging[p] {
			s.recheckPeer(p)
		}
	}
	s.expire(now)
	s.round(now)
	s.ask(now)
}

// wait returns the time until something is due.
func (s *syncer) wait(now time.Time) time.Duration {
	next := now.Add(time.Hour)
	soonest := func(t time.Time, ok bool) {
		if ok && t.Before(next) {
			next = t
		}
	}
	soonest(s.pending.next())
	soonest(s.distant.next())
	soonest(s.idling.next())
	soonest(s.checking.next())
	soonest(s.gapsAt, len(s.gaps) > 0)
	soonest(s.slotAt, len(s.hosts) > 0)
	return max(0, next.Sub(now))
}

// drop drops a pod that has left.
func (s *syncer) drop(p peer) {
	delete(s.alive, p)
	delete(s.assembly, p)
	s.reg.Forget(p.key())
	for _, h := range s.hosts {
		for _, w := range h.channels {
			delete(w.replicas, p)
			s.answered(w, p)
		}
	}
}

// startWatch starts to watch a channel.
func (s *syncer) startWatch(now time.Time, p place) {
	h := s.hosts[p.host]
	if h == nil {
		if len(s.hosts) == 0 {
			s.slotAt = now.Add(s.timing.check / slots)
		}
		h = &watchedHost{slot: slotOf(p.host), channels: make(map[string]*watch)}
		s.hosts[p.host] = h
	}
	w := &watch{
		place:    p,
		sub:      s.subscribe(p),
		replicas: make(map[peer]*replica),
		waiting:  make(map[peer]bool),
		early:    !s.members.pulse.knowsPods(),
	}
	h.channels[p.channel] = w
	for _, to := range s.members.serving(p.host, ScopeAll, false) {
		w.waiting[to] = true
	}
	for _, to := range s.members.serving(p.host, ScopeAll, true) {
		if _, ok := s.alive[to]; ok { // otherwise it is checked when its note arrives
			s.want(w, to)
		}
	}
	s.pending.add(now.Add(s.timing.timeout), w)
	s.distant.add(now.Add(s.timing.remote), w)
	s.answerIfReady(w)
}

// slotOf returns the slot of a host. Hosts are spread evenly.
func slotOf(host presence.HostName) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(host.String())) // never fails
	return int(h.Sum32() % slots)
}

// endWatch ends the watch of a channel, if there is one.
func (s *syncer) endWatch(now time.Time, p place) {
	h := s.hosts[p.host]
	if h == nil || h.channels[p.channel] == nil {
		return
	}
	w := h.channels[p.channel]
	w.over = true
	delete(h.channels, p.channel)
	if len(h.channels) == 0 {
		delete(s.hosts, p.host)
	}
	for _, a := range s.assembly {
		a.drop(p)
	}
	s.release(now, w.sub)
}

// subscribe returns the idle subscription of a channel, or a new one.
func (s *syncer) subscribe(p place) *subscription {
	if sub := s.idle[p]; sub != nil {
		delete(s.idle, p)
		sub.in.renew()
		return sub
	}
	in, err := s.link.subscribe(s.link.channelSubject(p.host, p.channel), unordered, s.replicator.handleLive)
	if err != nil { // the bus is closed; otherwise, checks still find changes
		s.logger.Error("cannot subscribe to the changes of a channel on other pods", zap.Error(err))
	}
	return &subscription{place: p, in: in}
}

// release keeps a subscription for a while, in case the channel is watched again.
func (s *syncer) release(now time.Time, sub *subscription) {
	if len(s.idle) >= maxLinger {
		sub.in.end()
		return
	}
	sub.until = now.Add(s.timing.linger)
	s.idle[sub.place] = sub
	s.idling.add(sub.until, sub)
}

// close ends all subscriptions.
func (s *syncer) close() {
	for _, h := range s.hosts {
		for _, w := range h.channels {
			w.sub.in.end()
		}
	}
	for _, sub := range s.idle {
		sub.in.end()
	}
}
