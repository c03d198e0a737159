package cluster

import (
	"hash/fnv"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence"
)

const (
	slots = 10 // rounds that the checks of all hosts are spread over
	// busy is how long after a delta a channel is not checked: others are on their way, so that the pod would send all that it
	// has for nothing, and they tell by themselves if one was lost.
	busy = 500 * time.Millisecond
	// gapWait is the least time between two checks of a channel with a pod that a gap leads to.
	gapWait   = 100 * time.Millisecond
	maxLinger = 1024 // subscriptions
)

// syncer has the registry merge what other pods say of the channels that are watched on this one. Only the replicator's
// goroutine calls it.
//
// A channel gets its copy of a pod's part by a [message.Check], and then deltas. When one does not follow from the one
// before, or nothing else led to it for some seconds, there is another check. An answer that is lost is asked for again at
// the next one.
type syncer struct {
	*replicator
	alive    map[peer]string // those that are up, with their keys in the registry
	hosts    map[presence.HostName]*watchedHost
	pending  expiries[*watch] // watches that are not ready, for pods of this data center
	distant  expiries[*watch] // and for those of others
	idle     map[place]*subscription
	idling   expiries[*subscription]
	checks   map[uint64]*check
	checking expiries[*check]
	lastID   uint64

	wanted   map[question]map[*watch]bool // checks that this step sends
	gaps     map[replicaKey]bool
	gapsAt   time.Time // when gaps may be looked at
	slot     int       // the next one
	slotAt   time.Time // when it is due
	assembly map[peer]*assembler
}

// watchedHost is a host with the channels of it that are watched here.
type watchedHost struct {
	slot     int // of periodic checks
	channels map[string]*watch
}

// watch is a channel from its first watcher on this pod to the last.
type watch struct {
	place
	sub      *subscription
	replicas map[peer]*replica // the pods that were asked, or have said something
	waiting  map[peer]bool     // pods whose answer the first watchers wait for
	early    bool              // this pod does not know yet whom to ask
	ready    bool
	over     bool
}

// replica is what is known of a pod's part of a channel, beside what the registry has.
type replica struct {
	check  uint64 // ID of the last one, 0: none is under way
	seen   uint64 // the highest Clock of any delta
	behind bool   // a delta that was sent before one that came is missing, since that check was sent
	// followed is when a delta was merged that followed the one before.
	followed time.Time
	// floor is the Clock of the last CheckDone: deltas of the channel up to it are in the answers, or say nothing new. They
	// come late, or were recorded before the channel was watched.
	floor uint64
	live  uint64 // the Clock of a delta of the channel that was merged since the check was sent; 0: none, or the answer came
}

type replicaKey struct {
	*watch
	peer
}

// question is what goes into one check.
type question struct {
	peer
	host presence.HostName
}

// check is a check under way.
type check struct {
	id      uint64
	to      peer
	watches []*watch
}

// subscription is that of a channel's deltas.
type subscription struct {
	place
	in    *received
	until time.Time // when it ends, if it is idle
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

// step works off the notes and what is due by now.
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
		s.end(now, p)
		if watched {
			s.begin(now, p)
		}
	}
	for _, parcel := range n.messages {
		if _, ok := s.alive[parcel.from]; ok {
			s.take(parcel)
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

// wait returns how long nothing is due.
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

// drop forgets a pod that is gone.
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

// begin starts to watch a channel.
func (s *syncer) begin(now time.Time, p place) {
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
		early:    !s.members.pulse.knows(),
	}
	h.channels[p.channel] = w
	for _, to := range s.members.serving(p.host, ScopeAll, false) {
		w.waiting[to] = true
	}
	for _, to := range s.members.serving(p.host, ScopeAll, true) {
		if _, ok := s.alive[to]; ok { // otherwise it is asked when it is noted
			s.want(w, to)
		}
	}
	s.pending.add(now.Add(s.timing.timeout), w)
	s.distant.add(now.Add(s.timing.remote), w)
	s.readyIfSo(w)
}

// slotOf spreads hosts evenly.
func slotOf(host presence.HostName) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(host.String())) // never fails
	return int(h.Sum32() % slots)
}

// end ends the watch of a channel, if there is one.
func (s *syncer) end(now time.Time, p place) {
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

// subscribe returns the subscription of a channel, the one that is idle or a new one.
func (s *syncer) subscribe(p place) *subscription {
	if sub := s.idle[p]; sub != nil {
		delete(s.idle, p)
		sub.in.renew()
		return sub
	}
	in, err := s.link.subscribe(s.link.channelSubject(p.host, p.channel), unordered, s.replicator.takeLive)
	if err != nil { // the bus is closed; otherwise checks go on finding what changed
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
