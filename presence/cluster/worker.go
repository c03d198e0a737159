package cluster

import (
	"sync"
	"time"
)

// worker is a goroutine that does what was noted for it.
type worker struct {
	wake    chan struct{} // has room for one: something was noted
	closing sync.Once
	done    chan struct{} // closed by close
	ended   chan struct{} // closed when work has returned
}

func newWorker() *worker {
	return &worker{wake: make(chan struct{}, 1), done: make(chan struct{}), ended: make(chan struct{})}
}

// rouse has the worker look soon at what was noted. It does not block.
func (w *worker) rouse() {
	select {
	case w.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// work is the goroutine. A step does what was noted, and returns how long there is nothing to do if nothing comes; last is
// called at the end.
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

// close ends the goroutine and waits for that. Closing twice is not an error.
func (w *worker) close() {
	w.closing.Do(func() {
		close(w.done)
		<-w.ended
	})
}
