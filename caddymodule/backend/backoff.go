package backend

import (
	"math/rand/v2"
	"time"
)

// Upper bounds of the pause after the first failure, and of any pause.
const (
	minPause = 500 * time.Millisecond
	maxPause = time.Minute
)

// pause returns the pause after the given number of consecutive failures, at least 1. It is random,
// up to a bound that doubles, so that lanes that failed together do not retry together.
func pause(failures int) time.Duration {
	bound := maxPause
	if failures-1 < 7 { // 0.5 s << 7 is more than a minute
		bound = min(bound, minPause<<max(failures-1, 0))
	}
	return rand.N(bound) + 1
}
