// Package work has the parts of goroutines: a [Worker] handles what others queue for it, and
// [Expiries] is a list of things with the times at which they are due. Expiries has no lock: one
// goroutine owns it.
package work

import (
	"sync"
	"time"
)

// Worker is a goroutine that handles what is queued for it.
type Worker struct {
	wake    chan struct{} // something was queued; capacity 1
	closing sync.Once
	done    chan struct{} // closed by Close
	ended   chan struct{} // closed when Run has returned
}

// NewWorker returns a worker. Its goroutine is Run.
func NewWorker() *Worker {
	return &Worker{wake: make(chan struct{}, 1), done: make(chan struct{}), ended: make(chan struct{})}
}

// Wake wakes the worker. It does not block.
func (w *Worker) Wake() {
	select {
	case w.wake <- struct{}{}:
	default: // a wake-up is already pending
	}
}

// Run is the goroutine. step handles what was queued, and returns how long the worker may sleep.
// last is called at the end.
func (w *Worker) Run(step func() time.Duration, last func()) {
	defer close(w.ended)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-w.done:
			last()
			return
		case <-w.wake:
		case <-timer.C:
		}
		timer.Reset(step())
	}
}

// Close ends the goroutine and waits for it. Closing twice is not an error.
func (w *Worker) Close() {
	w.closing.Do(func() {
		close(w.done)
		<-w.ended
	})
}
