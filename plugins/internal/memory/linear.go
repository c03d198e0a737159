package memory

import (
	"fmt"
	"sync/atomic"

	"github.com/tetratelabs/wazero/experimental"
)

const (
	// measuredFrom is the size from which the pages of a memory are counted, in bytes. A smaller
	// one is charged its size.
	measuredFrom = 512 << 10
	// allowance is what a memory may write until it is measured again, in bytes.
	allowance = 128 << 10
)

// Linear is the memory of one instance, and an allocator that can allocate only this memory.
type Linear struct {
	budget   *Budget
	makeRoom func(enough func() bool) bool // may be nil
	space    []byte                        // all reserved bytes; the first open bytes are accessible
	data     []byte                        // the part that the guest sees
	open     int64
	charged  atomic.Int64 // bytes charged to the budget as used
	size     atomic.Int64
}

var (
	_ experimental.MemoryAllocator = (*Linear)(nil)
	_ experimental.LinearMemory    = (*Linear)(nil)
)

// Spec describes a new memory, in bytes.
type Spec struct {
	// Least is the size at the start, Most the largest size.
	Least, Most int64
	// Image is the contents of the first Least bytes, which is its size. Nil means zeros.
	Image *Image
	// Expected is what the memory is charged until it is measured. Zero, or more than Least, means
	// Least.
	Expected int64
	// MakeRoom is called if the budget is too small. It frees other memories until enough, which
	// charges the budget, reports true, and returns whether it did. It may be nil, and must not
	// call a guest.
	MakeRoom func(enough func() bool) bool
}

// New reserves a memory.
func New(b *Budget, s Spec) (*Linear, error) {
	if s.Expected == 0 {
		s.Expected = s.Least
	}
	c := cost{min(s.Expected, s.Least), s.Least, 1}
	l := &Linear{budget: b, makeRoom: s.MakeRoom}
	if !l.charge(c) {
		return nil, b.shortage(c)
	}
	space, err := reserve(s.Most)
	if err != nil {
		b.refund(c)
		return nil, fmt.Errorf("reserve %d bytes: %w", s.Most, err)
	}
	l.charged.Store(c.used)
	l.open, l.space = s.Least, space
	if s.Image != nil {
		err = s.Image.mapTo(space)
	} else {
		err = commit(space, 0, s.Least)
	}
	if err != nil {
		l.Free()
		return nil, fmt.Errorf("make %d bytes accessible: %w", s.Least, err)
	}
	return l, nil
}

// Allocate returns l. Its arguments are the same as those of New.
func (l *Linear) Allocate(_, _ uint64) experimental.LinearMemory { return l }

// Reallocate grows the memory, which never moves. It returns nil if the budget or the operating
// system has no more; the guest then gets -1 from memory.grow.
func (l *Linear) Reallocate(size uint64) []byte {
	if size > uint64(len(l.space)) {
		return nil
	}
	n := int64(size)
	if more := n - l.open; more > 0 {
		c := cost{used: more, size: more}
		if !l.charge(c) {
			return nil
		}
		if commit(l.space, l.open, n) != nil {
			l.budget.refund(c)
			return nil
		}
		l.charged.Add(more)
		l.open = n
	}
	l.size.Store(n)
	l.data = l.space[:n:n]
	return l.data
}

func (l *Linear) charge(c cost) bool {
	return l.budget.charge(c) || l.makeRoom != nil && l.makeRoom(func() bool { return l.budget.charge(c) })
}

// Measure counts the pages that are this memory's own, because they were written, and charges for
// them. It returns their bytes. exact is false if that is only the size: the memory is small, or
// the system cannot tell. Only the owner of the instance may call it.
func (l *Linear) Measure() (own int64, exact bool) {
	if l.open < measuredFrom {
		return l.open, false
	}
	own, exact = ownBytes(l.space[:l.open])
	if !exact {
		return l.open, false
	}
	charge := min(l.open, own+allowance)
	l.budget.used.Add(charge - l.charged.Swap(charge))
	return own, true
}

// Free releases the memory, which must not be used afterwards. Calling it twice is harmless.
func (l *Linear) Free() {
	if l.space == nil {
		return
	}
	release(l.space)
	l.space, l.data = nil, nil
	l.size.Store(0)
	l.budget.refund(cost{l.charged.Swap(0), l.open, 1})
	l.open = 0
}

// Bytes returns the current memory. Only the owner of the instance may use it.
func (l *Linear) Bytes() []byte { return l.data }

// Size returns the size of the guest's memory in bytes, 0 for a nil Linear. It may be called from
// any goroutine.
func (l *Linear) Size() int64 {
	if l == nil {
		return 0
	}
	return l.size.Load()
}

// Charged returns the bytes that the memory is charged for, 0 for a nil Linear. It may be called
// from any goroutine.
func (l *Linear) Charged() int64 {
	if l == nil {
		return 0
	}
	return l.charged.Load()
}
