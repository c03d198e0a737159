// Package work has the parts of goroutines: a [Signal] wakes one, a [Worker] handles what others
// queue for it, [Expiries] is a list of things with the times at which they are due, and [Earliest]
// finds when to look again. Expiries has no lock: one goroutine owns it.
package work

import (
	"sync"
	"time"
)

// Worker is a goroutine that handles what is queued for it.
type Worker struct {
	Signal  // something was queued
	closing sync.Once
	done    chan struct{} // closed by Close
	ended   chan struct{} // closed when Run has returned
}

// NewWorker returns a worker. Its goroutine is Run.
func NewWorker() *Worker {
	return &Worker{Signal: NewSignal(), done: make(chan struct{}), ended: make(chan struct{})}
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
		case <-w.Signal:
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
