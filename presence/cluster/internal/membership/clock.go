package membership

import (
	"sync"
	"time"
)

// maxReading is the highest reading of the cluster's clock that is believed: JSON numbers are exact
// up to it (RFC 8259 section 6).
const maxReading = 1<<53 - 1

// clock is the cluster's clock, in milliseconds. It begins with the wall clock or the reading of
// the last run, continues with the monotonic clock, and is set forward by the readings of other
// pods. So it never goes back, and is at least as far as that of any pod that this one has heard
// of.
type clock struct {
	mu      sync.Mutex
	reading uint64    // reading at the time at
	at      time.Time // with a monotonic reading
}

func (c *clock) init(wall, now time.Time, last uint64) {
	c.reading, c.at = min(max(uint64(max(0, wall.UnixMilli())), last), maxReading), now
}

// read returns the present reading.
func (c *clock) read(now time.Time) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.readLocked(now)
}

func (c *clock) readLocked(now time.Time) uint64 {
	return min(c.reading+uint64(max(0, now.Sub(c.at).Milliseconds())), maxReading)
}

// advance sets the clock forward to the reading of another pod. Readings beyond maxReading are
// ignored.
func (c *clock) advance(reading uint64, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if reading <= maxReading && reading > c.readLocked(now) {
		c.reading, c.at = reading, now
	}
}

// Clock returns the reading of the cluster's clock, in milliseconds. It never goes back, also not
// over a restart of a pod with a [Memory], and no pod that this one has heard of was ahead of it.
func (m *Members) Clock() uint64 { return m.clock.read(time.Now()) }
