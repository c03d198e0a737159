package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Bounds of what is held of the replies to one question. A pod that goes beyond them counts as missing.
const (
	maxReplyParts = 4096
	maxReplyBytes = 256 << 20 // of all pods
)

// asker asks all pods about hosts, and merges what they reply. It is safe for concurrent use.
type asker struct {
	link      *link
	members   *members
	responder *responder
	timing    timing
	observe   func(kind string, complete bool, took time.Duration) // may be nil
	all       *sync.WaitGroup                                      // of goroutines that make answers
	stop      <-chan struct{}                                      // ends all waits

	mu          sync.Mutex
	next        uint64
	collections map[uint64]*collection
	flights     map[inquiry]*flight
	closed      bool
}

// newAsker returns an asker. Its goroutines are of the wait group, and end soon after stop is closed.
func newAsker(
	l *link, m *members, r *responder, t timing,
	observe func(kind string, complete bool, took time.Duration), all *sync.WaitGroup, stop <-chan struct{},
) *asker {
	return &asker{
		link: l, members: m, responder: r, timing: t, observe: observe, all: all, stop: stop,
		next: random(), collections: make(map[uint64]*collection), flights: make(map[inquiry]*flight),
	}
}

// close has no new answer made. It is called before stop is closed.
func (k *asker) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
}

// collection is the replies to one question.
type collection struct {
	id      uint64
	began   time.Time
	members *members
	timing  timing
	changed chan struct{} // has room for one: waiting got less

	mu      sync.Mutex
	waiting map[peer]*replyParts
	whole   []podReply
	missing []string
	bytes   int
}

// replyParts are the parts of a pod's reply, until all are there.
type replyParts struct {
	parts map[uint32]*message.Reply
	last  int64 // the number of the last one; -1: not known
}

// podReply is the whole reply of a pod.
type podReply struct {
	peer
	replies []*message.Reply // its parts in their order, at least one
	took    time.Duration
}

// begin has replies of the named pods collected.
func (k *asker) begin(named []peer) *collection {
	col := &collection{
		began:   time.Now(),
		members: k.members,
		timing:  k.timing,
		changed: make(chan struct{}, 1),
		waiting: make(map[peer]*replyParts, len(named)),
	}
	for _, p := range named {
		col.waiting[p] = &replyParts{last: -1}
	}
	k.mu.Lock()
	k.next++
	col.id = k.next
	k.collections[col.id] = col
	k.mu.Unlock()
	// Who was declared gone since it was named is not told of any more.
	for _, p := range named {
		if !k.members.alive(p) {
			col.give(p)
		}
	}
	return col
}

func (k *asker) end(col *collection) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.collections, col.id)
}

// take takes a part of a reply. It returns false when nobody waits for it.
func (k *asker) take(from peer, r *message.Reply) bool {
	k.mu.Lock()
	col := k.collections[r.ID]
	k.mu.Unlock()
	return col != nil && col.take(from, r)
}

// gone ends all waits for the pod.
func (k *asker) gone(p peer) {
	k.mu.Lock()
	all := make([]*collection, 0, len(k.collections))
	for _, col := range k.collections {
		all = append(all, col)
	}
	k.mu.Unlock()
	for _, col := range all {
		col.give(p)
	}
}

func (col *collection) take(from peer, r *message.Reply) bool {
	col.mu.Lock()
	defer col.mu.Unlock()
	w := col.waiting[from]
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
		col.giveLocked(from)
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
			col.giveLocked(from) // there are two ends, and so no sense
			return true
		}
	}
	delete(col.waiting, from)
	col.whole = append(col.whole, podReply{from, replies, time.Since(col.began)})
	col.rouse()
	return true
}

// give stops waiting for a pod.
func (col *collection) give(p peer) {
	col.mu.Lock()
	defer col.mu.Unlock()
	if col.waiting[p] != nil {
		col.giveLocked(p)
	}
}

func (col *collection) giveLocked(p peer) {
	delete(col.waiting, p)
	col.missing = append(col.missing, p.name())
	col.rouse()
}

func (col *collection) rouse() {
	select {
	case col.changed <- struct{}{}:
	default: // it will look anyway
	}
}

// wait returns when all have replied whole, or the deadline of those who did not has passed, or a channel is closed.
func (col *collection) wait(stop, closed <-chan struct{}) {
	timer := time.NewTimer(col.left())
	defer timer.Stop()
	for {
		left := col.left()
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
		case <-col.changed:
		}
	}
}

// left is how long to wait for those who are missing.
func (col *collection) left() time.Duration {
	col.mu.Lock()
	defer col.mu.Unlock()
	var left time.Duration
	passed := time.Since(col.began)
	for p := range col.waiting {
		deadline := col.timing.timeout
		if col.members.remote(p) {
			deadline = col.timing.remote
		}
		left = max(left, deadline-passed)
	}
	return left
}

// result returns the whole replies, and who is missing.
func (col *collection) result() ([]podReply, []string) {
	col.mu.Lock()
	defer col.mu.Unlock()
	for p := range col.waiting {
		col.missing = append(col.missing, p.name())
	}
	clear(col.waiting)
	return col.whole, col.missing
}

// sizeOfReply is about what a reply takes in memory.
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

// ping asks all pods for a reply, and returns how long each took.
func (k *asker) ping(ctx context.Context) map[peer]time.Duration {
	took := make(map[peer]time.Duration)
	named := k.members.everybody()
	if ctx.Err() != nil || len(named) == 0 {
		return took
	}
	col := k.begin(named)
	defer k.end(col)
	k.link.send(k.link.queries(), &message.Query{ID: col.id, Kind: message.KindPing})
	stop := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() { close(stop) })
	col.wait(stop, k.stop)
	cancel()
	replies, _ := col.result()
	for _, r := range replies {
		took[r.peer] = r.took
	}
	return took
}
