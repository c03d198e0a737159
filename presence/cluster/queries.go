package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// queries sends queries about hosts to all pods, and merges their replies. Its methods are safe for
// concurrent use.
type queries struct {
	link      *link
	members   *members
	responder *responder
	timing    timing
	observe   func(kind string, complete bool, took time.Duration) // nil if queries are not observed
	all       *sync.WaitGroup                                      // goroutines that make answers
	stop      <-chan struct{}                                      // closed to end all waits

	mu         sync.Mutex
	next       uint64
	collectors map[uint64]*replyCollector
	shared     map[queryKey]*sharedAnswer
	closed     bool
}

// newQueries returns queries. Its goroutines belong to the wait group, and end soon after stop is
// closed.
func newQueries(
	l *link, m *members, r *responder, t timing,
	observe func(kind string, complete bool, took time.Duration), all *sync.WaitGroup, stop <-chan struct{},
) *queries {
	return &queries{
		link: l, members: m, responder: r, timing: t, observe: observe, all: all, stop: stop,
		next: random(), collectors: make(map[uint64]*replyCollector), shared: make(map[queryKey]*sharedAnswer),
	}
}

// Asker returns what callers of the cluster ask with.
func (k *queries) Asker() asker { return asker{k} }

// close prevents new answers. It is called before stop is closed.
func (k *queries) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
}

// collect registers a new query and returns the collector of the replies from pods.
func (k *queries) collect(named []peer) *replyCollector {
	col := &replyCollector{
		began:   time.Now(),
		members: k.members,
		timing:  k.timing,
		wake:    make(chan struct{}, 1),
		pending: make(map[peer]*partialReply, len(named)),
	}
	for _, p := range named {
		col.pending[p] = &partialReply{last: -1}
	}
	k.mu.Lock()
	k.next++
	col.id = k.next
	k.collectors[col.id] = col
	k.mu.Unlock()
	// A pod that left before the registration above was not reported to PodDown: mark it missing
	// now.
	for _, p := range named {
		if !k.members.alive(p) {
			col.markMissing(p)
		}
	}
	return col
}

func (k *queries) forget(col *replyCollector) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.collectors, col.id)
}

// addReply passes a part of a reply to its collector. It reports whether the part was expected.
func (k *queries) addReply(from peer, r *message.Reply) bool {
	k.mu.Lock()
	col := k.collectors[r.ID]
	k.mu.Unlock()
	return col != nil && col.addReply(from, r)
}

// PodDown marks the pod missing in all queries that wait for it.
func (k *queries) PodDown(p peer) {
	k.mu.Lock()
	all := make([]*replyCollector, 0, len(k.collectors))
	for _, col := range k.collectors {
		all = append(all, col)
	}
	k.mu.Unlock()
	for _, col := range all {
		col.markMissing(p)
	}
}

// ping sends a ping to all pods, and returns how long each reply took.
func (k *queries) ping(ctx context.Context) map[peer]time.Duration {
	took := make(map[peer]time.Duration)
	named := k.members.everybody()
	if ctx.Err() != nil || len(named) == 0 {
		return took
	}
	col := k.collect(named)
	defer k.forget(col)
	k.link.send(k.link.queries(), &message.Query{ID: col.id, Kind: message.KindPing})
	stop := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() { close(stop) })
	col.wait(stop, k.stop)
	cancel()
	replies, _ := col.result()
	for _, r := range replies {
		took[r.peer] = r.elapsed
	}
	return took
}
