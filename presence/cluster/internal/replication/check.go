package replication

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// check is a check in progress.
type check struct {
	id      uint64
	to      *pod
	host    *watchedHost
	watches []*watch
	shards  []askedShard // in the order of their numbers
	repair  bool         // it was sent because a delta was missing
	done    bool         // it was answered
	asked   time.Time
	heard   time.Time // time of the last delta of the answer; before the first, time at which it was last sent
	again   int       // memorySize of the last repetition; 0 before the first
}

// askedShard is a shard of the channels in a check.
type askedShard struct {
	shard *watchedShard
	round *round // in progress when the check was sent; nil if the clock of the shard was known
	part  bool   // the round waits for the check
}

// want adds a check of the channel with the pod to this step.
func (r *Replicator) want(w *watch, p *pod) {
	q := hostOf{p, w.shard.host}
	if r.wanted[q] == nil {
		r.wanted[q] = make(map[*watch]bool)
	}
	r.wanted[q][w] = true
}

func (r *Replicator) clock(w *watch, p *pod) uint64 {
	return r.reg.Clock(w.shard.host.name, w.channel, p.key)
}

// ask sends the wanted checks: one for all channels of a host, if it is not too long.
func (r *Replicator) ask(now time.Time) {
	for q, watches := range r.wanted {
		if q.gone {
			continue
		}
		r.completeRounds(q, watches)
		list := slices.SortedFunc(maps.Keys(watches), func(a, b *watch) int {
			return cmp.Or(cmp.Compare(a.shard.number, b.shard.number), cmp.Compare(a.channel, b.channel))
		})
		for _, m := range r.questions(q, list) {
			r.lastID++
			m.ID = r.lastID
			c := &check{id: m.ID, to: q.pod, host: q.watchedHost, watches: slices.Clone(list[:len(m.Channels)]), asked: now, heard: now}
			list = list[len(m.Channels):]
			r.begin(c)
			r.checks[c.id] = c
			r.checking.Add(now.Add(r.timing.Check), c)
			r.scheduleRepeat(c.heard.Add(r.timing.Repeat))
			r.link.Send(r.link.Inbox(q.peer), m)
		}
		for w := range watches {
			if o := w.shard.open[q.pod]; o != nil {
				o.wanted = false
			}
		}
	}
	clear(r.wanted)
}

// questions returns the messages that ask a pod for the channels of a host, without IDs.
func (r *Replicator) questions(q hostOf, watches []*watch) []*message.Check {
	whole := &message.Check{Host: q.name, Channels: make([]message.CheckChannel, len(watches))}
	for i, w := range watches {
		whole.Channels[i] = message.CheckChannel{Channel: w.channel, Clock: r.clock(w, q.pod)}
	}
	return message.SplitCheck(whole)
}

// waiting returns the replica of a channel that waits for the check; nil if the channel is no
// longer watched, or waits for a later check.
func (c *check) waiting(w *watch) *replica {
	if rep := w.replicas[c.to]; !w.over && rep != nil && rep.check == c.id {
		return rep
	}
	return nil
}

// completeRounds begins the rounds that are wanted, and those of shards whose clock is unknown. It
// adds the channels of such a shard to those that are checked.
func (r *Replicator) completeRounds(q hostOf, watches map[*watch]bool) {
	shards := make(map[*watchedShard]bool)
	for w := range watches {
		shards[w.shard] = true
	}
	for s := range shards {
		o := s.open[q.pod]
		if o == nil && s.knows(q.pod) || o != nil && !o.wanted && (o.round != nil || s.knows(q.pod)) {
			continue
		}
		o = s.opened(q.pod)
		o.round, o.wanted = &round{published: unknown}, true
		for _, w := range s.channels {
			watches[w] = true
		}
	}
}

// begin begins a check.
func (r *Replicator) begin(c *check) {
	for _, w := range c.watches {
		rep := w.replica(c.to)
		c.repair = c.repair || rep.behind && rep.seen != 0
		rep.check, rep.behind, rep.seen, rep.live, rep.answered = c.id, false, 0, 0, false
		if n := len(c.shards); n > 0 && c.shards[n-1].shard == w.shard {
			continue
		}
		a := askedShard{shard: w.shard}
		if o := w.shard.open[c.to]; o != nil && o.round != nil {
			a.round, a.part = o.round, o.wanted
			if a.part {
				a.round.left++
				c.repair = c.repair || w.shard.knows(c.to) && o.to != 0
			}
		}
		c.shards = append(c.shards, a)
	}
}

// handleParcel handles a message of a pod that is alive.
func (r *Replicator) handleParcel(now time.Time, p *pod, in parcel) {
	switch m := in.message.(type) {
	case *message.Delta:
		r.handleDelta(p, m, in.live)
	case *message.CheckDone:
		if c := r.checks[m.ID]; c != nil && c.to == p && !c.lacks(m) {
			r.finishCheck(c, m)
			r.endCheck(c)
			for _, w := range c.watches {
				r.answered(w, p.peer)
			}
		}
	case *message.ShardSum:
		r.handleSum(now, p, m)
	case *message.HostSums:
		r.answerSums(p, m)
	case *message.HostShards:
		r.compareShards(p, m)
	}
}

