// Package query asks all pods that serve a host, and replies to the queries of other pods.
//
// Callers use an [Asker]. [Queries] has the queries in progress: equal queries share an answer
// (share.go), a collector waits for the replies of the pods (collect.go), and their parts are
// merged into one answer with a [Truth] (merge.go). Replies arrive at [Queries.AddReply]. A
// [Responder] replies to the queries of other pods, on a few goroutines with a bounded queue. A
// query is one payload to all. Many queries, and many replies, are bundled for each pod
// ([link.Link.SendBundled]). A pod that does not reply for Timing.Repeat is asked again in its
// inbox.
//
// Queries.mu guards the sets of collectors and shared answers, replyCollector.mu the replies to one
// query. They are not held together.
package query

import (
	"context"
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/membership"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/work"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Queries sends queries about hosts to all pods, and merges their replies. Its methods are safe for
// concurrent use.
type Queries struct {
	link      *link.Link
	members   *membership.Members
	responder *Responder
	timing    timing.Timing
	observe   func(kind string, complete bool, took time.Duration) // nil if queries are not observed
	all       *sync.WaitGroup                                      // goroutines that make answers
	stop      <-chan struct{}                                      // closed to end all waits
	long      chan struct{}                                        // has an element for each query about long lists that has its turn
	longOwn   chan struct{}                                        // the same, of queries that no other pod is asked
	asking    chan struct{}                                        // has an element for each question of AskLast that is asked

	mu         sync.Mutex
	next       uint64
	collectors map[uint64]*replyCollector
	shared     map[queryKey]*sharedAnswer
	closed     bool
}

// New returns the queries of a pod. Their goroutines belong to the wait group, and end soon after
// stop is closed.
func New(
	l *link.Link, m *membership.Members, r *Responder, t timing.Timing,
	observe func(kind string, complete bool, took time.Duration), all *sync.WaitGroup, stop <-chan struct{},
) *Queries {
	return &Queries{
		link: l, members: m, responder: r, timing: t, observe: observe, all: all, stop: stop,
		long: make(chan struct{}, maxLong), longOwn: make(chan struct{}, maxLong), asking: make(chan struct{}, maxAsking), next: link.Random(), collectors: make(map[uint64]*replyCollector), shared: make(map[queryKey]*sharedAnswer),
	}
}

// Asker returns the part that callers of the cluster use.
func (k *Queries) Asker() Asker { return Asker{k} }

// Close prevents new answers. It is called before stop is closed.
func (k *Queries) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
}

// collect registers a new query and returns the collector of the replies from pods.
func (k *Queries) collect(named []link.Peer) *replyCollector {
	now := time.Now()
	col := &replyCollector{
		began:   now,
		members: k.members,
		changed: work.NewSignal(),
		pending: make(map[link.Peer]*partialReply, len(named)),
	}
	for _, p := range named {
		col.pending[p] = &partialReply{heard: now, last: -1}
	}
	k.mu.Lock()
	k.next++
	col.id = k.next
	k.collectors[col.id] = col
	k.mu.Unlock()
	// A pod that left before the registration above was not reported to PodDown: mark it missing
	// now.
	for _, p := range named {
		if !k.members.Alive(p) {
			col.markMissing(p)
		}
	}
	return col
}

// wait returns when no pod is pending, the last deadline of the pending pods has passed, or stop is
// closed. Meanwhile, it repeats the query in the inboxes of silent pods: they may not have known
// this pod when they received it, or a part of the reply was lost.
func (k *Queries) wait(col *replyCollector, query message.Query) {
	col.changed.Wait(func() time.Duration {
		pods, next := col.silent(k.timing.Repeat)
		if len(pods) > 0 {
			col.try++
			query.Try = col.try
			for _, p := range pods {
				k.link.SendBundled(k.link.Inbox(p), []link.Peer{p}, &query)
			}
		}
		return min(next, col.remaining())
	}, nil, k.stop)
}

// forget ends the collection of replies. If the query was repeated, more than one reply of a pod
// can arrive: those that come late are expected until the last deadline after the repetition.
func (k *Queries) forget(col *replyCollector) {
	drop := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.collectors, col.id)
	}
	if col.try > 0 {
		_, remote := k.members.Timeouts()
		time.AfterFunc(remote, drop)
		return
	}
	drop()
}

// AddReply passes a part of a reply to its collector. It reports whether the part was expected.
func (k *Queries) AddReply(from link.Peer, r *message.Reply) bool {
	k.mu.Lock()
	col := k.collectors[r.ID]
	k.mu.Unlock()
	return col != nil && col.addReply(from, r)
}

// PodDown marks the pod missing in all queries that wait for it.
func (k *Queries) PodDown(p link.Peer) {
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

// Ping sends a ping to all pods, and returns how long each reply took.
func (k *Queries) Ping(ctx context.Context) map[link.Peer]time.Duration {
	took := make(map[link.Peer]time.Duration)
	named := k.members.All()
	if ctx.Err() != nil || len(named) == 0 {
		return took
	}
	col := k.collect(named)
	defer k.forget(col)
	k.link.Send(k.link.Queries(), &message.Query{ID: col.id, Kind: message.KindPing})
	stop := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() { close(stop) })
	col.changed.Wait(col.remaining, stop, k.stop)
	cancel()
	replies, _ := col.result()
	for _, r := range replies {
		took[r.Peer] = r.elapsed
	}
	return took
}
