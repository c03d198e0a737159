package events

import (
	"container/heap"
	"time"
)

// graceHeap has the ends of grace periods. The first one is at index 0. Those that are over because
// the user came back stay until then.
type graceHeap []graceEnd

type graceEnd struct {
	at   time.Duration
	ch   *channel
	seat *seat // nil for the channel
	// count is set if it is the end of channel.countAt, and no grace period.
	count bool
}

// Len implements [heap.Interface].
func (g graceHeap) Len() int { return len(g) }

// Less implements [heap.Interface].
func (g graceHeap) Less(i, j int) bool { return g[i].at < g[j].at }

// Swap implements [heap.Interface].
func (g graceHeap) Swap(i, j int) { g[i], g[j] = g[j], g[i] }

// Push implements [heap.Interface].
func (g *graceHeap) Push(x any) { *g = append(*g, x.(graceEnd)) }

// Pop implements [heap.Interface].
func (g *graceHeap) Pop() any {
	last := len(*g) - 1
	end := (*g)[last]
	(*g)[last] = graceEnd{}
	*g = (*g)[:last]
	return end
}

// expireGrace ends the grace periods that are over, and returns the end of the next one; 0 if there
// is none.
func (sh *shard) expireGrace(now time.Duration) time.Duration {
	for len(sh.grace) > 0 && sh.grace[0].at <= now {
		switch end := heap.Pop(&sh.grace).(graceEnd); {
		case end.count:
			if end.ch.countAt == end.at {
				end.ch.countAt = 0
				sh.mark(end.ch, nil)
			}
		case end.seat != nil && end.seat.until == end.at:
			end.seat.until = 0
			end.ch.visible--
			sh.mark(end.ch, end.seat)
		case end.seat == nil && end.ch.until == end.at:
			end.ch.until = 0
			sh.mark(end.ch, nil)
		}
	}
	if len(sh.grace) == 0 {
		return 0
	}
	return sh.grace[0].at
}
