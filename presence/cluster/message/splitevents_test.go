package message

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/presence"
)

// TestSplitEvents divides random parts of shards, up to several messages each. Every message must
// fit, and all together must say what was divided.
func TestSplitEvents(t *testing.T) {
	most := 0
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		items := randomItems(r)
		lists := SplitEvents(items)
		most = max(most, len(lists))
		parts := make([]*EventsPart, len(lists))
		for i, list := range lists {
			parts[i] = &EventsPart{Session: 1 << 62, Stream: 1 << 63, Number: 1 << 62, Items: list}
		}
		sizes(t, parts)
		if got, want := textOf(t, lists), textOf(t, [][]EventsItem{items}); got != want {
			t.Errorf("seed %d: the messages say\n%.2000s\nwant\n%.2000s", seed, got, want)
		}
	}
	if most < 3 {
		t.Errorf("at most %d messages: that is too little to show anything", most)
	}
}

func randomItems(r *rand.Rand) []EventsItem {
	items := make([]EventsItem, 1+r.IntN(4))
	for i := range items {
		it := &items[i]
		it.ID, it.First, it.Whole = uint64(i+1), r.IntN(2) == 0, r.IntN(2) == 0
		for range r.IntN(30) {
			c := presence.TapChange{Channel: fmt.Sprint("channel-", len(it.Changes)), Lost: r.IntN(2) == 0, Full: r.IntN(2) == 0, Conns: r.IntN(1000), Userless: r.IntN(2)}
			c.Class.Kind = presence.Kind(r.IntN(3))
			few := []int{0, 1, 40, 4000}[r.IntN(4)]
			for n := range r.IntN(few + 1) {
				m := presence.Member{User: presence.User{ID: fmt.Sprint("came-", n), Email: strings.Repeat("e", r.IntN(60))}}
				if r.IntN(3) == 0 {
					m.Info, m.InfoTime = `{"t":"`+strings.Repeat("i", r.IntN(500))+`"}`, 1+r.Int64N(1<<60)
				}
				c.Came = append(c.Came, m)
			}
			for n := range r.IntN(few + 1) {
				c.Left = append(c.Left, presence.Departure{ID: fmt.Sprint("left-", n), Lost: r.IntN(2) == 0})
			}
			it.Changes = append(it.Changes, c)
		}
	}
	return items
}

// textOf returns what messages say: changes of a channel that follow each other with More are one.
func textOf(t *testing.T, lists [][]EventsItem) string {
	t.Helper()
	var b strings.Builder
	var open *presence.TapChange // More has announced the rest of it
	last := uint64(0)
	for _, it := range slices.Concat(lists...) {
		if it.ID != last {
			fmt.Fprintf(&b, "item %d first %t\n", it.ID, it.First)
		} else if it.First {
			t.Errorf("item %d begins again", it.ID)
		}
		last = it.ID
		for _, c := range it.Changes {
			if open == nil {
				c.Came, c.Left = slices.Clone(c.Came), slices.Clone(c.Left)
				open = &c
			} else {
				if c.Channel != open.Channel || c.Conns != open.Conns || c.Class != open.Class || c.Full != open.Full || c.Lost != open.Lost {
					t.Errorf("%q goes on as %q", open.Channel, c.Channel)
				}
				open.Came, open.Left = append(open.Came, c.Came...), append(open.Left, c.Left...)
			}
			if c.More {
				continue
			}
			fmt.Fprintf(&b, "%q %v %d %t %t %v %v\n", open.Channel, open.Class, open.Conns, open.Lost, open.Full, open.Came, open.Left)
			open = nil
		}
		if it.Whole {
			fmt.Fprintf(&b, "item %d whole\n", it.ID)
		}
	}
	return b.String()
}
