package work

import "time"

// Earliest returns the earliest time, and the zero time if there is none. A zero time is none.
func Earliest(times ...time.Time) (first time.Time) {
	for _, t := range times {
		if first.IsZero() || !t.IsZero() && t.Before(first) {
			first = t
		}
	}
	return first
}
