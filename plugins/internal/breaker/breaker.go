// Package breaker keeps calls away from what keeps failing.
package breaker

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	window   = 20 // calls
	failures = 5
	first    = time.Second
	longest  = time.Minute
)

// The states of a breaker.
const (
	closed uint32 = iota
	open
	halfOpen
)

var names = [...]string{"closed", "open", "half-open"}

var errProbing = errors.New("failed too often; another call is trying whether it works again")

// Breaker keeps calls away from a plugin that keeps failing for a host.
type Breaker struct {
	state atomic.Uint32

	mu     sync.Mutex
	failed [window]uint64 // the numbers of the calls that failed last
	count  int            // failures since base
	base   uint64         // the number of the call when the breaker was last closed
	until  time.Time
	pause  time.Duration
}

// Closed reports whether all calls go through.
func (b *Breaker) Closed() bool { return b.state.Load() == closed }

// String returns "closed", "open" or "half-open".
func (b *Breaker) String() string { return names[b.state.Load()] }

// Admit decides about a call while the breaker is not closed: it goes through as a probe, or fails.
func (b *Breaker) Admit() (probe bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.state.Load() {
	case closed:
		return false, nil
	case halfOpen:
		return false, errProbing
	}
	if left := time.Until(b.until); left > 0 {
		return false, fmt.Errorf("failed too often, not called for another %v", left.Round(time.Millisecond))
	}
	b.state.Store(halfOpen)
	return true, nil
}

// Failed takes note of a failure of call number n. It returns for how long that opened the breaker: 0 when it did not.
func (b *Breaker) Failed(n uint64, probe bool) (pause time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if probe {
		b.pause = min(2*b.pause, longest)
		b.open()
		return b.pause
	}
	if b.state.Load() != closed {
		return 0
	}
	b.failed[b.count%window] = n
	b.count++
	lately := 0
	for _, f := range b.failed[:min(b.count, window)] {
		if f+window > n {
			lately++
		}
	}
	if lately < failures || 2*uint64(lately) < min(window, n-min(n, b.base)) {
		return 0
	}
	b.pause = first
	b.open()
	return b.pause
}

func (b *Breaker) open() {
	b.until = time.Now().Add(b.pause)
	b.state.Store(open)
}

// Worked closes the breaker after a probe; n is the number of its call.
func (b *Breaker) Worked(n uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.base, b.count = n, 0
	b.state.Store(closed)
}

// Undecided gives the probe to the next call: this one says nothing of the plugin.
func (b *Breaker) Undecided() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.Load() == halfOpen {
		b.state.Store(open)
	}
}
