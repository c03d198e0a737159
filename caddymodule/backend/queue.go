package backend

import (
	"container/heap"
	"sync"
	"time"
)

const (
	// maxParallel is the maximum number of concurrent requests to the backend of a host.
	maxParallel = 8

	// maxLanes is the maximum number of lanes of a host. Other channels wait on disk until a lane
	// is free.
	maxLanes = 4096
)

// queue holds the messages of one stream.
type queue struct {
	stream  Stream
	courier *Courier
	wake    chan struct{} // wakes run; capacity 1

	// mu guards the fields below, and the lanes.
	mu           sync.Mutex
	count        int              // messages, including those that are being written
	bytes        int64            // size of their keys and records
	held         map[uint64]int64 // the same for each lane; nil with a message in each request
	ages         ages
	lanes        map[uint64]*lane // by hash of the channel
	due          schedule
	busy         int     // pending attempts
	lastFailure  Failure // of an attempt; zero if none has failed
	running      bool
	probedFailed bool // the last probe of the backend was a message that had failed before

	// more means that channels on disk may lack a lane: a pass over the disk gives them one. missed
	// means that another pass must follow.
	more, missed bool
	from         uint64 // start of the next part of the pass

	health
}

func newQueue(c *Courier, of Stream) *queue {
	q := &queue{
		stream: of, courier: c, wake: make(chan struct{}, 1), lanes: make(map[uint64]*lane),
		health: health{epoch: 1}, // no lane has failed in it
	}
	if c.kind.batch > 1 {
		q.held = make(map[uint64]int64)
	}
	return q
}

// charge returns the size that a record counts for in its queue.
func charge(record int) int64 { return int64(record) + keySize }

// load adds a message that was on disk at the start.
func (q *queue) load(channel, number uint64, size int) {
	q.count++
	q.charge(channel, charge(size))
	q.ages.add(number)
	q.more = true
}

// reserve reserves room for messages. It returns false if there is not enough.
func (q *queue) reserve(entries []entry, limit int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	bytes := q.bytes
	for _, e := range entries {
		bytes += charge(len(e.record))
	}
	if bytes > limit {
		return false
	}
	q.count += len(entries)
	for _, e := range entries {
		q.charge(e.channel, charge(len(e.record)))
	}
	return true
}

// charge counts bytes of a lane. The lock is held.
func (q *queue) charge(channel uint64, bytes int64) {
	q.bytes += bytes
	if q.held == nil {
		return
	}
	if q.held[channel] += bytes; q.held[channel] == 0 {
		delete(q.held, channel)
	}
}

// release frees the room of messages that were not written.
func (q *queue) release(entries []entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range entries {
		q.count--
		q.charge(e.channel, -charge(len(e.record)))
	}
}

// added is called when messages are on disk.
func (q *queue) added(entries []entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range entries {
		q.ages.add(e.number)
		l := q.lane(e.channel)
		if l == nil {
			q.more, q.missed = true, true
			continue
		}
		l.hasNew = true
		if l.state == laneIdle {
			q.push(l, time.Now())
		}
	}
	q.wakeRun()
}

// lane returns the lane of a channel, creating it if necessary; nil if there is no room. The lock
// is held.
func (q *queue) lane(channel uint64) *lane {
	l := q.lanes[channel]
	if l == nil && len(q.lanes) < maxLanes {
		l = &lane{channel: channel}
		q.lanes[channel] = l
		q.push(l, time.Now())
	}
	return l
}

// push adds a lane to the schedule. The lock is held.
func (q *queue) push(l *lane, due time.Time) {
	l.state, l.due = laneDue, due
	heap.Push(&q.due, l)
}

// removed is called when messages are deleted from disk.
func (q *queue) removed(r *removal) {
	q.mu.Lock()
	for _, m := range r.gone {
		q.count--
		q.charge(r.channel, -charge(m.size))
		q.ages.remove(m.number)
	}
	if r.lane != nil {
		r.lane.removing--
		q.drop(r.lane)
	}
	q.mu.Unlock()
	q.courier.forget(q)
}

// drop deletes a lane with nothing in it. While a delivered message is still on disk, its lane must
// remember that. The lock is held.
func (q *queue) drop(l *lane) {
	if l.state == laneIdle && l.removing == 0 {
		delete(q.lanes, l.channel)
		if q.more {
			q.wakeRun()
		}
	}
}

// wakeRun makes run check the queue again, or starts it. The lock is held.
func (q *queue) wakeRun() {
	if q.running {
		select {
		case q.wake <- struct{}{}:
		default: // a wake-up is already pending
		}
		return
	}
	if q.courier.startTask() {
		q.running = true
		go q.run()
	}
}

// refresh is called after the configuration has changed: it ends the waits for a backend that
// failed.
func (q *queue) refresh() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.health = health{epoch: q.epoch + 1}
	q.makeAllDue()
	q.wakeRun()
}

// makeAllDue makes all lanes due. The lock is held.
func (q *queue) makeAllDue() {
	now := time.Now()
	for _, l := range q.due {
		if l.due.After(now) {
			l.due = now
		}
	}
	heap.Init(&q.due)
}

// run starts attempts while there are messages and a backend to deliver them to. It is a goroutine
// of the [Courier].
func (q *queue) run() {
	defer q.courier.endTask()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait, ended := q.step()
		if ended {
			q.courier.forget(q)
			return
		}
		timer.Reset(wait)
		select {
		case <-q.wake:
		case <-timer.C:
		case <-q.courier.stopping:
		}
	}
}

// step starts the attempts that are due and allowed. It returns how long run may sleep unless it is
// woken, or that run has ended.
func (q *queue) step() (wait time.Duration, ended bool) {
	to := q.courier.endpoints.Endpoint(q.stream)
	if to != nil {
		q.scan()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-q.courier.stopping:
		q.running = false
		return 0, true
	default:
	}
	if to == nil || len(q.due) == 0 && q.busy == 0 && !q.more {
		select {
		case <-q.wake:
			return 0, false // something has changed meanwhile
		default:
		}
		q.running = false
		return 0, true
	}
	now := time.Now()
	parallel, pausing := q.allowed(now)
	for pausing <= 0 && q.busy < parallel && len(q.due) > 0 && !q.due[0].due.After(now) {
		if !q.courier.startTask() {
			break
		}
		l := q.pick(parallel)
		l.state = laneBusy
		q.busy++
		go q.attempt(l, to)
	}
	const long = time.Hour // a wake-up comes earlier
	switch {
	case pausing > 0:
		return pausing, false
	case q.busy < parallel && len(q.due) > 0:
		return q.due[0].due.Sub(now), false
	case q.busy == 0 && q.more:
		return maxPause, false // the disk could not be read; no wake-up will come
	}
	return long, false
}

// pick removes the lane that is due first from the schedule. While the backend is being probed,
// every other probe uses the most recently queued untried message: if the messages of many channels
// are at fault, it gets through. The lock is held, and a lane is due.
func (q *queue) pick(parallel int) *lane {
	place := 0
	if parallel == 1 {
		if q.probedFailed {
			place = q.due.untried()
		}
		q.probedFailed = !q.probedFailed
	}
	return heap.Remove(&q.due, place).(*lane)
}
