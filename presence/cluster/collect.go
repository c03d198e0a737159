package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Limits of the replies to one query. A pod whose reply exceeds a limit counts as missing.
const (
	maxReplyParts = 4096
	maxReplyBytes = 256 << 20 // estimated memory of the replies of all pods
)

// asker sends queries about hosts to all pods, and merges their replies. Its methods are safe for
// concurrent use.
type asker struct {
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

// newAsker returns an asker. Its goroutines belong to the wait group, and end soon after stop is
// closed.
func newAsker(
	l *link, m *members, r *responder, t timing,
	observe func(kind string, complete bool, took time.Duration), all *sync.WaitGroup, stop <-chan struct{},
) *asker {
	return &asker{
		link: l, members: m, responder: r, timing: t, observe: observe, all: all, stop: stop,
		next: random(), collectors: make(map[uint64]*replyCollector), shared: make(map[queryKey]*sharedAnswer),
	}
}

// close prevents new answers. It is called before stop is closed.
func (k *asker) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
}

// replyCollector collects the replies to one query.
type replyCollector struct {
	id      uint64
	began   time.Time
	members *members
	timing  timing
	wake    chan struct{} // wakes wait when fewer pods are pending; capacity 1

	mu      sync.Mutex
	pending map[peer]*partialReply
	replies []podReply
	missing []string
	bytes   int
}

// partialReply holds the parts of one pod's reply until all of them have arrived.
type partialReply struct {
	parts map[uint32]*message.Reply
	last  int64 // number of the last part; -1 until it is known
}

// podReply is the complete reply of one pod.
type podReply struct {
	peer
	parts   []*message.Reply // in order, at least one
	elapsed time.Duration
}

// collect registers a new query and returns the collector of the replies from pods.
func (k *asker) collect(named []peer) *replyCollector {
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
	// A pod that left before the registration above was not reported to podDown: mark it missing
	// now.
	for _, p := range named {
		if !k.members.alive(p) {
			col.markMissing(p)
		}
	}
	return col
}

func (k *asker) forget(col *replyCollector) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.collectors, col.id)
}

// addReply passes a part of a reply to its collector. It reports whether the part was expected.
func (k *asker) addReply(from peer, r *message.Reply) bool {
	k.mu.Lock()
	col := k.collectors[r.ID]
	k.mu.Unlock()
	return col != nil && col.addReply(from, r)
}

// podDown marks the pod missing in all queries that wait for it.
func (k *asker) podDown(p peer) {
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

func (col *replyCollector) addReply(from peer, r *message.Reply) bool {
	col.mu.Lock()
	defer col.mu.Unlock()
	w := col.pending[from]
	if w == nil {
		return false
	}
	if w.parts == nil {
		w.parts = make(map[uint32]*message.Reply, 1)
	}
	if w.parts[r.Part] != nil || w.last >= 0 && int64(r.Part) > w.last {
		return false
	}
	col.bytes += sizeOfReply(r)
	if r.Part >= maxReplyParts || col.bytes > maxReplyBytes {
		col.markMissingLocked(from)
		return true
	}
	w.parts[r.Part] = r
	if r.Last {
		w.last = int64(r.Part)
	}
	if w.last < 0 || int64(len(w.parts)) <= w.last {
		return true
	}
	replies := make([]*message.Reply, w.last+1)
	for i := range replies {
		if replies[i] = w.parts[uint32(i)]; replies[i] == nil {
			col.markMissingLocked(from) // a part is numbered beyond the last one: the reply is inconsistent
			return true
		}
	}
	delete(col.pending, from)
	col.replies = append(col.replies, podReply{from, replies, time.Since(col.began)})
	col.wakeUp()
	return true
}

// markMissing stops waiting for the pod, if it is pending.
func (col *replyCollector) markMissing(p peer) {
	col.mu.Lock()
	defer col.mu.Unlock()
	if col.pending[p] != nil {
		col.markMissingLocked(p)
	}
}

func (col *replyCollector) markMissingLocked(p peer) {
	delete(col.pending, p)
	col.missing = append(col.missing, p.name())
	col.wakeUp()
}

func (col *replyCollector) wakeUp() {
	select {
	case col.wake <- struct{}{}:
	default: // a wake-up is already pending
	}
}

// wait returns when no pod is pending, the last deadline of the pending pods has passed, or stop or
// closed is closed.
func (col *replyCollector) wait(stop, closed <-chan struct{}) {
	timer := time.NewTimer(col.remaining())
	defer timer.Stop()
	for {
		left := col.remaining()
		if left <= 0 {
			return
		}
		timer.Reset(left)
		select {
		case <-stop:
			return
		case <-closed:
			return
		case <-timer.C:
		case <-col.wake:
		}
	}
}

// remaining returns the time until the last deadline of the pending pods; 0 if none is pending.
func (col *replyCollector) remaining() time.Duration {
	col.mu.Lock()
	defer col.mu.Unlock()
	var left time.Duration
	passed := time.Since(col.began)
	for p := range col.pending {
		deadline := col.timing.timeout
		if col.members.remote(p) {
			deadline = col.timing.remote
		}
		left = max(left, deadline-passed)
	}
	return left
}

// result returns the complete replies and the names of the missing pods. Pending pods count as
// missing.
func (col *replyCollector) result() ([]podReply, []string) {
	col.mu.Lock()
	defer col.mu.Unlock()
	for p := range col.pending {
		col.missing = append(col.missing, p.name())
	}
	clear(col.pending)
	return col.replies, col.missing
}

// sizeOfReply estimates the memory of a reply part, in bytes.
func sizeOfReply(r *message.Reply) int {
	size := 256 + 8*len(r.Count.Hashes)
	for i := range r.Members {
		size += 40 + len(r.Members[i].ID) + len(r.Members[i].Email)
	}
	for i := range r.Channels {
		l := &r.Channels[i]
		size += 104 + len(l.Channel) + 8*len(l.Seen)
		for j := range l.Users {
			size += 32 + len(l.Users[j].ID) + len(l.Users[j].Email)
		}
	}
	for i := range r.Conns {
		size += 72 + len(r.Conns[i].ID) + len(r.Conns[i].Email)
		for _, name := range r.Conns[i].Channels {
			size += 16 + len(name)
		}
	}
	return size
}

// ping sends a ping to all pods, and returns how long each reply took.
func (k *asker) ping(ctx context.Context) map[peer]time.Duration {
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
