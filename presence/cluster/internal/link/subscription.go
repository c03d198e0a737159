package link

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Outsiders who cannot make payloads can record and publish them again. So each payload has a
// number, which grows during an incarnation of its pod, and is used once:
//
//   - Of a pod that is not a member, only heartbeats are used, and they only cause a probe. The
//     answer to the probe cannot have been recorded.
//   - A subscription remembers the last numbers of each member, and drops payloads with these
//     numbers.
//   - A payload is too old for a subscription if it was published before the subscription or more
//     than MaxAge ago. The numbers of earlier heartbeats show which payloads were published before
//     a time. Only the clock of this pod counts.

// MaxAge is the maximum age of a payload.
const MaxAge = 30 * time.Second

// Order is how late a payload can arrive after others of its pod in one subscription, in blocks of
// numbers.
type Order int

const (
	// Unordered remembers no numbers. It is for the shards of channels, of which there are many:
	// their deltas have clocks.
	Unordered Order = 0
	// Strict is for messages: a listener receives them in the order in which they were sent, or
	// not at all.
	Strict Order = 1
	// Loose is for payloads whose order does not matter. A payload gets its number before it is
	// encoded, and while a long one is encoded, other goroutines of its pod publish thousands of
	// short ones.
	Loose Order = 512
)

// Subscription is a subscription, with the numbers of its payloads.
type Subscription struct {
	link   *Link
	order  Order
	cancel func()
	since  time.Time // payloads published before it are dropped

	mu      sync.Mutex
	windows map[Peer]*window // windows of members; guarded by mu
}

// End ends the subscription. Ending it twice is not an error.
func (r *Subscription) End() {
	r.cancel()
	r.link.mu.Lock()
	defer r.link.mu.Unlock()
	delete(r.link.subscriptions, r)
}

// window has the numbers of the last payloads of a pod. When it has as many blocks as the order
// allows, numbers before the first block are too late.
type window struct{ blocks []block } // sorted

// block has the numbers from index * blockSize to (index+1) * blockSize - 1.
type block struct {
	index uint64
	seen  uint64 // a bit for each number
}

const blockSize = 64

// accept reports whether the pod is a member, and whether its payload with that number is neither
// old nor repeated.
func (r *Subscription) accept(from Peer, seq uint64) (alive, fresh bool) {
	r.mu.Lock()
	defer r.mu.Unlock() // lock across standing, so that Forget comes later and leaves no window of a pod that has left
	alive, old := r.link.standing(from, seq, r.since)
	if !alive || old || r.order == Unordered {
		return alive, !old
	}
	w := r.windows[from]
	if w == nil {
		if r.windows == nil {
			r.windows = make(map[Peer]*window)
		}
		w = new(window)
		r.windows[from] = w
	}
	return true, w.add(seq, r.order)
}

// add adds a number, and reports whether it is new.
func (w *window) add(seq uint64, o Order) bool {
	index, bit := seq/blockSize, uint64(1)<<(seq%blockSize)
	mark := bit
	if o == Strict {
		mark = bit<<1 - 1 // lower numbers are too late
	}
	i, known := slices.BinarySearchFunc(w.blocks, index, func(b block, index uint64) int { return cmp.Compare(b.index, index) })
	switch {
	case known:
		fresh := w.blocks[i].seen&bit == 0
		w.blocks[i].seen |= mark
		return fresh
	case i == 0 && len(w.blocks) == int(o):
		return false
	}
	w.blocks = slices.Insert(w.blocks, i, block{index, mark})
	if len(w.blocks) > int(o) {
		w.blocks = slices.Delete(w.blocks, 0, 1)
	}
	return true
}
