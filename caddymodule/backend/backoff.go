package backend

import (
	"math/rand/v2"
	"time"
)

// The first pause after a failure, on average half of it, and the longest.
const (
	minPause = 500 * time.Millisecond
	maxPause = time.Minute
)

// pause returns how long to wait after so many failures in a row, from 1: any time up to a bound that doubles, so that
// those who failed together do not come back together.
func pause(failures int) time.Duration {
	bound := maxPause
	if failures-1 < 7 { // 0.5 s << 7 is more than a minute
		bound = min(bound, minPause<<max(failures-1, 0))
	}
	return rand.N(bound) + 1
}
