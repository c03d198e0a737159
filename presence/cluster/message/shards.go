package message

import "github.com/rollcall-gateway/rollcall/presence"

// A pod follows shards of hosts, see [presence.ChannelShardOf]: it gets all deltas that another pod
// publishes in them. The clock of a shard is that of the last one.

// ShardSum is one number for the clocks of all shards that the receiver follows of the sender. A
// pod sends it every few seconds to each other pod. One that has another number asks with HostSums.
type ShardSum struct {
	AsOf    uint64 // clock of the last delta that the pod has published, in any shard
	Follows uint64 // number of shards that the receiver has begun to follow
	Sum     uint64
}

// HostSums has the sums of the shards that the sender follows of the receiver, by host. The answer
// is HostShards for the hosts that differ. The receiver forgets that the sender follows a host that
// is not listed.
type HostSums struct {
	After string // the last host of the message before it; "" in the first one
	Last  bool   // no host comes after those listed
	Hosts []HostSum
}

// HostSum is the sum of the shards of a host.
type HostSum struct {
	Host presence.HostName
	Sum  uint64
}

// HostShards lists the shards that the receiver follows of the sender, as far as the sender knows.
type HostShards struct{ Hosts []Shards }

// Shards lists shards of a host. There may be none.
type Shards struct {
	Host   presence.HostName
	Clocks []ShardClock
}

// ShardClock is the clock of a shard.
type ShardClock struct {
	Shard uint8 // below presence.ChannelShards
	Clock uint64
}

// Unfollow says that the sender no longer follows shards of the receiver.
type Unfollow struct{ Hosts []HostSet }

// HostSet is a set of shards of a host.
type HostSet struct {
	Host   presence.HostName
	Shards ShardSet
}

// ShardSet has a bit for each shard of a host.
type ShardSet uint64

// Add adds a shard.
func (s *ShardSet) Add(shard uint8) { *s |= 1 << (shard % presence.ChannelShards) }

// Has reports whether a shard is in the set.
func (s ShardSet) Has(shard uint8) bool { return s>>(shard%presence.ChannelShards)&1 != 0 }

const (
	badShardOrder = "shards that are not in order"
	badHostOrder  = "hosts that are not in order"
	badAnswer     = "an answer to no channel"
)

const (
	answerLimit = 3 + 10                    // the most that an answer takes
	maxAnswers  = MaxPayload / leastChannel // more than a Check has channels
)

func (e *encoder) checkDone(m *CheckDone) {
	e.uvarint(m.ID)
	e.uvarint(m.Clock)
	e.uvarint(m.Follows)
	e.shardClocks(m.Shards)
	e.length(len(m.Answers))
	next := 0
	for _, a := range m.Answers {
		if a.Index < next || a.Index >= maxAnswers {
			e.fail(badAnswer)
		}
		e.uvarint(uint64(a.Index - next))
		e.uvarint(a.Clock)
		next = a.Index + 1
	}
}

func (d *decoder) checkDone() *CheckDone {
	m := &CheckDone{ID: d.uvarint(), Clock: d.uvarint(), Follows: d.uvarint(), Shards: d.shardClocks()}
	next := uint64(0)
	m.Answers = list(d, leastAnswer, func() Answer {
		skipped, clock := d.uvarint(), d.uvarint()
		if skipped >= maxAnswers || next+skipped >= maxAnswers {
			d.fail(badAnswer)
			return Answer{}
		}
		next += skipped + 1
		return Answer{int(next - 1), clock}
	})
	return m
}

func (e *encoder) shardClocks(list []ShardClock) {
	e.length(len(list))
	for i, c := range list {
		if c.Shard >= presence.ChannelShards || i > 0 && c.Shard <= list[i-1].Shard {
			e.fail(badShardOrder)
		}
		e.byte(c.Shard)
		e.uvarint(c.Clock)
	}
}

func (d *decoder) shardClocks() []ShardClock {
	last := -1
	return list(d, leastShard, func() ShardClock {
		c := ShardClock{Shard: d.byte(), Clock: d.uvarint()}
		if c.Shard >= presence.ChannelShards || int(c.Shard) <= last {
			d.fail(badShardOrder)
		}
		last = int(c.Shard)
		return c
	})
}

func (e *encoder) hostSums(m *HostSums) {
	e.text(m.After, maxHost)
	e.flags(m.Last)
	e.length(len(m.Hosts))
	last := m.After
	for i := range m.Hosts {
		if name := m.Hosts[i].Host.String(); name <= last {
			e.fail(badHostOrder)
		} else {
			last = name
		}
		e.host(m.Hosts[i].Host)
		e.fixed(m.Hosts[i].Sum)
	}
}

func (d *decoder) hostSums() *HostSums {
	m := &HostSums{After: d.text(maxHost), Last: d.flags(1) != 0}
	last := m.After
	m.Hosts = list(d, leastHostSum, func() HostSum {
		s := HostSum{d.host(), d.fixed()}
		if s.Host.String() <= last {
			d.fail(badHostOrder)
		}
		last = s.Host.String()
		return s
	})
	return m
}

func (e *encoder) hostShards(m *HostShards) {
	e.length(len(m.Hosts))
	for i := range m.Hosts {
		e.host(m.Hosts[i].Host)
		e.shardClocks(m.Hosts[i].Clocks)
	}
}

func (d *decoder) hostShards() *HostShards {
	return &HostShards{list(d, leastHostShards, func() Shards { return Shards{d.host(), d.shardClocks()} })}
}

func (e *encoder) unfollow(m *Unfollow) {
	e.length(len(m.Hosts))
	for i := range m.Hosts {
		e.host(m.Hosts[i].Host)
		e.fixed(uint64(m.Hosts[i].Shards))
	}
}

func (d *decoder) unfollow() *Unfollow {
	return &Unfollow{list(d, leastHostSum, func() HostSet { return HostSet{d.host(), ShardSet(d.fixed())} })}
}

// numberedHostSize returns the size of a host with a fixed number.
func numberedHostSize(h presence.HostName) int { return hostSize(h) + 8 }

func shardsSize(s *Shards) int {
	size := hostSize(s.Host) + 1
	for i := range s.Clocks {
		size += 1 + numberSize(s.Clocks[i].Clock)
	}
	return size
}

func hostSize(h presence.HostName) int {
	name := h.String()
	return textSize(&name)
}
