package memory

import (
	"errors"
	"testing"
)

const page = 64 << 10

func TestMemoryGrowsInPlaceWithinItsBudget(t *testing.T) {
	b := NewBudget(4 * page)
	l, err := New(b, page, 8*page, nil)
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
	if _, err := New(b, 2*page, 8*page, nil); !errors.Is(err, ErrBudget) {
		t.Errorf("got %v", err)
	}
	l.Free()
	l.Free()
	if b.Used() != 0 {
		t.Errorf("%d bytes are charged after Free", b.Used())
	}
}

func TestMemoryStopsAtItsLimit(t *testing.T) {
	l, err := New(NewBudget(1<<30), page, 2*page, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Free()
	if l.Reallocate(3*page) != nil {
		t.Error("it grew above its limit")
	}
}
