package cluster

import (
	"sync"
	"time"
)

// worker is a goroutine that handles what is queued for it.
type worker struct {
	wake    chan struct{} // something was queued; capacity 1
	closing sync.Once
	done    chan struct{} // closed by close
	ended   chan struct{} // closed when work has returned
}

func newWorker() *worker {
	return &worker{wake: make(chan struct{}, 1), done: make(chan struct{}), ended: make(chan struct{})}
}

// wakeUp wakes the worker. It does not block.
func (w *worker) wakeUp() {
	select {
	case w.wake <- struct{}{}:
	default: // a wake-up is already pending
	}
}

// work is the goroutine. step handles what was queued, and returns how long the worker may sleep.
// last is called at the end.
func (w *worker) work(step func() time.Duration, last func()) {
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

// close ends the goroutine and waits for it. Closing twice is not an error.
func (w *worker) close() {
	w.closing.Do(func() {
		close(w.done)
		<-w.ended
	})
}
