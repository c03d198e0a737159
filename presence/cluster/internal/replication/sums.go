package replication

import (
	"cmp"
	"hash/fnv"
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/membership"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

const (
	// slots is the number of steps into which Timing.Check is divided. A pod sends each other pod a
	// sum every sumSlots of them.
	slots    = 10
	sumSlots = 8
	// settle is how long after its arrival a sum is compared, in steps: news that were on their way
	// are here. With sumSlots, and the time of a check, it is less than Timing.Check.
	settle = 1
)

// pod is another pod that is alive.
type pod struct {
	peer     link.Peer
	key      string // of its parts in the registry
	index    int    // in watchedShard.clocks; used again when the pod has left
	slot     int    // in which it is sent a sum
	assembly *assembler
	gone     bool

	sum    uint64 // of the shards that this pod follows of it
	recent [16]struct {
		news
		at time.Time
	}
	next   int // in recent
	theirs *arrived
}

// news is a change of the sum. follows is 0, or the number of the shard that is new.
type news struct{ clock, follows, diff uint64 }

// arrived is a sum of another pod, until it is compared. mine is the sum that this pod had when the
// other one sent it.
type arrived struct {
	*message.ShardSum
	mine uint64
	at   time.Time
}

// covers reports whether the news are part of the sum.
func (a *arrived) covers(n news) bool { return n.clock <= a.AsOf && n.follows <= a.Follows }

// count adds news to the sum.
func (p *pod) count(n news) {
	p.sum += n.diff
	p.recent[p.next].news, p.recent[p.next].at = n, time.Now()
	p.next = (p.next + 1) % len(p.recent)
	if p.theirs != nil && p.theirs.covers(n) {
		p.theirs.mine += n.diff
	}
}

// addPod adds a pod, and checks all channels that it may have.
func (r *Replicator) addPod(peer link.Peer) {
	p := r.alive[peer]
	if p == nil {
		p = &pod{peer: peer, key: peer.Key(), slot: slotOf(peer), assembly: newAssembler()}
		for p.index = 0; p.index < len(r.indexes) && r.indexes[p.index]; p.index++ {
		}
		if p.index == len(r.indexes) {
			r.indexes = append(r.indexes, false)
		}
		r.indexes[p.index] = true
		if len(r.alive) == 0 {
			r.slotAt = time.Now().Add(r.timing.Check / slots)
		}
		r.alive[peer] = p
		r.ledger.add(peer)
	}
	r.recheckPeer(p)
}

// slotOf returns the slot of a pod. Pods are spread evenly.
func slotOf(peer link.Peer) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(peer.Key())) // never fails
	return int(h.Sum32() % sumSlots)
}

// drop drops a pod that has left.
func (r *Replicator) drop(peer link.Peer) {
	r.ledger.remove(peer)
	r.reg.Forget(peer.Key())
	p := r.alive[peer]
	delete(r.alive, peer)
	if p != nil {
		p.gone, r.indexes[p.index] = true, false
	}
	for _, h := range r.hosts {
		for _, s := range h.shards {
			if p != nil {
				s.close(p)
				if p.index < len(s.clocks) {
					s.clocks[p.index] = unknown
				}
			}
			for _, w := range s.channels {
				if p != nil {
					delete(w.replicas, p)
				}
				r.answered(w, peer)
			}
		}
	}
}

// round does what is due in a slot: sums are sent, and pods that no longer serve a host are asked.
func (r *Replicator) round(now time.Time) {
	if len(r.alive) == 0 || now.Before(r.slotAt) {
		return
	}
	for _, p := range r.alive {
		if p.slot == r.slot {
			sum, follows := r.ledger.sum(p.peer)
			r.link.Send(r.link.Inbox(p.peer), &message.ShardSum{AsOf: r.reg.LastClock(), Follows: follows, Sum: sum})
		}
		p.assembly.expire(now)
	}
	for q := range r.leaving {
		r.leave(q)
	}
	r.slot = (r.slot + 1) % sumSlots
	r.slotAt = now.Add(r.timing.Check / slots)
}

// handleSum keeps a sum until it is compared. Another one that arrives meanwhile is dropped: a pod
// sends them at longer intervals.
func (r *Replicator) handleSum(now time.Time, p *pod, m *message.ShardSum) {
	if p.theirs != nil {
		return
	}
	a, wait := &arrived{ShardSum: m, mine: p.sum, at: now}, settle*r.timing.Check/slots
	for _, n := range p.recent { // news can overtake the sum
		if !a.covers(n.news) && now.Sub(n.at) < wait {
			a.mine -= n.diff
		}
	}
	p.theirs = a
	r.settling.Add(now.Add(wait), p)
}

