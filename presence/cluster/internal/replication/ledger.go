package replication

import (
	"cmp"
	"slices"
	"sync"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// shardKey is a shard of a host, see [presence.ChannelShardOf].
type shardKey struct {
	host  presence.HostName
	shard uint8
}

// ledger has what this pod has published to the pods that follow its shards. It has a lock, because
// the worker publishes while the goroutines of the answers register followers.
type ledger struct {
	reg       presence.Pods
	mu        sync.Mutex
	shards    map[shardKey]*publishedShard // shards with followers
	followers map[link.Peer]*follower      // live pods
}

// publishedShard is a shard that other pods follow.
type publishedShard struct {
	seed      uint64
	published uint64 // clock of the last published delta; before the first, the clock of this pod when it was followed
	followers []*follower
}

// maxFollowed is the maximum number of shards that the ledger has for a follower: all of 16,384
// hosts.
const maxFollowed = 1 << 20

// follower is another pod that is alive.
type follower struct {
	shards  int    // number of shards that it follows
	follows uint64 // number of shards that it has begun to follow
	sum     uint64 // sum of the shards that it follows
}

func newLedger(reg presence.Pods) *ledger {
	return &ledger{reg: reg, shards: make(map[shardKey]*publishedShard), followers: make(map[link.Peer]*follower)}
}

// add adds a pod that is alive. Only those can follow shards.
func (l *ledger) add(p link.Peer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.followers[p] == nil {
		l.followers[p] = new(follower)
	}
}

// remove removes a pod that has left.
func (l *ledger) remove(p link.Peer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.followers[p]
	delete(l.followers, p)
	for k, s := range l.shards {
		l.removeFollower(k, s, f)
	}
}

func (l *ledger) removeFollower(k shardKey, s *publishedShard, f *follower) {
	i := slices.Index(s.followers, f)
	if i < 0 {
		return
	}
	f.sum -= mix(s.seed, s.published)
	f.shards--
	s.followers = slices.Delete(s.followers, i, i+1)
	if len(s.followers) == 0 {
		delete(l.shards, k)
	}
}

// publish records a delta that is about to be published, and returns its [message.Delta] Step.
func (l *ledger) publish(k shardKey, clock uint64) (step uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.shards[k]; s != nil {
		return s.advance(clock)
	}
	return 0
}

// advance makes clock the clock of the shard, and returns the difference from the one before; 0 if
// it is not later: the pods that follow the shard since have what is up to it in their answers.
func (s *publishedShard) advance(clock uint64) (step uint64) {
	if clock <= s.published {
		return 0
	}
	step = clock - s.published
	diff := mix(s.seed, clock) - mix(s.seed, s.published)
	for _, f := range s.followers {
		f.sum += diff
	}
	s.published = clock
	return step
}

// skip counts all changes until now as published, so that followers find that they lack some.
func (l *ledger) skip() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clock := l.reg.LastClock()
	for _, s := range l.shards {
		s.advance(clock)
	}
}

// addFollower registers a pod as a follower of shards of a host. It returns their clocks and the
// number of shards that the pod has begun to follow. What this pod has published in the shards up
// to their clocks is in the registry.
func (l *ledger) addFollower(p link.Peer, host presence.HostName, shards message.ShardSet) (published []message.ShardClock, follows uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.followers[p]
	for i := range uint8(presence.ChannelShards) {
		if f != nil && f.shards >= maxFollowed {
			f = nil
		}
		if !shards.Has(i) {
			continue
		}
		k := shardKey{host, i}
		s := l.shards[k]
		if s == nil {
			s = &publishedShard{seed: seedOf(host, i), published: l.reg.LastClock()}
			if f != nil {
				l.shards[k] = s
			}
		}
		if f != nil && !slices.Contains(s.followers, f) {
			s.followers = append(s.followers, f)
			f.sum += mix(s.seed, s.published)
			f.shards++
			f.follows++
		}
		published = append(published, message.ShardClock{Shard: i, Clock: s.published})
	}
	if f != nil {
		follows = f.follows
	}
	return published, follows
}

// unfollow removes a pod from the followers of shards.
func (l *ledger) unfollow(p link.Peer, hosts []message.HostSet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.followers[p]
	for _, set := range hosts {
		for i := range uint8(presence.ChannelShards) {
			k := shardKey{set.Host, i}
			if s := l.shards[k]; s != nil && set.Shards.Has(i) {
				l.removeFollower(k, s, f)
			}
		}
	}
}

// sum returns the sum of the shards that a pod follows, and the number of those that it has begun
// to follow.
func (l *ledger) sum(p link.Peer) (sum, follows uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.followers[p]; f != nil {
		return f.sum, f.follows
	}
	return 0, 0
}

// compare returns the shards of the hosts that another pod does not follow as this one knows. Of a
// host that it does not list, it no longer follows any.
func (l *ledger) compare(p link.Peer, m *message.HostSums) []message.Shards {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, last := l.followers[p], ""
	if n := len(m.Hosts); n > 0 {
		last = m.Hosts[n-1].Host.String()
	}
	mine := make(map[presence.HostName]*followed, len(m.Hosts))
	for _, h := range m.Hosts {
		mine[h.Host] = &followed{sum: h.Sum}
	}
	for k, s := range l.shards {
		name := k.host.String()
		if f == nil || name <= m.After || !m.Last && name > last || !slices.Contains(s.followers, f) {
			continue
		}
		if h := mine[k.host]; h == nil {
			l.removeFollower(k, s, f)
		} else {
			h.sum -= mix(s.seed, s.published)
			h.clocks = append(h.clocks, message.ShardClock{Shard: k.shard, Clock: s.published})
		}
	}
	var differ []message.Shards
	for _, listed := range m.Hosts {
		if h := mine[listed.Host]; h.sum != 0 {
			slices.SortFunc(h.clocks, func(a, b message.ShardClock) int { return cmp.Compare(a.Shard, b.Shard) })
			differ = append(differ, message.Shards{Host: listed.Host, Clocks: h.clocks})
		}
	}
	return differ
}

// followed has the shards of a host that a pod follows. sum is the difference between its sum and
// that of this pod.
type followed struct {
	sum    uint64
	clocks []message.ShardClock
}
