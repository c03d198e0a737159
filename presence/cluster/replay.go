package cluster

import (
	"cmp"
	"slices"
	"sort"
	"sync"
	"time"
)

// Payloads are recorded and published again by outsiders who cannot make any. Each has a number, which grows with each of
// the run of its pod, and is used once:
//
//   - Of a pod that this one does not know, no payload is used but heartbeats, and these lead to a probe: what answers it
//     cannot have been recorded.
//   - A subscription remembers the last numbers of each pod that is alive, and drops those that it has had.
//   - A payload is too old for a subscription if it was published before it, or more than maxAge ago. What was published
//     before a time is known by the last heartbeat that was heard until then. Only the clock of this pod counts.

// maxAge is how old a payload can be that is used.
const maxAge = 30 * time.Second

// order is how late a payload can come after others of its pod by the same subscription, in blocks of numbers.
type order int

const (
	// unordered remembers nothing. It is for channels, of which there are many, and for deltas, which have clocks.
	unordered order = 0
	// strictly is for messages: a listener gets them in the order in which they were sent, or not at all.
	strictly order = 1
	// loosely is for payloads that make sense in any order. A payload gets its number before it is encoded, and the other
	// goroutines of its pod publish thousands of short ones while a long one is encoded.
	loosely order = 512
)

// received is a subscription, and what is remembered of its payloads.
type received struct {
	link   *link
	order  order
	cancel func()

	mu      sync.Mutex
	since   time.Time        // payloads of before are not for it; guarded by mu
	windows map[peer]*window // of pods that are alive; guarded by mu
}

// end ends the subscription. Ending it twice is not an error.
func (r *received) end() {
	r.cancel()
	r.link.mu.Lock()
	defer r.link.mu.Unlock()
	delete(r.link.received, r)
}

// renew is for a subscription that is used for something new, for which payloads of before are not.
func (r *received) renew() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.since = time.Now()
}

// window has the numbers of the last payloads of a pod. Once there are as many blocks as the order allows, numbers below
// the first block are too late.
type window struct{ blocks []block } // sorted

// block has the numbers from index * blockSize on.
type block struct {
	index uint64
	seen  uint64 // a bit for each number
}

const blockSize = 64

// first reports whether the pod is alive, and whether its payload of that number is neither old nor a repetition.
func (r *received) first(from peer, seq uint64) (alive, fresh bool) {
	r.mu.Lock()
	defer r.mu.Unlock() // so that forget comes after the judgement, and no window is left of a pod that is gone
	alive, old := r.link.standing(from, seq, r.since)
	if !alive || old || r.order == unordered {
		return alive, !old
	}
	w := r.windows[from]
	if w == nil {
		if r.windows == nil {
			r.windows = make(map[peer]*window)
		}
		w = new(window)
		r.windows[from] = w
	}
	return true, w.add(seq, r.order)
}

// add reports whether the number is new, and remembers it.
func (w *window) add(seq uint64, o order) bool {
	index, bit := seq/blockSize, uint64(1)<<(seq%blockSize)
	mark := bit
	if o == strictly {
		mark = bit<<1 - 1 // lower ones are too late
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

// history is which numbers of payloads of a pod were heard when, for maxAge.
type history []heard

type heard struct {
	at  time.Time
	seq uint64
}

// historyStep is how far apart its entries are at least.
const historyStep = 500 * time.Millisecond

// add adds a heartbeat. Numbers and times grow.
func (h *history) add(at time.Time, seq uint64) {
	if n := len(*h); n > 1 && at.Sub((*h)[n-2].at) < historyStep {
		(*h)[n-1] = heard{at, seq} // the last one counts for the time since
		return
	}
	*h = append(*h, heard{at, seq})
	if len(*h) > 1 && at.Sub((*h)[1].at) >= maxAge {
		*h = slices.Delete(*h, 0, 1)
	}
}

// until returns the last number that was heard until then, or the first one that is known.
func (h history) until(then time.Time) uint64 {
	i := sort.Search(len(h), func(i int) bool { return h[i].at.After(then) })
	return h[max(0, i-1)].seq
}
