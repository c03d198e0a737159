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
