// Package oftenlog limits log lines about repeated events that may be frequent or under the control
// of outsiders.
package oftenlog

import (
	"sync"
	"time"
)

// Limit allows one line per pause and counts the skipped ones. The zero value allows the first
// line. It is safe for concurrent use.
type Limit struct {
	mu      sync.Mutex
	last    time.Time // time of the last line; zero before the first
	skipped int       // lines since then
}

// Allow reports whether to log a line now, at least pause after the last one. skipped is the number
// of lines that were not logged since then.
func (l *Limit) Allow(pause time.Duration) (skipped int, ok bool) {
	return l.AllowIf(pause, func() bool { return true })
}

// AllowIf is Allow with a second limit, such as a token bucket that several Limits share. It calls
// also only when the pause is over.
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
