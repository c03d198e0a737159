package plugins

import "sync/atomic"

// StepBuckets are the upper bounds of the histogram of steps. A last bucket counts larger values.
var StepBuckets = [...]int64{10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000}

const (
	stepBuckets   = len(StepBuckets) + 1
	reasonCount   = len(Reasons)
	counterShards = 8
)

// Counters counts the calls of one plugin for one host. The zero value is ready. The embedder owns
// it, so that it outlives plugins and reloads. A Counters must not be copied.
type Counters struct {
	// shards keep instances that work at the same time from writing to the same cache lines.
	shards     [counterShards]atomic.Pointer[counterShard]
	failed     [hookCount][reasonCount]atomic.Uint64
	refused    [hookCount]atomic.Uint64
	restarts   [reasonCount]atomic.Uint64
	recycled   atomic.Uint64
	logDropped atomic.Uint64
	initSteps  atomic.Uint64
}

// Calls of fewer than fewSteps steps are counted by their exact number. Their sum follows from that
// and needs no counter.
const fewSteps = 16

type counterShard struct {
	_     [64]byte
	few   [hookCount][fewSteps]atomic.Uint64
	steps [hookCount][stepBuckets]atomic.Uint64 // calls of fewSteps or more
	sum   [hookCount]atomic.Uint64
	_     [64]byte
}

// CountersSnapshot holds the values of [Counters] at one moment. They only grow.
type CountersSnapshot struct {
	// OK counts the calls that succeeded, by hook.
	OK [hookCount]uint64
	// Refused counts the calls of connect and message, among OK, that refused what they were asked
	// about.
	Refused [hookCount]uint64
	// Failed counts the calls that failed, by hook and by the index of the reason in [Reasons].
	Failed [hookCount][len(Reasons)]uint64
	// Steps is a histogram of the steps of calls that succeeded, by hook: the number in each bucket
	// of [StepBuckets], not cumulative, and the sum.
	Steps    [hookCount][len(StepBuckets) + 1]uint64
	StepsSum [hookCount]uint64
	// Restarts counts the instances that were discarded, by the index of the reason in [Reasons].
	Restarts [len(Reasons)]uint64
	// Recycled counts the instances that were replaced without a failure, because of their age or
	// the size of their memory.
	Recycled uint64
	// InitSteps is the number of steps spent on making instances: start function, _initialize and
	// configure.
	InitSteps uint64
	// LogDropped counts the lines of guests that were not logged.
	LogDropped uint64
}

// Read returns the current values.
func (c *Counters) Read() CountersSnapshot {
	s := CountersSnapshot{
		Recycled: c.recycled.Load(), InitSteps: c.initSteps.Load(), LogDropped: c.logDropped.Load(),
	}
	for i := range c.shards {
		shard := c.shards[i].Load()
		if shard == nil {
			continue
		}
		for h := range hookCount {
			for steps := range fewSteps {
				n := shard.few[h][steps].Load()
				s.Steps[h][stepBucket(int64(steps))] += n
				s.StepsSum[h] += n * uint64(steps)
				s.OK[h] += n
			}
			for b := range stepBuckets {
				n := shard.steps[h][b].Load()
				s.Steps[h][b] += n
				s.OK[h] += n
			}
			s.StepsSum[h] += shard.sum[h].Load()
		}
	}
	for h := range hookCount {
		s.Refused[h] = c.refused[h].Load()
		for r := range reasonCount {
			s.Failed[h][r] = c.failed[h][r].Load()
		}
	}
	for r := range reasonCount {
		s.Restarts[r] = c.restarts[r].Load()
	}
	return s
}

// shard returns the shard of an instance by its number in the pool.
func (c *Counters) shard(number int) *counterShard {
	p := &c.shards[number%counterShards]
	if s := p.Load(); s != nil {
		return s
	}
	p.CompareAndSwap(nil, new(counterShard))
	return p.Load()
}

// add counts a call that succeeded.
func (s *counterShard) add(h Hook, steps int64) {
	if steps < fewSteps {
		s.few[h][steps].Add(1)
		return
	}
	s.steps[h][stepBucket(steps)].Add(1)
	s.sum[h].Add(uint64(steps))
}

func stepBucket(steps int64) (b int) {
	for b < len(StepBuckets) && steps > StepBuckets[b] {
		b++
	}
	return b
}

func reasonIndex(r Reason) int {
	for i, known := range Reasons {
		if r == known {
			return i
		}
	}
	panic("plugins: unknown reason " + string(r))
}
