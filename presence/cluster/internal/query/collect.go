package query

import (
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/membership"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/work"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Limits of the replies to one query. A pod whose reply exceeds a limit counts as missing.
const (
	maxReplyParts = 4096
	maxReplyBytes = 256 << 20 // estimated memory of the replies of all pods
)

// replyCollector collects the replies to one query.
type replyCollector struct {
	id      uint64
	began   time.Time
	members *membership.Members
	changed work.Signal // fewer pods are pending
	try     uint32      // how often the query was repeated; only the goroutine that waits uses it

	mu       sync.Mutex
	pending  map[link.Peer]*partialReply
	repeated map[link.Peer]bool // pods that were asked again, so more than one reply is expected
	replies  []podReply
	missing  []string
	bytes    int
}

// partialReply holds the parts of one pod's reply until all of them have arrived.
type partialReply struct {
	heard time.Time // time of the last part; before the first, time of the last query to the pod
	try   uint32    // try of the parts
	parts map[uint32]*message.Reply
	last  int64 // number of the last part; -1 until it is known
	bytes int
}

// podReply is the complete reply of one pod.
type podReply struct {
	link.Peer
	parts   []*message.Reply // in order, at least one
	elapsed time.Duration
	more    func() []uint64 // next hashes, after those of parts; nil if there are none
}

func (col *replyCollector) addReply(from link.Peer, r *message.Reply) bool {
	col.mu.Lock()
	defer col.mu.Unlock()
	w := col.pending[from]
	switch {
	case w == nil || r.Try < w.try:
		return col.repeated[from]
	case r.Try > w.try: // the first part that arrives of another reply
		col.bytes -= w.bytes
		*w = partialReply{try: r.Try, last: -1}
	}
	w.heard = time.Now()
	if w.parts == nil {
		w.parts = make(map[uint32]*message.Reply, 1)
	}
	if w.parts[r.Part] != nil || w.last >= 0 && int64(r.Part) > w.last {
		return false
	}
	size := sizeOfReply(r)
	w.bytes += size
	col.bytes += size
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
	col.replies = append(col.replies, podReply{Peer: from, parts: replies, elapsed: time.Since(col.began)})
	col.changed.Wake()
	return true
}

// markMissing stops waiting for the pod, if it is pending.
func (col *replyCollector) markMissing(p link.Peer) {
	col.mu.Lock()
	defer col.mu.Unlock()
	if col.pending[p] != nil {
		col.markMissingLocked(p)
	}
}

func (col *replyCollector) markMissingLocked(p link.Peer) {
	delete(col.pending, p)
	col.missing = append(col.missing, p.Name())
	col.changed.Wake()
}

// remaining returns the time until the last deadline of the pending pods; 0 if none is pending.
func (col *replyCollector) remaining() time.Duration {
	col.mu.Lock()
	defer col.mu.Unlock()
	var left time.Duration
	passed := time.Since(col.began)
	for p := range col.pending {
		left = max(left, col.members.Deadline(p)-passed)
	}
	return left
}

// silent returns the pending pods of which nothing has arrived for repeat, and counts them as asked
// again now. next is the time until there are others; it is repeat if none can be in time.
func (col *replyCollector) silent(repeat time.Duration) (pods []link.Peer, next time.Duration) {
	col.mu.Lock()
	defer col.mu.Unlock()
	now := time.Now()
	next = repeat
	for p, w := range col.pending {
		deadline := col.began.Add(col.members.Deadline(p))
		switch due := w.heard.Add(repeat); {
		case !due.Before(deadline) || !now.Before(deadline):
			continue // too late for an answer
		case now.Before(due):
			next = min(next, due.Sub(now))
			continue
		}
		w.heard = now
		pods = append(pods, p)
		if col.repeated == nil {
			col.repeated = make(map[link.Peer]bool)
		}
		col.repeated[p] = true
	}
	return pods, next
}

// result returns the complete replies and the names of the missing pods. Pending pods count as
// missing.
func (col *replyCollector) result() ([]podReply, []string) {
	col.mu.Lock()
	defer col.mu.Unlock()
	for p := range col.pending {
		col.missing = append(col.missing, p.Name())
	}
	clear(col.pending)
	replies := col.replies
	col.replies = nil // the collector can outlive the query
	return replies, col.missing
}

// sizeOfReply estimates the memory of a reply part, in bytes.
func sizeOfReply(r *message.Reply) int {
	size := 256 + 8*len(r.Count.Hashes)
	if r.Event != nil {
		size += len(r.Event.Body)
	}
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
	size += 96 * len(r.Hosts)
	for i := range r.Listeners {
		size += 80 + len(r.Listeners[i].User) + len(r.Listeners[i].Email)
	}
	return size
}
