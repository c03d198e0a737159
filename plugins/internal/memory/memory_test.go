package memory

import (
	"errors"
	"strings"
	"testing"
)

const page = 64 << 10

func newMemory(t *testing.T, b *Budget, least, most int64) *Linear {
	t.Helper()
	l, err := New(b, Spec{Least: least, Most: most})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Free)
	l.Allocate(uint64(least), uint64(most)).Reallocate(uint64(least))
	return l
}

func TestMemoryGrowsInPlaceWithinItsBudget(t *testing.T) {
	b := NewBudget(4 * page)
	l, err := New(b, Spec{Least: page, Most: 8 * page})
	if err != nil {
		t.Fatal(err)
	}
	first := l.Allocate(page, 8*page).Reallocate(page)
	first[page-1] = 7
	second := l.Reallocate(3 * page)
	if &first[0] != &second[0] || len(second) != 3*page || second[page-1] != 7 || l.Size() != 3*page {
		t.Errorf("it moved or has %d bytes", len(second))
	}
	second[3*page-1] = 1
	if b.Used() != 3*page || l.Reallocate(5*page) != nil || b.Used() != 3*page {
		t.Errorf("%d bytes are charged", b.Used())
	}
	if _, err := New(b, Spec{Least: 2 * page, Most: 8 * page}); !errors.Is(err, ErrBudget) {
		t.Errorf("got %v", err)
	}
	l.Free()
	l.Free()
	if b.Used() != 0 || b.Pressure() != 0 {
		t.Errorf("%d bytes are charged after Free, pressure %v", b.Used(), b.Pressure())
	}
}

func TestMemoryStopsAtItsLimit(t *testing.T) {
	l := newMemory(t, NewBudget(1<<30), page, 2*page)
	if l.Reallocate(3*page) != nil {
		t.Error("it grew above its limit")
	}
}

func TestSizesAreBoundedToo(t *testing.T) {
	b := NewBudget(4 * page)
	var err error
	made := 0
	for ; err == nil && made < 100; made++ {
		var l *Linear
		if l, err = New(b, Spec{Least: 4 * page, Most: 8 * page, Expected: 1}); err == nil {
			t.Cleanup(l.Free)
		}
	}
	if made != sizesOfLimit+1 || !errors.Is(err, ErrBudget) || !strings.Contains(err.Error(), "1048576 bytes large") {
		t.Errorf("%d memories, %v", made, err)
	}
	if b.Used() != sizesOfLimit || b.Pressure() != 1 {
		t.Errorf("%d bytes are charged, pressure %v", b.Used(), b.Pressure())
	}
}

func TestMemoriesAreCounted(t *testing.T) {
	b := NewBudget(1 << 30)
	b.most = 2
	first := newMemory(t, b, page, page)
	newMemory(t, b, page, page)
	if _, err := New(b, Spec{Least: page, Most: page}); !errors.Is(err, ErrBudget) || !strings.Contains(err.Error(), "2 instances") {
		t.Errorf("got %v", err)
	}
	first.Free()
	newMemory(t, b, page, page)
}

func TestRoomIsMadeUntilItIsEnough(t *testing.T) {
	b := NewBudget(4 * page)
	others := []*Linear{newMemory(t, b, page, page), newMemory(t, b, page, page), newMemory(t, b, page, page)}
	freed := 0
	l, err := New(b, Spec{Least: 3 * page, Most: 3 * page, MakeRoom: func(enough func() bool) bool {
		for _, o := range others {
			o.Free()
			freed++
			if enough() {
				return true
			}
		}
		return false
	}})
	if err != nil || freed != 2 || b.Used() != 4*page {
		t.Fatalf("%d memories freed, %d bytes are charged, %v", freed, b.Used(), err)
	}
	l.Free()
}

func TestASmallMemoryIsChargedItsSize(t *testing.T) {
	b := NewBudget(1 << 30)
	l := newMemory(t, b, page, 2*page)
	if own, exact := l.Measure(); own != page || exact || b.Used() != page {
		t.Errorf("%d bytes, exact: %t, charged %d", own, exact, b.Used())
	}
}
