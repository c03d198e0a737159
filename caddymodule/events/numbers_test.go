package events

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/rollcall-gateway/rollcall/presence/events"
)

// A receiver drops what is not greater than the greatest (epoch, seq) of a channel, and believes
// that nothing is missing between two numbers of an epoch. So numbers only grow, by one or to 1 in
// a greater epoch, whatever is forgotten of vacated channels.
func TestNumbersOfAChannelOnlyGrow(t *testing.T) {
	type seen struct{ epoch, seq uint64 }
	random := rand.New(rand.NewPCG(1, 2))
	n, greatest, dropped := new(numbers), make(map[string]seen), 0
	now := int64(1_795_737_600_000)
	epoch := uint64(now)
	n.begin(epoch)
	for step := range 200_000 {
		if random.IntN(40_000) == 0 {
			epoch = max(epoch+1, uint64(now)) // the clock can have been behind
			n.begin(epoch)
		}
		now += int64(random.IntN(2))
		e := &events.Event{Channel: fmt.Sprint(random.IntN(5000)), Time: now}
		c := n.of(e)
		c.seq++
		now, last := seen{c.epoch, c.seq}, greatest[e.Channel]
		switch {
		case now.epoch == last.epoch && now.seq == last.seq+1:
		case now.epoch > last.epoch && now.seq == 1:
			dropped++
		default:
			t.Fatalf("step %d: %v follows %v in channel %s", step, now, last, e.Channel)
		}
		greatest[e.Channel] = now
		if c.occupied = random.IntN(3) > 0; !c.occupied {
			n.vacate(e.Channel, c)
		}
	}
	if dropped < 10_000 {
		t.Errorf("numbers began anew only %d times", dropped)
	}
	vacated := 0
	for _, c := range n.channels {
		if !c.occupied {
			vacated++
		}
	}
	if vacated > maxVacated || len(n.vacated) > maxVacated {
		t.Errorf("the numbers of %d vacated channels are kept", vacated)
	}
}

// Without any number that was dropped, channels have the epoch of their shard.
func TestEpochOfAChannelIsThatOfItsShard(t *testing.T) {
	n := new(numbers)
	n.begin(1000)
	for i := range 2 * maxVacated {
		c := n.of(&events.Event{Channel: fmt.Sprint(i), Time: 5000})
		c.occupied = true
		if c.epoch != 1000 {
			t.Fatalf("channel %d: epoch %d", i, c.epoch)
		}
	}
}
