package cluster

import "time"

// timing has the times of the package. Tests use other values than [defaultTiming].
type timing struct {
	heartbeat time.Duration // time between two heartbeats
	suspect   time.Duration // silence after which joins do not wait for a pod
	gone      time.Duration // silence after which a pod counts as lost
	paused    time.Duration // delay of an own heartbeat that shows that this process did not run

	quiet    time.Duration // time without a new pod until this one is ready
	earliest time.Duration // minimum time until this pod is ready
	latest   time.Duration // maximum time until this pod is ready

	remember time.Duration // how long pods that ended without a goodbye are remembered
	crashed  time.Duration // the same, if their data center is not partitioned
	share    time.Duration // how long an answer is shared with equal queries

	timeout time.Duration // deadline of replies in the same data center, see Config.Timeout
	remote  time.Duration // deadline of replies in other data centers, see Config.Remote

	coalesce time.Duration // time within which changes of a channel are sent together
	check    time.Duration // time between two checks of a watched channel with a pod

	// linger is how long a subscription outlives its last use, because a page that reloads comes
	// back sooner.
	linger time.Duration

	// stall is called before each use of the clock, for tests that stop the process. If nil, it is
	// not called.
	stall func()
}

var defaultTiming = timing{
	heartbeat: time.Second,
	suspect:   3 * time.Second,
	gone:      5 * time.Second,
	paused:    2 * time.Second,
	quiet:     time.Second,
	earliest:  1500 * time.Millisecond,
	latest:    5 * time.Second,
	remember:  24 * time.Hour,
	crashed:   10 * time.Minute,
	share:     100 * time.Millisecond,
	timeout:   500 * time.Millisecond,
	remote:    1500 * time.Millisecond,
	coalesce:  10 * time.Millisecond,
	check:     5 * time.Second,
	linger:    5 * time.Second,
}
