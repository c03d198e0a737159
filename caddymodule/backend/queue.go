package backend

import (
	"container/heap"
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

const (
	// maxParallel is how many requests to the backend of a host are under way at once.
	maxParallel = 8

	// maxLanes is how many channels of a host are known at once. Others wait on disk until one of these is empty.
	maxLanes = 4096
)

// queue is what waits for the backend of one host.
type queue struct {
	host    presence.HostName
	courier *Courier
	wake    chan struct{} // of one element, for run

	// mu guards what follows, and the lanes.
	mu      sync.Mutex
	count   int   // messages, those included that are about to be on disk
	bytes   int64 // of their keys and records
	ages    ages
	lanes   map[uint64]*lane // by channel
	due     schedule
	busy    int // attempts under way
	running bool
	retried bool // the last question whether the backend is back was a message that had failed

	// Channels without a lane: a pass over the disk gives them one. missed says that another pass is needed.
	more, missed bool
	from         uint64 // where the pass goes on

	health
}

func newQueue(c *Courier, host presence.HostName) *queue {
	return &queue{
		host: host, courier: c, wake: make(chan struct{}, 1), lanes: make(map[uint64]*lane),
		health: health{epoch: 1}, // no lane has failed in it
	}
}

// charge is what a record counts against the bound of its queue.
func charge(record int) int64 { return int64(record) + keySize }

// load takes a message into account that was on disk at the start.
func (q *queue) load(number uint64, size int) {
	q.count++
	q.bytes += charge(size)
	q.ages.add(number)
	q.more = true
}

// reserve makes room for messages. It returns false when there is not enough.
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
	q.bytes = bytes
	return true
}

// release gives the room of messages back that were not written.
func (q *queue) release(entries []entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range entries {
		q.count--
		q.bytes -= charge(len(e.record))
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
		l.fresh = true
		if l.state == laneIdle {
			q.push(l, time.Now())
		}
	}
	q.kick()
}

// lane returns the lane of a channel, a new one if need be, nil when there is no room. The lock is held.
func (q *queue) lane(channel uint64) *lane {
	l := q.lanes[channel]
	if l == nil && len(q.lanes) < maxLanes {
		l = &lane{channel: channel}
		q.lanes[channel] = l
		q.push(l, time.Now())
	}
	return l
}

// push puts a lane into the schedule. The lock is held.
func (q *queue) push(l *lane, due time.Time) {
	l.state, l.due = laneDue, due
	heap.Push(&q.due, l)
}

// removed is called when a message is no longer on disk.
func (q *queue) removed(r removal) {
	q.mu.Lock()
	q.count--
	q.bytes -= charge(r.size)
	q.ages.remove(r.number)
	r.lane.removing--
	q.drop(r.lane)
	q.mu.Unlock()
	q.courier.forget(q)
}

// drop forgets a lane with nothing in it. While a message that was delivered is on disk, the lane knows that. The lock
// is held.
func (q *queue) drop(l *lane) {
	if l.state == laneIdle && l.removing == 0 {
		delete(q.lanes, l.channel)
		if q.more {
			q.kick()
		}
	}
}

// kick has run look at the queue again. The lock is held.
func (q *queue) kick() {
	if q.running {
		select {
		case q.wake <- struct{}{}:
		default: // it will look anyway
		}
		return
	}
	if q.courier.begin() {
		q.running = true
		go q.run()
	}
}

// refresh is called when the configuration has changed: what waited for a backend that failed need not any more.
func (q *queue) refresh() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.health = health{epoch: q.epoch + 1}
	q.hurry()
	q.kick()
}

// hurry makes all lanes due. The lock is held.
func (q *queue) hurry() {
	now := time.Now()
	for _, l := range q.due {
		if l.due.After(now) {
			l.due = now
		}
	}
	heap.Init(&q.due)
}

// run starts attempts while there is something to deliver and a backend to deliver it to. It is a goroutine of the
// [Courier].
func (q *queue) run() {
	defer q.courier.end()
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

// step starts what can be, and returns when to look again if nothing happens, or that run has ended.
func (q *queue) step() (wait time.Duration, ended bool) {
	to := q.courier.endpoints.Endpoint(q.host)
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
			return 0, false // something changed since
		default:
		}
		q.running = false
		return 0, true
	}
	now := time.Now()
	parallel, pausing := q.allowed(now)
	for pausing <= 0 && q.busy < parallel && len(q.due) > 0 && !q.due[0].due.After(now) {
		if !q.courier.begin() {
			break
		}
		l := q.pick(parallel)
		l.state = laneBusy
		q.busy++
		go q.attempt(l, to)
	}
	const long = time.Hour // something happens before
	switch {
	case pausing > 0:
		return pausing, false
	case q.busy < parallel && len(q.due) > 0:
		return q.due[0].due.Sub(now), false
	case q.busy == 0 && q.more:
		return maxPause, false // the disk could not be read, and nobody will say when it can
	}
	return long, false
}

// pick takes the lane out of the schedule that is due first. When it asks whether the backend is back, it is by turns the
// newest whose message has not failed yet: if the messages of many channels are at fault, that one gets through. The lock is
// held, and a lane is due.
func (q *queue) pick(parallel int) *lane {
	place := 0
	if parallel == 1 {
		if q.retried {
			place = q.due.untried()
		}
		q.retried = !q.retried
	}
	return heap.Remove(&q.due, place).(*lane)
}

// scan gives lanes to channels that have none, when there is room for many.
func (q *queue) scan() {
	for {
		q.mu.Lock()
		wanted, from := q.more && len(q.lanes) <= maxLanes/2, q.from
		if wanted && from == 0 {
			q.missed = false // what is added from now on and gets no lane is for the next pass
		}
		q.mu.Unlock()
		if !wanted {
			return
		}
		found, more, err := q.courier.store.channels(q.host, from, maxLanes)
		if err != nil {
			q.courier.diskFailed(err)
			return
		}
		if !q.take(found, more) {
			return
		}
	}
}

// take gives lanes to what a part of a pass has found. It returns false when there is no room for more.
func (q *queue) take(found []uint64, more bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, channel := range found {
		if q.lane(channel) == nil {
			q.from = channel
			return false
		}
		q.from = channel + 1
	}
	if !more {
		q.from, q.more = 0, q.missed
	}
	return true
}
