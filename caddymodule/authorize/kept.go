package authorize

import (
	"container/heap"
	"hash/maphash"
	"time"
)

const (
	// maxKept is the maximum number of kept answers of a host. When it is reached, the answer that
	// ends first makes room, so a flood of refused questions drops refusals before permissions.
	maxKept = 10_000

	// maxNo is the longest time for which a no is kept.
	maxNo = 5 * time.Second
)

// userHash stands for the ID of a user, which may be long. Two users with one hash are forgotten
// together.
type userHash uint64

var userSeed = maphash.MakeSeed()

func hashUser(id string) userHash { return userHash(maphash.String(userSeed, id)) }

// keptAnswer is an answer that is used until its end.
type keptAnswer struct {
	key    key
	user   userHash
	answer Answer
	end    time.Time
	index  int // index in kept.byEnd
}

// kept holds the answers of a host. The zero value is empty.
type kept struct {
	byKey map[key]*keptAnswer
	byEnd byEnd
}

func (k *kept) len() int { return len(k.byEnd) }

// get returns the answer that is kept under the key.
func (k *kept) get(id key, now time.Time) (Answer, bool) {
	e := k.byKey[id]
	if e == nil || !now.Before(e.end) {
		return Answer{}, false
	}
	return e.answer, true
}

// put keeps an answer, instead of an earlier one of the same key.
func (k *kept) put(id key, user userHash, a Answer, cache time.Duration, now time.Time) {
	if old := k.byKey[id]; old != nil {
		k.remove(old)
	}
	if !a.Allow {
		cache = min(cache, maxNo)
	}
	end := now.Add(cache)
	if !a.Until.IsZero() && a.Until.Before(end) {
		end = a.Until
	}
	if k.len() >= maxKept {
		k.remove(k.byEnd[0])
	}
	if k.byKey == nil {
		k.byKey = make(map[key]*keptAnswer)
	}
	e := &keptAnswer{key: id, user: user, answer: a, end: end}
	k.byKey[id] = e
	heap.Push(&k.byEnd, e)
}

// forget drops the answers for the users; for all if users is nil.
func (k *kept) forget(users map[userHash]bool) {
	if users == nil {
		*k = kept{}
		return
	}
	for _, e := range k.byKey {
		if users[e.user] {
			k.remove(e)
		}
	}
}

// sweep drops answers that have ended.
func (k *kept) sweep(now time.Time) {
	for k.len() > 0 && !now.Before(k.byEnd[0].end) {
		k.remove(k.byEnd[0])
	}
	if k.len() == 0 {
		*k = kept{} // a map does not shrink
	}
}

func (k *kept) remove(e *keptAnswer) {
	heap.Remove(&k.byEnd, e.index)
	delete(k.byKey, e.key)
}

// byEnd is a heap of answers: the one that ends first has index 0.
type byEnd []*keptAnswer

// Len implements [heap.Interface].
func (h byEnd) Len() int { return len(h) }

// Less implements [heap.Interface].
func (h byEnd) Less(i, j int) bool { return h[i].end.Before(h[j].end) }

// Swap implements [heap.Interface].
func (h byEnd) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements [heap.Interface].
func (h *byEnd) Push(x any) {
	e := x.(*keptAnswer) //nolint:forcetypeassert // only put calls it
	e.index = len(*h)
	*h = append(*h, e)
}

// Pop implements [heap.Interface].
func (h *byEnd) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}

var _ heap.Interface = (*byEnd)(nil)
