package replication

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// gapWait is the minimum time between two checks of a shard or channel with a pod because of gaps.
const gapWait = 100 * time.Millisecond

// openShard is a shard of which a delta of a pod is missing, or the clock of the pod unknown.
//
// The deltas that a pod publishes in a shard are a chain: each names the one before it. The clock
// of the shard is the end of the chain that this pod has from its last answer on. Deltas that come
// after a missing one are a chain of their own. It counts when the missing ones arrive, or when all
// watched channels of the shard were checked, which is a round.
type openShard struct {
	from, to uint64 // the later chain: the clock before its first delta, and that of its last; to is 0 without one
	round    *round // in progress; nil if there is none
	wanted   bool   // this step begins a round
}

// round is a check of all watched channels of a shard with a pod.
type round struct {
	left      int    // number of checks that are not answered
	published uint64 // lowest clock of the answers
	done      bool
}

// shardOf is a shard with a pod.
type shardOf struct {
	*watchedShard
	*pod
}

func (s *watchedShard) opened(p *pod) *openShard {
	o := s.open[p]
	if o == nil {
		if s.open == nil {
			s.open = make(map[*pod]*openShard)
		}
		o = new(openShard)
		s.open[p] = o
	}
	return o
}

func (s *watchedShard) close(p *pod) {
	if delete(s.open, p); len(s.open) == 0 {
		s.open = nil
	}
}

// chain adds a delta of a pod to the chain of its shard, unless it is late.
func (r *Replicator) chain(s *watchedShard, p *pod, m *message.Delta) {
	clock, before := s.clock(p), m.Clock-m.Step
	switch {
	case clock != unknown && m.Clock <= clock:
	case clock != unknown && m.Step > 0 && before == clock:
		s.setClock(p, m.Clock, 0)
		r.join(s, p)
	default:
		r.chainLater(s, p, before, m.Clock)
	}
}

// chainLater adds a delta that does not follow the clock of the shard. It is checked, unless those
// between arrive soon.
func (r *Replicator) chainLater(s *watchedShard, p *pod, before, clock uint64) {
	o := s.opened(p)
	switch {
	case o.to != 0 && before == o.to:
		o.to = clock
	case clock > o.to:
		o.from, o.to = before, clock
	}
	switch {
	case len(s.channels) == 0 && s.knows(p):
		r.lower(s, p)
	case o.round == nil:
		r.torn[shardOf{s, p}] = true
	}
}

// lower makes the later chain count, because no channel needs what is missing before it.
func (r *Replicator) lower(s *watchedShard, p *pod) {
	if o := s.open[p]; o.to > s.clock(p) {
		s.setClock(p, o.to, 0)
	}
	s.close(p)
}

// join joins the later chain to the clock of the shard, if nothing is missing between.
func (r *Replicator) join(s *watchedShard, p *pod) {
	o := s.open[p]
	if o == nil {
		return
	}
	clock := s.clock(p)
	if o.to > clock && o.from <= clock {
		s.setClock(p, o.to, 0)
	}
	if o.to <= s.clock(p) {
		o.from, o.to = 0, 0
		if o.round == nil && !o.wanted {
			s.close(p)
		}
	}
}

// needRound makes this step check all watched channels of a shard with a pod.
func (r *Replicator) needRound(s *watchedShard, p *pod) {
	if len(s.channels) == 0 {
		return
	}
	s.opened(p).wanted = true
	for _, w := range s.channels {
		r.want(w, p)
	}
}

// endRound ends a round. If all its checks are answered, the clock of the shard is the lowest of
// the answers, or later.
func (r *Replicator) endRound(s *watchedShard, p *pod, done *round, follows uint64) {
	o := s.open[p]
	if s.over || p.gone || o == nil || o.round != done {
		return
	}
	o.round = nil
	if done.done = done.left == 0; done.done && (!s.knows(p) || done.published > s.clock(p)) {
		s.setClock(p, done.published, follows)
	}
	if s.knows(p) {
		r.join(s, p)
	}
	switch {
	case s.open[p] == nil:
	case len(s.channels) > 0:
		r.torn[shardOf{s, p}] = true
	case s.knows(p):
		r.lower(s, p)
	}
}

// checkGaps wants checks of the shards and channels of which a delta is missing.
func (r *Replicator) checkGaps(now time.Time) {
	if len(r.gaps)+len(r.torn) == 0 || now.Before(r.gapsAt) {
		return
	}
	for k := range r.gaps {
		rep := k.replicas[k.pod] // nil if the pod has left
		if rep != nil && rep.behind && !k.watch.over {
			r.want(k.watch, k.pod)
		}
	}
	clear(r.gaps)
	for k := range r.torn {
		o := k.open[k.pod]
		if !k.watchedShard.over && !k.gone && o != nil && o.round == nil && (o.to != 0 || !k.knows(k.pod)) {
			r.needRound(k.watchedShard, k.pod)
		}
	}
	clear(r.torn)
	r.gapsAt = now.Add(gapWait)
}
