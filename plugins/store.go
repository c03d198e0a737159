package plugins

import (
	"container/heap"
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"sync"

	"github.com/rollcall-gateway/rollcall/plugins/internal/memory"
)

const (
	// entryBytes is what an entry counts in addition to its key and its value.
	entryBytes = 64
	// storeBytes is what a store is charged in addition to its entries, by the engine alone.
	storeBytes = 512
	// storeKeepsUp is the most expired entries that a call removes to make room. The largest entry
	// needs 66, unless the quota became smaller.
	storeKeepsUp = 256
	// largestSum is the largest sum of kv_add; noSum is its result without a sum.
	largestSum = math.MaxInt64 - 1
	noSum      = math.MaxInt64
)

// outcome is the result of a change of a store.
type outcome uint8

const (
	stored outcome = iota
	// storeFull: the change would exceed the quota of the host.
	storeFull
	// storeShort: the change would exceed the memory of the engine.
	storeShort
	// storeMistyped: the value is not a counter.
	storeMistyped
	// storeGone: the store has ended. There may be another.
	storeGone
)

// store holds what one plugin stores for one host. The fields are guarded by mu, which is never
// held while a guest runs or room is made.
type store struct {
	mu      sync.Mutex
	gone    bool
	budget  *memory.Budget
	charged bool  // storeBytes are charged
	used    int64 // bytes of the entries, as they count
	peak    int   // largest number of entries since entries was made
	entries map[string]*item
	expiry  expiryHeap
}

// item is a key with a value. A value of 8 bytes is kept as a number, because it may be a counter.
type item struct {
	key     string
	value   string
	number  uint64
	counter bool
	expires int64 // time of Engine.clock, in nanoseconds
	place   int   // in the heap
}

func (e *item) size() int64 {
	if e.counter {
		return entrySize(len(e.key), 8)
	}
	return entrySize(len(e.key), len(e.value))
}

func (e *item) set(value []byte) {
	e.value, e.number, e.counter = "", 0, len(value) == 8
	if e.counter {
		e.number = binary.LittleEndian.Uint64(value)
	} else {
		e.value = string(value)
	}
}

func entrySize(key, value int) int64 { return int64(key) + int64(value) + entryBytes }

func newStore(b *memory.Budget) *store {
	return &store{budget: b, entries: make(map[string]*item)}
}

// find returns the entry of a key, or nil. It removes an expired one.
func (s *store) find(key []byte, now int64) *item {
	e := s.entries[string(key)]
	if e != nil && e.expires <= now {
		s.remove(e)
		return nil
	}
	return e
}

// get returns a copy of the entry of a key. It reports whether there is one.
func (s *store) get(key []byte, now int64) (item, bool) {
	if e := s.find(key, now); e != nil {
		return *e, true
	}
	return item{}, false
}

// set stores a value until expires, or removes the key if expires is not after now. Without room
// the old value stays.
func (s *store) set(key, value []byte, now, expires, quota int64) outcome {
	e := s.find(key, now)
	switch {
	case expires <= now:
		if e != nil {
			s.remove(e)
		}
		return stored
	case e == nil:
		if o := s.reserve(entrySize(len(key), len(value)), now, quota); o != stored {
			return o
		}
		e = &item{key: string(key), expires: expires}
		e.set(value)
		s.insert(e)
		return stored
	}
	if o := s.reserve(entrySize(len(key), len(value))-e.size(), now, quota); o != stored {
		return o
	}
	e.set(value)
	e.expires = expires
	heap.Fix(&s.expiry, e.place)
	return stored
}

// add adds to a counter and returns the sum. A new counter ends at expires.
func (s *store) add(key []byte, delta, now, expires, quota int64) (int64, outcome) {
	e := s.find(key, now)
	if e == nil {
		if o := s.reserve(entrySize(len(key), 8), now, quota); o != stored {
			return noSum, o
		}
		e = &item{key: string(key), expires: expires, counter: true}
		s.insert(e)
	}
	if !e.counter {
		return noSum, storeMistyped
	}
	sum := boundedSum(int64(e.number), delta)
	e.number = uint64(sum)
	return sum, stored
}

func boundedSum(a, b int64) int64 {
	sum := a + b
	switch {
	case a > 0 && b > 0 && sum < 0:
		return largestSum
	case a < 0 && b < 0 && sum >= 0:
		return -largestSum
	}
	return min(max(sum, -largestSum), largestSum)
}

// reserve counts n bytes more, after removing expired entries if necessary. A negative n always
// fits.
func (s *store) reserve(n, now, quota int64) outcome {
	for range 2 { // keeps the number of expired entries small without looking for them
		s.expireFirst(now)
	}
	if n > 0 {
		for range storeKeepsUp {
			if s.used+n <= quota || !s.expireFirst(now) {
				break
			}
		}
		if s.used+n > quota {
			return storeFull
		}
		charge := n
		if !s.charged {
			charge += storeBytes
		}
		if !s.budget.Charge(charge) {
			return storeShort
		}
		s.charged = true
	} else {
		s.budget.Add(n)
	}
	s.used += n
	return stored
}

func (s *store) insert(e *item) {
	s.entries[e.key] = e
	s.peak = max(s.peak, len(s.entries))
	heap.Push(&s.expiry, e)
}

func (s *store) remove(e *item) {
	delete(s.entries, e.key)
	heap.Remove(&s.expiry, e.place)
	n := e.size()
	s.used -= n
	s.budget.Add(-n)
}

// expireFirst removes the entry that expires first if it has expired, and reports whether it did.
func (s *store) expireFirst(now int64) bool {
	if len(s.expiry) == 0 || s.expiry[0].expires > now {
		return false
	}
	s.remove(s.expiry[0])
	return true
}

// expire removes up to most expired entries, and reports whether there may be more.
func (s *store) expire(now int64, most int) (more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range most {
		if !s.expireFirst(now) {
			s.shrink()
			return false
		}
	}
	return true
}

// shrink returns the memory of a map and a heap that were much larger before.
func (s *store) shrink() {
	const least = 64
	if s.peak < least || len(s.entries) > s.peak/4 {
		return
	}
	entries := make(map[string]*item, len(s.entries))
	maps.Copy(entries, s.entries)
	s.entries, s.peak, s.expiry = entries, len(entries), slices.Clone(s.expiry)
}

// end empties the store and marks it as gone; with onlyEmpty, only if it has no entries. It reports
// whether the store is gone.
func (s *store) end(onlyEmpty bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone || onlyEmpty && len(s.entries) > 0 {
		return s.gone
	}
	s.budget.Add(-s.cost())
	s.gone, s.charged, s.used, s.entries, s.expiry = true, false, 0, nil, nil
	return true
}

// cost is what the store is charged.
func (s *store) cost() int64 {
	if s.charged {
		return s.used + storeBytes
	}
	return s.used
}

// moveTo charges the store to another budget. It may exceed the limit of that.
func (s *store) moveTo(b *memory.Budget) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.budget == b {
		return
	}
	s.budget.Add(-s.cost())
	b.Add(s.cost())
	s.budget = b
}

// size returns the number of entries that have not expired, and their bytes. It removes expired
// ones.
func (s *store) size(now int64) (entries int, bytes int64) {
	for s.expire(now, sweepEntries) {
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries), s.used
}

// expiryHeap has the entry that expires first at its top.
type expiryHeap []*item

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].expires < h[j].expires }

func (h expiryHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push implements heap.Interface.
func (h *expiryHeap) Push(x any) {
	e := x.(*item)
	e.place = len(*h)
	*h = append(*h, e)
}

// Pop implements heap.Interface.
func (h *expiryHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}
