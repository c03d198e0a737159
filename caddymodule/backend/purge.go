package backend

import (
	"maps"
	"slices"
)

// Fullest returns the lane of a stream with the most bytes, and false if all are empty. It is for
// events.
func (c *Courier) Fullest(of Stream) (lane uint64, ok bool) {
	c.mu.Lock()
	q := c.queues[of]
	c.mu.Unlock()
	if q == nil {
		return 0, false
	}
	return q.fullest()
}

// Purge throws away the messages of a lane, to make room, and returns their number. A request that
// is under way may still be delivered.
func (c *Courier) Purge(of Stream, lane uint64) int {
	c.mu.Lock()
	q := c.queues[of]
	c.mu.Unlock()
	if q == nil {
		return 0
	}
	return c.purge(q, lane, ReasonFull)
}

func (c *Courier) purge(q *queue, lane uint64, why Reason) int {
	n, _ := c.committer.purge(q, lane) // the committer has logged the error
	if n > 0 {
		c.observer.Dropped(q.stream, why, n)
	}
	return n
}

// purgeRemoved throws away the messages for endpoints that are no longer configured.
func (c *Courier) purgeRemoved() {
	defer c.endTask()
	c.mu.Lock()
	all := slices.Collect(maps.Values(c.queues))
	c.mu.Unlock()
	for _, q := range all {
		for c.endpoints.Endpoint(q.stream) == nil {
			if lane, ok := q.fullest(); !ok || c.purge(q, lane, ReasonRemoved) == 0 {
				break
			}
		}
	}
}

// fullest returns the lane with the most bytes, and false if all are empty.
func (q *queue) fullest() (channel uint64, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	most := int64(0)
	for lane, bytes := range q.held {
		if bytes > most || bytes == most && ok && lane < channel {
			channel, most, ok = lane, bytes, true
		}
	}
	return channel, ok
}
