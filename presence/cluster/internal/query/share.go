package query

import (
	"time"
)

// maxShared limits the shared answers. Queries beyond it are not shared.
const maxShared = 4096

// sharedAnswer is a query in progress, or its answer. Equal queries share it for Timing.Share after
// it began, so an answer is at most that old, in addition to its duration. Queries.mu guards began
// and waits.
type sharedAnswer struct {
	began  time.Time
	waits  bool          // for its turn, see takeTurn; it begins later
	done   chan struct{} // closed when answer is set
	answer answer
}

// share returns the shared answer to an equal recent query, or starts a new query.
func (k *Queries) share(q queryKey) *sharedAnswer {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	if f := k.shared[q]; f != nil && (f.waits || now.Sub(f.began) < k.timing.Share) {
		return f
	}
	f := &sharedAnswer{began: now, done: make(chan struct{})}
	if k.closed {
		close(f.done)
		return f
	}
	if k.shared[q] != nil || len(k.shared) < maxShared {
		k.shared[q] = f
		time.AfterFunc(k.timing.Share, func() { k.dropFlight(q, f) })
	}
	k.all.Go(func() {
		f.answer = k.find(q, f)
		close(f.done)
	})
	return f
}

func (k *Queries) dropFlight(q queryKey, f *sharedAnswer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.shared[q] == f && !f.waits {
		delete(k.shared, q)
	}
}
