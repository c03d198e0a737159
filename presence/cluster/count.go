package cluster

import (
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Counters counts what this pod did since its start, for metrics.
type Counters struct {
	Ignored Ignored
	Queries []QueryCount   // questions of this pod that were answered, each shared answer once
	Dropped uint64         // questions of other pods that this one was too busy for
	Unsent  uint64         // payloads that the bus did not take
	Resyncs uint64         // copies of channels on other pods that were found to be wrong
	Pods    map[string]int // by state, see [PodReport]
}

// QueryCount counts the questions of one kind.
type QueryCount struct {
	Kind     string // count, members, users, explain, channels
	Complete bool
	Count    uint64
}

// kinds are the questions that are counted.
var kinds = map[message.QueryKind]string{
	message.KindCount:   "count",
	message.KindMembers: "members",
	message.KindUsers:   "users",
	message.KindExplain: "explain",
	message.KindNames:   "channels",
}

type queryCounts struct {
	observe func(kind string, complete bool, took time.Duration)

	mu     sync.Mutex
	counts map[QueryCount]uint64 // Count is not set in the key
}

func (c *queryCounts) note(kind message.QueryKind, complete bool, took time.Duration) {
	key := QueryCount{Kind: kinds[kind], Complete: complete}
	c.mu.Lock()
	if c.counts == nil {
		c.counts = make(map[QueryCount]uint64)
	}
	c.counts[key]++
	c.mu.Unlock()
	if c.observe != nil {
		c.observe(key.Kind, complete, took)
	}
}

// Counters returns the numbers of this moment.
func (c *Cluster) Counters() Counters {
	counters := Counters{
		Ignored: c.link.ignored(),
		Dropped: c.responder.dropped.Load(),
		Unsent:  c.link.unsent.Load(),
		Resyncs: c.replicator.resyncs(),
		Pods:    make(map[string]int),
	}
	for _, kind := range []message.QueryKind{
		message.KindCount, message.KindMembers, message.KindUsers, message.KindExplain, message.KindNames,
	} {
		for _, complete := range []bool{true, false} {
			count := QueryCount{Kind: kinds[kind], Complete: complete}
			c.counts.mu.Lock()
			count.Count = c.counts.counts[count]
			c.counts.mu.Unlock()
			counters.Queries = append(counters.Queries, count)
		}
	}
	for _, pod := range c.members.report() {
		counters.Pods[pod.report.State]++
	}
	return counters
}
