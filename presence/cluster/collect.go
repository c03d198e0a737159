package cluster

import (
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Bounds of what is held of the replies to one question. A pod that goes beyond them counts as missing.
const (
	maxReplyParts = 4096
	maxReplyBytes = 256 << 20 // of all pods
)

// asking holds the questions that wait for replies.
type asking struct {
	mu          sync.Mutex
	next        uint64
	collections map[uint64]*collection
	flights     map[inquiry]*flight
	closed      bool
}

func (a *asking) init() {
	a.next = random()
	a.collections = make(map[uint64]*collection)
	a.flights = make(map[inquiry]*flight)
}

func (a *asking) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
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
func (a *asking) begin(named []peer, m *members, t timing) *collection {
	col := &collection{
		began:   time.Now(),
		members: m,
		timing:  t,
		changed: make(chan struct{}, 1),
		waiting: make(map[peer]*replyParts, len(named)),
	}
	for _, p := range named {
		col.waiting[p] = &replyParts{last: -1}
	}
	a.mu.Lock()
	a.next++
	col.id = a.next
	a.collections[col.id] = col
	a.mu.Unlock()
	// Who was declared gone since it was named is not told of any more.
	for _, p := range named {
		if !m.alive(p) {
			col.give(p)
		}
	}
	return col
}

func (a *asking) end(col *collection) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.collections, col.id)
}

// take takes a part of a reply. It returns false when nobody waits for it.
func (a *asking) take(from peer, r *message.Reply) bool {
	a.mu.Lock()
	col := a.collections[r.ID]
	a.mu.Unlock()
	return col != nil && col.take(from, r)
}

// gone ends all waits for the pod.
func (a *asking) gone(p peer) {
	a.mu.Lock()
	all := make([]*collection, 0, len(a.collections))
	for _, col := range a.collections {
		all = append(all, col)
	}
	a.mu.Unlock()
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
