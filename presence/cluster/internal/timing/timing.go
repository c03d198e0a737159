// Package timing has the durations of the cluster, for example the silence after which a pod counts
// as lost. It has no state.
package timing

import "time"

// Timing has the times of a pod. Tests use other values than those of [Default].
type Timing struct {
	Heartbeat time.Duration // time between two heartbeats
	Suspect   time.Duration // silence after which joins do not wait for a pod
	Gone      time.Duration // silence after which a pod counts as lost
	Paused    time.Duration // delay of an own heartbeat that shows that this process did not run

	Quiet    time.Duration // time without a new pod until this one is ready
	Earliest time.Duration // minimum time until this pod is ready
	Latest   time.Duration // maximum time until this pod is ready

	Remember time.Duration // how long ended and missing pods are remembered
	Share    time.Duration // how long an answer is shared with equal queries

	Timeout time.Duration // deadline of replies in the same data center
	Remote  time.Duration // deadline of replies in other data centers

	Repeat time.Duration // silence after which a pod is sent an unanswered question again

	Coalesce time.Duration // time within which changes of a channel are sent together
	Check    time.Duration // a pod sends each other one a sum somewhat more often; a check waits that long for its answer

	// Linger is how long a subscription outlives its last use, because a page that reloads comes
	// back sooner.
	Linger time.Duration

	// Wall is the wall clock. If nil, time.Now is. It only says when this pod was started:
	// intervals are measured without it.
	Wall func() time.Time
	// Slept returns how long the machine has been suspended since its start, in which the clock of
	// intervals stands still. If nil, the kernel is asked.
	Slept func() time.Duration

	// Stall is called before each use of the clock, for tests that stop the process. If nil, it is
	// not called.
	Stall func()
}

// WallTime returns the time of the wall clock.
func (t *Timing) WallTime() time.Time {
	if t.Wall != nil {
		return t.Wall()
	}
	return time.Now().Round(0)
}

// SleptTime returns how long the machine has been suspended since its start.
func (t *Timing) SleptTime() time.Duration {
	if t.Slept != nil {
		return t.Slept()
	}
	return slept()
}

// Default returns the times that are used outside of tests.
func Default() Timing {
	return Timing{
		Heartbeat: time.Second,
		Suspect:   3 * time.Second,
		Gone:      5 * time.Second,
		Paused:    2 * time.Second,
		Quiet:     time.Second,
		Earliest:  1500 * time.Millisecond,
		Latest:    5 * time.Second,
		Remember:  24 * time.Hour,
		Share:     100 * time.Millisecond,
		Timeout:   500 * time.Millisecond,
		Remote:    1500 * time.Millisecond,
		Repeat:    300 * time.Millisecond,
		Coalesce:  10 * time.Millisecond,
		Check:     5 * time.Second,
		Linger:    5 * time.Second,
	}
}
