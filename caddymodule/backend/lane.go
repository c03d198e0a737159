package backend

import (
	"container/heap"
	"time"
)

// lane is a channel, or the few whose hashes collide, as the queue of its host sees it. Its queue's lock guards it.
type lane struct {
	channel  uint64
	next     uint64 // the number that the next message has at least
	attempts int    // at that message, which failed
	refusals int    // of these, the answers that say that the message is wrong
	due      time.Time
	state    laneState
	failedIn uint64 // the epoch of health in which it failed last
	fresh    bool   // something was added since the disk was looked at
	removing int    // messages that are delivered and still on disk
	index    int    // in the schedule
}

type laneState int

const (
	laneDue  laneState = iota // in the schedule
	laneBusy                  // an attempt is under way
	laneIdle                  // nothing to deliver; it goes with its last removal
)

// schedule is a heap of lanes, the one that is due first in front.
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

// untried returns the place of the lane that is due last of those whose message has not failed, 0 when all have.
func (s schedule) untried() int {
	found := -1
	for i, l := range s {
		if l.attempts == 0 && (found < 0 || !l.due.Before(s[found].due)) {
			found = i
		}
	}
	return max(found, 0)
}
