package plugins

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// The rules of the breaker.
const (
	breakerWindow   = 20 // calls
	breakerFailures = 5
	breakerFirst    = time.Second
	breakerLongest  = time.Minute
)

// The states of a breaker.
const (
	breakerClosed uint32 = iota
	breakerOpen
	breakerHalfOpen
)

var breakerNames = [...]string{"closed", "open", "half-open"}

var errProbing = errors.New("failed too often; another call is trying whether it works again")

// breaker keeps calls away from a plugin that keeps failing for a host.
type breaker struct {
	state atomic.Uint32

	mu       sync.Mutex
	failures [breakerWindow]uint64 // the numbers of the calls that failed last
	count    int                   // failures since base
	base     uint64                // the number of the call when the breaker was last closed
	until    time.Time
	pause    time.Duration
}

// admit decides about a call while the breaker is not closed: it goes through as a probe, or fails.
func (b *breaker) admit() (probe bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.state.Load() {
	case breakerClosed:
		return false, nil
	case breakerHalfOpen:
		return false, errProbing
	}
	if left := time.Until(b.until); left > 0 {
		return false, fmt.Errorf("failed too often, not called for another %v", left.Round(time.Millisecond))
	}
	b.state.Store(breakerHalfOpen)
	return true, nil
}

// failed takes note of a failure of call number n. It returns for how long that opened the breaker: 0 when it did not.
func (b *breaker) failed(n uint64, probe bool) (pause time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if probe {
		b.pause = min(2*b.pause, breakerLongest)
		b.open()
		return b.pause
	}
	if b.state.Load() != breakerClosed {
		return 0
	}
	b.failures[b.count%breakerWindow] = n
	b.count++
	lately := 0
	for _, f := range b.failures[:min(b.count, breakerWindow)] {
		if f+breakerWindow > n {
			lately++
		}
	}
	if lately < breakerFailures || 2*uint64(lately) < min(breakerWindow, n-min(n, b.base)) {
		return 0
	}
	b.pause = breakerFirst
	b.open()
	return b.pause
}

func (b *breaker) open() {
	b.until = time.Now().Add(b.pause)
	b.state.Store(breakerOpen)
}

// worked closes the breaker after a probe; n is the number of its call.
func (b *breaker) worked(n uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.base, b.count = n, 0
	b.state.Store(breakerClosed)
}

// undecided gives the probe to the next call: this one says nothing of the plugin.
func (b *breaker) undecided() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.Load() == breakerHalfOpen {
		b.state.Store(breakerOpen)
	}
}
