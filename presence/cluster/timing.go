package cluster

import "time"

// timing is when things happen. Tests use other values than [defaultTiming].
type timing struct {
	heartbeat time.Duration // between two heartbeats
	suspect   time.Duration // a pod that is silent for so long is not waited for by joiners
	gone      time.Duration // a pod that is silent for so long has ended
	paused    time.Duration // an own heartbeat that is later than this means that this process did not run

	quiet    time.Duration // ready when nobody new was heard of for so long
	earliest time.Duration // but not before
	latest   time.Duration // and then at any rate

	remember time.Duration // how long pods that ended without a goodbye are remembered
	crashed  time.Duration // the same, if their data center goes on without them
	share    time.Duration // how long an answer serves others who ask the same

	timeout time.Duration // for answers of pods of the same data center, Config.Timeout
	remote  time.Duration // for answers of pods of other data centers, Config.Remote

	coalesce time.Duration // changes of a channel within this time go out together
	check    time.Duration // between two checks of a watched channel with a pod

	// linger is how long a subscription outlives its last use: a page that is loaded again is back sooner.
	linger time.Duration

	// stall is called before each look at the clock. Tests stop the process with it. Default: nothing.
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
