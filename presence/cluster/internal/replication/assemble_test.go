package replication

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

func testPlace(t testing.TB) place {
	t.Helper()
	h, err := presence.ParseHostName("portal.example.com")
	if err != nil {
		t.Fatal(err)
	}
	return place{h, "room"}
}

// largeDelta returns a whole part with the given number of users, each with an ID of 100 bytes.
func largeDelta(p place, clock uint64, users int) *message.Delta {
	m := &message.Delta{Host: p.host, Channel: p.channel, Parts: 1}
	m.Clock, m.Conns = clock, users
	for i := range users {
		m.Joined = append(m.Joined, presence.Member{User: presence.User{ID: fmt.Sprintf("%0100d", i)}})
	}
	m.Left = []presence.Departure{{ID: "gone"}}
	return m
}

func ids(d presence.Delta) []string {
	var list []string
	for _, u := range d.Joined {
		list = append(list, u.ID)
	}
	slices.Sort(list)
	return list
}

func TestPartsInAnyOrderAndTwiceMakeTheWhole(t *testing.T) {
	p := testPlace(t)
	m := largeDelta(p, 7, 20_000)
	parts := divide(m)
	if len(parts) < 4 {
		t.Fatalf("%d parts", len(parts))
	}
	for _, part := range parts {
		if message.DeltaSize(&part.Delta) > message.MaxDelta {
			t.Errorf("part %d is too large: %d bytes", part.Part, message.DeltaSize(&part.Delta))
		}
	}
	parts = append(parts, parts[:len(parts)-1]...)
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	a := newAssembler()
	var got []presence.Delta
	for _, part := range parts {
		if d, ok := a.add(time.Now(), p, part); ok {
			got = append(got, d)
		}
	}
	if len(got) != 1 {
		t.Fatalf("%d whole deltas", len(got))
	}
	if !slices.Equal(ids(got[0]), ids(m.Delta)) || len(got[0].Left) != 1 || got[0].Clock != 7 || got[0].Conns != 20_000 {
		t.Errorf("got %d users, %d gone, clock %d, %d connections", len(got[0].Joined), len(got[0].Left), got[0].Clock, got[0].Conns)
	}
}

// Two answers with one Clock can differ by changes of the next delta. Parts of both can make one
// delta.
func TestPartsOfTwoAnswersFitTogether(t *testing.T) {
	p := testPlace(t)
	first, second := largeDelta(p, 7, 20_000), largeDelta(p, 7, 20_000)
	second.Joined = slices.Insert(second.Joined, 0, presence.Member{User: presence.User{ID: "fresh"}})
	one, two := divide(first), divide(second)
	if len(one) != len(two) {
		t.Fatalf("%d and %d parts", len(one), len(two))
	}
	a := newAssembler()
	for i := range one {
		part := one[i]
		if i%2 == 1 {
			part = two[i]
		}
		d, ok := a.add(time.Now(), p, part)
		if i < len(one)-1 {
			continue
		}
		if !ok {
			t.Fatal("not whole")
		}
		got := slices.DeleteFunc(ids(d), func(id string) bool { return id == "fresh" })
		if !slices.Equal(got, ids(first.Delta)) {
			t.Errorf("%d users of 20000", len(got))
		}
	}
}

func TestALaterDeltaInPartsTakesTheOldOnesPlace(t *testing.T) {
	p := testPlace(t)
	old, fresh := divide(largeDelta(p, 7, 20_000)), divide(largeDelta(p, 8, 20_000))
	a := newAssembler()
	a.add(time.Now(), p, old[0])
	for _, part := range fresh[:len(fresh)-1] {
		a.add(time.Now(), p, part)
	}
	if _, ok := a.add(time.Now(), p, old[1]); ok {
		t.Error("the old delta came out")
	}
	if d, ok := a.add(time.Now(), p, fresh[len(fresh)-1]); !ok || d.Clock != 8 {
		t.Errorf("whole %v, clock %d", ok, d.Clock)
	}
	if a.bytes != 0 || len(a.open) != 0 {
		t.Errorf("%d bytes in %d deltas are left", a.bytes, len(a.open))
	}
}

func TestAssemblyIsBoundedAndExpires(t *testing.T) {
	p := testPlace(t)
	a := newAssembler()
	now := time.Now()
	part := divide(largeDelta(p, 7, 20_000))[0]
	for i := range 2000 {
		a.add(now, place{p.host, strings.Repeat("x", i+1)}, part)
		if a.bytes > maxAssembly {
			t.Fatalf("%d bytes after %d parts", a.bytes, i)
		}
	}
	a.expire(now.Add(assemblyTime))
	if a.bytes != 0 || len(a.open) != 0 {
		t.Errorf("%d bytes in %d deltas are left", a.bytes, len(a.open))
	}
}

// A part is small, and says that there are many: the list of the parts takes most of the memory.
func TestRoomForMissingPartsIsBounded(t *testing.T) {
	p, a := testPlace(t), newAssembler()
	part := largeDelta(p, 7, 0)
	part.Parts = message.MaxParts
	lists := 0
	for i := range 50_000 {
		a.add(time.Now(), place{p.host, fmt.Sprint("room-", i)}, part)
	}
	for _, o := range a.open {
		lists += 8 * len(o.parts)
	}
	if lists > maxAssembly {
		t.Errorf("%d MiB for the lists of parts", lists>>20)
	}
}