// compareSums sends the sums of hosts if the sum of a pod is another one.
func (r *Replicator) compareSums(p *pod) {
	a := p.theirs
	p.theirs = nil
	if p.gone || a == nil || a.mine == a.Sum {
		return
	}
	for _, c := range r.checks {
		if c.to == p && c.asked.Before(a.at) && a.at.Sub(c.asked) < r.timing.Repeat {
			return // the other pod counts what this one does not know yet; later, the answer is probably lost
		}
	}
	m := &message.HostSums{Last: true}
	for _, h := range r.hosts {
		if sum, ok := h.sum(p); ok {
			m.Hosts = append(m.Hosts, message.HostSum{Host: h.name, Sum: sum})
		}
	}
	slices.SortFunc(m.Hosts, func(a, b message.HostSum) int { return cmp.Compare(a.Host.String(), b.Host.String()) })
	for _, part := range message.SplitHostSums(m) {
		r.link.Send(r.link.Inbox(p.peer), part)
	}
}

// sum returns the sum of the shards that are followed of a pod, and false if none is.
func (h *watchedHost) sum(p *pod) (sum uint64, ok bool) {
	for _, s := range h.shards {
		if s.knows(p) {
			sum += mix(s.seed, s.clock(p))
		}
		ok = ok || s.knows(p) || s.open[p] != nil
	}
	return sum, ok
}

// answerSums answers the sums of hosts of a pod that follows shards of this one.
func (r *Replicator) answerSums(p *pod, m *message.HostSums) {
	for _, part := range message.SplitHostShards(&message.HostShards{Hosts: r.ledger.compare(p.peer, m)}) {
		r.link.Send(r.link.Inbox(p.peer), part)
	}
}

// compareShards finds the shards whose clocks differ from those of another pod.
func (r *Replicator) compareShards(p *pod, m *message.HostShards) {
	ended := make(map[*watchedHost]message.ShardSet)
	for _, theirs := range m.Hosts {
		h := r.hosts[theirs.Host]
		if h == nil {
			h = &watchedHost{name: theirs.Host}
		}
		var listed message.ShardSet
		for _, c := range theirs.Clocks {
			listed.Add(c.Shard)
			s := h.shards[c.Shard]
			switch {
			case s == nil || !s.knows(p) && s.open[p] == nil:
				set := ended[h]
				set.Add(c.Shard)
				ended[h] = set
			case !s.knows(p):
			case c.Clock > s.clock(p):
				r.chainLater(s, p, c.Clock, c.Clock)
			}
		}
		for _, s := range h.shards { // the other pod does not know that this one follows them
			switch {
			case listed.Has(s.number) || !s.knows(p):
			case len(s.channels) > 0:
				r.needRound(s, p)
			default:
				s.setClock(p, unknown, 0)
				s.close(p)
			}
		}
	}
	if len(ended) > 0 {
		r.sendUnfollow(p, ended)
	}
}

// hostOf is a host with a pod.
type hostOf struct {
	*pod
	*watchedHost
}

// recheckPeer wants checks of all channels that the pod may have. Joins that wait for their first
// answer wait for the pod too.
func (r *Replicator) recheckPeer(p *pod) {
	for name, h := range r.hosts {
		if !slices.Contains(r.members.Serving(name, membership.ScopeAll, true), p.peer) {
			r.leave(hostOf{p, h})
			continue
		}
		awaited := slices.Contains(r.members.Serving(name, membership.ScopeAll, false), p.peer)
		for _, s := range h.shards {
			if len(s.channels) > 0 {
				r.needRound(s, p)
			}
			for _, w := range s.channels {
				if awaited && !w.ready {
					w.waiting[p.peer] = true
				}
			}
		}
	}
}

// leave checks the channels of a host that a pod no longer serves, until it answers that its parts
// are empty. Then this pod follows none of its shards.
func (r *Replicator) leave(q hostOf) {
	delete(r.leaving, q)
	if q.gone || r.hosts[q.name] != q.watchedHost || slices.Contains(r.members.Serving(q.name, membership.ScopeAll, true), q.peer) {
		return
	}
	held := false
	for _, s := range q.shards {
		for _, w := range s.channels {
			rep := w.replicas[q.pod]
			switch {
			case rep != nil && rep.check != 0:
				held = true
			case r.clock(w, q.pod) != 0:
				r.want(w, q.pod)
				held = true
			}
		}
	}
	if held {
		r.leaving[q] = true
		return
	}
	ended := make(map[*pod]map[*watchedHost]message.ShardSet)
	for _, s := range q.shards {
		r.forget(ended, s, q.pod)
	}
	if hosts := ended[q.pod]; hosts != nil {
		r.sendUnfollow(q.pod, hosts)
	}
}
