package pusher

import "time"

// bucket is a token bucket that is full at first, and holds as much as it gets in a second. The
// zero value is ready for use.
type bucket struct {
	spent float64   // missing tokens
	last  time.Time // of the last take
}

// take takes one token. It reports false if there is none.
func (b *bucket) take(perSecond float64, now time.Time) bool {
	b.spent = max(0, b.spent-now.Sub(b.last).Seconds()*perSecond)
	b.last = now
	if b.spent+1 > max(1, perSecond) {
		return false
	}
	b.spent++
	return true
}
