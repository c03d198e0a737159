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
func (c *Cluster) share(q inquiry) *flight {
	a := &c.asking
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if f := a.flights[q]; f != nil && now.Sub(f.began) < c.timing.share {
		return f
	}
	f := &flight{began: now, done: make(chan struct{})}
	if a.closed {
		close(f.done)
		return f
	}
	if a.flights[q] != nil || len(a.flights) < maxShared {
		a.flights[q] = f
		time.AfterFunc(c.timing.share, func() { a.dropFlight(q, f) })
	}
	c.all.Go(func() {
		f.answer = c.find(q)
		close(f.done)
	})
	return f
}

func (a *asking) dropFlight(q inquiry, f *flight) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.flights[q] == f {
		delete(a.flights, q)
	}
}
