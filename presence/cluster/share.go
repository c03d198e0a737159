package cluster

import (
	"time"
)

// maxShared bounds the answers that are shared at a time. Beyond it everybody gets an own one.
const maxShared = 4096

// flight is a question on its way, or its answer. Who asks the same within a short time after it began shares it, so that
// no answer is older than that beside the time that it took.
type flight struct {
	began  time.Time
	done   chan struct{} // closed when answer is there
	answer answer
}

// share returns the answer to a question that was asked recently, or asks it.
func (k *asker) share(q inquiry) *flight {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	if f := k.flights[q]; f != nil && now.Sub(f.began) < k.timing.share {
		return f
	}
	f := &flight{began: now, done: make(chan struct{})}
	if k.closed {
		close(f.done)
		return f
	}
	if k.flights[q] != nil || len(k.flights) < maxShared {
		k.flights[q] = f
		time.AfterFunc(k.timing.share, func() { k.dropFlight(q, f) })
	}
	k.all.Go(func() {
		f.answer = k.find(q)
		close(f.done)
	})
	return f
}

func (k *asker) dropFlight(q inquiry, f *flight) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.flights[q] == f {
		delete(k.flights, q)
	}
}
