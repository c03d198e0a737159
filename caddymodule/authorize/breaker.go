package authorize

import (
	"math/rand/v2"
	"time"
)

const (
	// tripAfter is the number of failures in a row, without any answer between, after which
	// questions pause.
	tripAfter = 10

	minPause = time.Second
	maxPause = 30 * time.Second
)

// breaker stops questions to a backend that does not answer: each would wait for its timeout, and
// hold a slot meanwhile. After a pause it lets one question through at a time, until one is
// answered. The lock of the host guards it.
type breaker struct {
	url      string // what the state is about; another URL starts with a closed breaker
	failures int    // since the last answer
	since    time.Time
	pauses   int // since the last answer
	until    time.Time
}

// allows reports whether a question may start, while others are under way or queued.
func (b *breaker) allows(url string, others int, now time.Time) bool {
	if b.url != url {
		*b = breaker{url: url}
	}
	return !b.tripped() || others == 0 && !now.Before(b.until)
}

func (b *breaker) tripped() bool { return b.failures >= tripAfter }

// fail records that a backend is down. It reports whether that starts a pause.
func (b *breaker) fail(url string, now time.Time) bool {
	if b.url != url {
		return false
	}
	if b.failures == 0 {
		b.since = now
	}
	b.failures++
	if !b.tripped() || now.Before(b.until) { // failures of questions from before a pause do not extend it
		return false
	}
	pause := min(minPause<<min(b.pauses, 10), maxPause)
	b.until = now.Add(pause/2 + rand.N(pause/2))
	b.pauses++
	return true
}

// succeed records an answer. It returns how long there was none, and whether the breaker had
// tripped.
func (b *breaker) succeed(url string, now time.Time) (down time.Duration, tripped bool) {
	if b.url != url {
		return 0, false
	}
	down, tripped = now.Sub(b.since), b.tripped()
	*b = breaker{url: url}
	return down, tripped
}