// finishCheck records what an answered check says of the shards of its channels.
func (r *Replicator) finishCheck(c *check, m *message.CheckDone) {
	c.done = true
	behind := make(map[*watchedShard]bool)
	published := make(map[*watchedShard]uint64, len(m.Shards))
	for i := range c.shards {
		a := &c.shards[i]
		n, ok := slices.BinarySearchFunc(m.Shards, a.shard.number, func(s message.ShardClock, number uint8) int {
			return cmp.Compare(s.Shard, number)
		})
		if !ok || a.shard.over {
			continue
		}
		clock := m.Shards[n].Clock
		published[a.shard] = clock
		switch o := a.shard.open[c.to]; {
		case a.round == nil:
			// Deltas between the clock and the answer can be on their way.
			if k := a.shard.clock(c.to); k != unknown && clock > k {
				r.chainLater(a.shard, c.to, clock, clock)
			}
		case a.round.done:
			behind[a.shard] = clock < a.round.published
		case o != nil && o.round == a.round:
			a.round.published = min(a.round.published, clock)
			if a.part {
				a.part = false
				if a.round.left--; a.round.left == 0 {
					r.endRound(a.shard, c.to, a.round, m.Follows)
				}
			}
		}
	}
	listed := make(map[int]bool, len(m.Answers))
	for _, a := range m.Answers {
		listed[a.Index] = true
	}
	for i, w := range c.watches {
		rep := c.waiting(w)
		if rep == nil {
			continue // a later check has taken its place, and the part of this answer may be lost
		}
		rep.floor = max(rep.floor, published[w.shard])
		// A live delta that was merged meanwhile and is not later than the answer may have been
		// recorded by an outsider, if the answer has no part.
		// An answer that it does not list can be older than it.
		rep.behind = rep.behind || behind[w.shard] || rep.live != 0 && rep.live <= m.Clock || rep.answered && !listed[i]
	}
}

// handleDelta merges a delta of another pod. live is set if the pod published it to all.
func (r *Replicator) handleDelta(p *pod, m *message.Delta, live bool) {
	at := place{m.Host, m.Channel}
	s := r.shard(at)
	if s == nil {
		return // no longer followed
	}
	w := s.channels[m.Channel]
	if live && s.knows(p) && m.Clock <= s.clock(p) || !live && !r.recordAnswer(w, p) {
		return // it is late or a repetition, or the channel is no longer watched
	}
	d := m.Delta
	if m.Parts > 1 {
		part := *m
		if w == nil {
			part.Joined, part.Left = nil, nil
		}
		var whole bool
		if d, whole = p.assembly.add(time.Now(), at, &part); !whole {
			return
		}
	}
	if live {
		r.chain(s, p, m)
	}
	if w != nil {
		r.merge(w, p, d, live)
	}
}

// merge merges a whole delta into a watched channel.
func (r *Replicator) merge(w *watch, p *pod, d presence.Delta, live bool) {
	rep := w.replicas[p]
	if rep != nil {
		if live && d.Clock <= rep.floor {
			return
		}
		rep.live = 0
		if live {
			rep.live = d.Clock
		}
	}
	known := !live && (r.clock(w, p) != 0 || r.repairs(w, p))
	switch r.reg.MergeDelta(w.shard.host.name, w.channel, p.key, d) {
	case presence.Merged:
		if known {
			r.resynced.Add(1) // only the check has found it
		}
		if rep != nil { // a first delta can arrive after the delta that follows it, which could not be merged
			rep.behind, rep.answered = d.Clock < rep.seen || !live && rep.check == 0, rep.answered || !live
		}
	case presence.Gap:
		rep = w.replica(p)
		rep.behind = true
	case presence.Stale, presence.Unwanted:
	}
	if rep == nil {
		return
	}
	rep.seen = max(rep.seen, d.Clock)
	if rep.behind && rep.check == 0 {
		r.gaps[replicaKey{w, p}] = true
	}
	w.tidy(p)
}

// repairs reports whether the channel is checked because a delta was missing.
func (r *Replicator) repairs(w *watch, p *pod) bool {
	rep := w.replicas[p]
	if rep == nil {
		return false
	}
	c := r.checks[rep.check]
	return c != nil && c.repair
}

// endCheck ends a check that was answered or has timed out. It repeats the check if it was not
// answered, or if a delta was missed meanwhile, because answers and deltas arrive in any order.
func (r *Replicator) endCheck(c *check) {
	delete(r.checks, c.id)
	for _, a := range c.shards {
		if a.part { // not answered
			r.endRound(a.shard, c.to, a.round, 0)
		}
	}
	for _, w := range c.watches {
		rep := c.waiting(w)
		if rep == nil {
			continue
		}
		rep.check = 0
		if rep.behind = rep.behind || !c.done; rep.behind {
			r.gaps[replicaKey{w, c.to}] = true
		}
		w.tidy(c.to)
	}
}
