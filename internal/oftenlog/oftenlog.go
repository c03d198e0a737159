// Package oftenlog bounds the log lines about trouble that repeats, or that outsiders can cause as often as they like.
package oftenlog

import (
	"sync"
	"time"
)

// Limit allows one line in a while and counts those in between. The zero value allows the first one. It is safe for
// concurrent use.
type Limit struct {
	mu      sync.Mutex
	last    time.Time // of the last line; zero before the first
	skipped int       // lines since then
}

// Allow reports whether to log a line now: the last one was logged at least pause ago. skipped is how many were not logged
// since then.
func (l *Limit) Allow(pause time.Duration) (skipped int, ok bool) {
	return l.AllowIf(pause, func() bool { return true })
}

// AllowIf is Allow for a line that something else limits too, such as a token bucket of many Limits. It asks also only when
// the pause is over.
func (l *Limit) AllowIf(pause time.Duration, also func() bool) (skipped int, ok bool) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.last.IsZero() && now.Sub(l.last) < pause || !also() {
		l.skipped++
		return 0, false
	}
	skipped, l.skipped, l.last = l.skipped, 0, now
	return skipped, true
}
