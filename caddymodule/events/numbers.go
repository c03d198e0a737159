package events

import "github.com/rollcall-gateway/rollcall/presence/events"

// numbers has the numbers of the events of each channel of a shard, for one receiver. The zero
// value is ready.
//
// A channel keeps its number while it is occupied. Of the vacated ones, only the latest are kept:
// one that comes back later begins anew, in an epoch of its own that is greater than all before.
type numbers struct {
	base     uint64 // epoch of channels that are new in the shard's epoch
	greatest uint64 // epoch of any channel
	channels map[string]*number
	vacated  []string // channels with the mark queued, oldest first
	dropped  bool     // since the epoch of the shard began, a number was dropped
}

// number is the last number of a channel.
type number struct {
	epoch, seq uint64
	occupied   bool
	queued     bool // in numbers.vacated
}

// maxVacated is the maximum number of vacated channels whose numbers are kept.
const maxVacated = 1024

// begin begins an epoch of the shard.
func (n *numbers) begin(epoch uint64) {
	base := max(epoch, n.greatest+1)
	*n = numbers{base: base, greatest: base}
}

// of returns the number of the channel of an event.
func (n *numbers) of(e *events.Event) *number {
	c := n.channels[e.Channel]
	if c != nil {
		return c
	}
	c = &number{epoch: n.base}
	if n.dropped { // perhaps that of this channel
		n.greatest = max(n.greatest+1, uint64(e.Time))
		c.epoch = n.greatest
	}
	if n.channels == nil {
		n.channels = make(map[string]*number)
	}
	n.channels[e.Channel] = c
	return c
}

// vacate records that a channel is vacated, and drops what has been vacated for the longest time.
func (n *numbers) vacate(channel string, c *number) {
	if !c.queued {
		c.queued = true
		n.vacated = append(n.vacated, channel)
	}
	for len(n.vacated) > maxVacated {
		oldest := n.vacated[0]
		n.vacated = n.vacated[1:]
		old := n.channels[oldest]
		if old.queued = false; !old.occupied {
			delete(n.channels, oldest)
			n.dropped = true
		}
	}
}
