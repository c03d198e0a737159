package presence

import (
	"maps"
	"math/rand/v2"
	"testing"
)

// The list agrees with a map while it grows and shrinks over all its sizes.
func TestMemberListAgreesWithAMap(t *testing.T) {
	channels := make([]*channel, 3*shortMembers)
	for i := range channels {
		channels[i] = newChannel("room", Class{})
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var list memberList
	want := make(map[*channel]*member)
	for step := range 20_000 {
		ch := channels[rng.IntN(1+(step/100)%len(channels))] // of few channels, and then of many
		if m := want[ch]; m != nil {
			list.remove(m)
			delete(want, ch)
		} else {
			m := &member{channel: ch}
			list.add(m)
			want[ch] = m
		}
		got := make(map[*channel]*member)
		for i, m := range list.all() {
			if int(m.userIndex) != i {
				t.Fatalf("step %d: member %d has the index %d", step, i, m.userIndex)
			}
			got[m.channel] = m
		}
		if !maps.Equal(got, want) || len(got) != len(list.all()) || list.isEmpty() != (len(want) == 0) {
			t.Fatalf("step %d: %d members, want %d", step, len(list.all()), len(want))
		}
		for _, ch := range channels {
			if list.in(ch) != want[ch] {
				t.Fatalf("step %d: another member in a channel", step)
			}
		}
	}
}
