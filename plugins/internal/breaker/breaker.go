// Package breaker stops calls to a plugin that keeps failing.
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

// States of a breaker.
const (
	closed uint32 = iota
	open
	halfOpen
)

var names = [...]string{"closed", "open", "half-open"}

var errProbing = errors.New("failed too often; another call is testing whether it works again")

// Breaker stops calls to a plugin that keeps failing for a host. The zero value is closed.
type Breaker struct {
	state atomic.Uint32

	mu     sync.Mutex
	failed [window]uint64 // numbers of the calls that failed last, a ring
	count  int            // failures since base
	base   uint64         // number of the call that closed the breaker; 0 at first
	until  time.Time
	pause  time.Duration
}

// Closed reports whether all calls are let through.
func (b *Breaker) Closed() bool { return b.state.Load() == closed }

// String returns "closed", "open" or "half-open".
func (b *Breaker) String() string { return names[b.state.Load()] }

// Admit decides about a call while the breaker is not closed: it lets the call through as a probe,
// or returns an error.
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

// RecordFailure records that call number n failed. If that opens the breaker, it returns the pause;
// otherwise 0.
func (b *Breaker) RecordFailure(n uint64, probe bool) (pause time.Duration) {
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
	recent := 0
	for _, f := range b.failed[:min(b.count, window)] {
		if f+window > n {
			recent++
		}
	}
	if recent < failures || 2*uint64(recent) < min(window, n-min(n, b.base)) {
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

// Reset closes the breaker after a successful probe; n is the number of its call.
func (b *Breaker) Reset(n uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.base, b.count = n, 0
	b.state.Store(closed)
}

// ReturnProbe leaves the probe to the next call, because this one says nothing about the plugin.
func (b *Breaker) ReturnProbe() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.Load() == halfOpen {
		b.state.Store(open)
	}
}
