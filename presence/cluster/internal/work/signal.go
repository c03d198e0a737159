package work

import "time"

// Signal wakes one goroutine, with room for one pending wake-up. Make it with NewSignal.
type Signal chan struct{}

// NewSignal returns a signal without a pending wake-up.
func NewSignal() Signal { return make(Signal, 1) }

// Wake wakes the goroutine. It does not block.
func (s Signal) Wake() {
	select {
	case s <- struct{}{}:
	default: // a wake-up is already pending
	}
}

// Wait returns when left returns zero or less, or when done or stop is closed. left returns how
// long to wait. It is called again after each Wake, and when the time that it returned has passed.
func (s Signal) Wait(left func() time.Duration, done, stop <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait := left()
		if wait <= 0 {
			return
		}
		timer.Reset(wait)
		select {
		case <-done:
			return
		case <-stop:
			return
		case <-timer.C:
		case <-s:
		}
	}
}
