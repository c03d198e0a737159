package replication

import (
	"math"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// watchedHost is a host with channels that are watched here.
type watchedHost struct {
	name   presence.HostName
	shards map[uint8]*watchedShard
}

// watchedShard is a shard of a host that this pod follows: it gets the deltas of all channels in
// it.
type watchedShard struct {
	host     *watchedHost
	number   uint8
	seed     uint64 // see seedOf
	in       *subject
	channels map[string]*watch // watched channels; empty in a shard that lingers
	// clocks has the clock up to which this pod has all deltas of a pod, by pod.index: of those
	// that are watched since, and of the others none is needed. It is unknown before the first
	// answer.
	clocks []uint64
	open   map[*pod]*openShard // pods whose clock is unknown or wrong, or may be
	until  time.Time           // end of a shard that lingers; zero if a channel is watched
	over   bool
}

// subject is a subject with deltas of shards that this pod follows, and of others.
type subject struct {
	*link.Subscription
	name   string
	shards int // number of shards that are followed
}

// unknown is no clock.
const unknown = math.MaxUint64

// clock returns the clock up to which this pod has all deltas of the pod.
func (s *watchedShard) clock(p *pod) uint64 {
	if p.index < len(s.clocks) {
		return s.clocks[p.index]
	}
	return unknown
}

func (s *watchedShard) knows(p *pod) bool { return s.clock(p) != unknown }

// setClock sets the clock of a pod, or makes it unknown. follows is the number of shards that this
// pod follows of the other one with this shard, if its clock was unknown.
func (s *watchedShard) setClock(p *pod, clock, follows uint64) {
	var diff uint64
	old := s.clock(p)
	if old != unknown {
		diff, follows = -mix(s.seed, old), 0
	}
	if clock != unknown {
		diff += mix(s.seed, clock)
		p.count(news{clock, follows, diff})
	} else {
		p.sum += diff // a sum that has arrived is compared with what was followed then
	}
	for p.index >= len(s.clocks) {
		s.clocks = append(s.clocks, unknown)
	}
	s.clocks[p.index] = clock
}

// shard returns the shard of a channel if it is followed, or nil.
func (r *Replicator) shard(p place) *watchedShard {
	if h := r.hosts[p.host]; h != nil {
		return h.shards[presence.ChannelShardOf(p.channel)]
	}
	return nil
}

// followShard returns the shard of a channel, which it subscribes to if necessary.
func (r *Replicator) followShard(p place) *watchedShard {
	h := r.hosts[p.host]
	if h == nil {
		h = &watchedHost{name: p.host, shards: make(map[uint8]*watchedShard)}
		r.hosts[p.host] = h
	}
	number := presence.ChannelShardOf(p.channel)
	s := h.shards[number]
	if s == nil {
		s = &watchedShard{host: h, number: number, seed: seedOf(p.host, number), channels: make(map[string]*watch)}
		h.shards[number] = s
		r.followed.Store(shardKey{p.host, number}, nil)
		s.in = r.subscribe(r.link.Channels(s.seed))
	}
	s.until = time.Time{}
	return s
}

// subscribe subscribes to a subject for one more shard.
func (r *Replicator) subscribe(name string) *subject {
	in := r.subjects[name]
	if in == nil {
		sub, err := r.link.Subscribe(name, link.Unordered, r.handleLive)
		if err != nil { // the bus is closed; otherwise, sums still find changes
			r.logger.Error("cannot subscribe to the changes of channels on other pods", zap.Error(err))
		}
		in = &subject{Subscription: sub, name: name}
		r.subjects[name] = in
	}
	in.shards++
	return in
}

// release keeps following a shard for a while, in case a channel is watched again.
func (r *Replicator) release(now time.Time, s *watchedShard) {
	s.until = now.Add(r.timing.Linger).Truncate(gapWait).Add(gapWait) // so that several end together
	r.idling.Add(s.until, s)
	for p := range s.open {
		if s.knows(p) {
			r.lower(s, p) // no channel needs what is missing
		}
	}
}

// unfollowIdle ends the shards that have lingered for long enough.
func (r *Replicator) unfollowIdle(now time.Time) {
	ended := make(map[*pod]map[*watchedHost]message.ShardSet)
	for s, ok := r.idling.Pop(now); ok; s, ok = r.idling.Pop(now) {
		if s.over || s.until.IsZero() || now.Before(s.until) {
			continue // a channel was watched meanwhile
		}
		s.over = true
		r.followed.Delete(shardKey{s.host.name, s.number})
		if s.in.shards--; s.in.shards == 0 {
			s.in.End()
			delete(r.subjects, s.in.name)
		}
		if delete(s.host.shards, s.number); len(s.host.shards) == 0 {
			delete(r.hosts, s.host.name)
		}
		for _, p := range r.alive {
			r.forget(ended, s, p)
		}
	}
	for p, hosts := range ended {
		r.sendUnfollow(p, hosts)
	}
}

// forget forgets the clock of a pod, and adds the shard to those that are no longer followed.
func (r *Replicator) forget(ended map[*pod]map[*watchedHost]message.ShardSet, s *watchedShard, p *pod) {
	if !s.knows(p) && s.open[p] == nil {
		return
	}
	if s.knows(p) {
		s.setClock(p, unknown, 0)
	}
	s.close(p)
	if ended[p] == nil {
		ended[p] = make(map[*watchedHost]message.ShardSet)
	}
	set := ended[p][s.host]
	set.Add(s.number)
	ended[p][s.host] = set
}

func (r *Replicator) sendUnfollow(p *pod, hosts map[*watchedHost]message.ShardSet) {
	m := &message.Unfollow{Hosts: make([]message.HostSet, 0, len(hosts))}
	for h, shards := range hosts {
		m.Hosts = append(m.Hosts, message.HostSet{Host: h.name, Shards: shards})
	}
	for _, part := range message.SplitUnfollow(m) {
		r.link.Send(r.link.Inbox(p.peer), part)
	}
}

// unsubscribe ends all subscriptions.
func (r *Replicator) unsubscribe() {
	for _, in := range r.subjects {
		in.End()
	}
}
