package backend

import (
	"container/heap"
	"time"
)

// lane is a channel in the queue of its host; channels with equal hashes share a lane. The queue's
// lock guards it.
type lane struct {
	channel     uint64
	next        uint64 // minimum number of the next message
	tried       uint64 // number of the message of the last attempt
	attempts    int    // failed attempts at that message
	refusals    int    // failed attempts that called the message wrong
	due         time.Time
	state       laneState
	failedEpoch uint64 // health.epoch of its last failure
	hasNew      bool   // a message was added since the disk was read
	removing    int    // delivered messages that are still on disk
	index       int    // index in the schedule
}

type laneState int

const (
	laneDue  laneState = iota // in the schedule
	laneBusy                  // an attempt is pending
	laneIdle                  // nothing to deliver; deleted with its last removal
)

// schedule is a heap of lanes, ordered by due.
type schedule []*lane

var _ heap.Interface = (*schedule)(nil)

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].due.Before(s[j].due) }

func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].index, s[j].index = i, j
}

// Push implements heap.Interface.
func (s *schedule) Push(x any) {
	l := x.(*lane)
	l.index = len(*s)
	*s = append(*s, l)
}

// Pop implements heap.Interface.
func (s *schedule) Pop() any {
	last := len(*s) - 1
	l := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	return l
}

// untried returns the index of the lane with the latest due among those whose message has not
// failed; 0 if all have.
func (s schedule) untried() int {
	found := -1
	for i, l := range s {
		if l.attempts == 0 && (found < 0 || !l.due.Before(s[found].due)) {
			found = i
		}
	}
	return max(found, 0)
}

// scan gives lanes to channels on disk without one, if there is room for many.
func (q *queue) scan() {
	for {
		q.mu.Lock()
		wanted, from := q.more && len(q.lanes) <= maxLanes/2, q.from
		if wanted && from == 0 {
			q.missed = false // later additions without a lane are for the next pass
		}
		q.mu.Unlock()
		if !wanted {
			return
		}
		found, more, err := q.courier.store.channels(q.stream, from, maxLanes)
		if err != nil {
			q.courier.diskFailed(err)
			return
		}
		if !q.addLanes(found, more) {
			return
		}
	}
}

// addLanes gives lanes to the channels that a part of a pass has found. It returns false if there
// is no room for more.
func (q *queue) addLanes(found []uint64, more bool) bool {
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
