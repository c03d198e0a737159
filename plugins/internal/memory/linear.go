package memory

import (
	"fmt"
	"sync/atomic"

	"github.com/tetratelabs/wazero/experimental"
)

// Linear is the memory of one instance, and an allocator that can allocate only this memory.
type Linear struct {
	budget   *Budget
	makeRoom func(bytes int64) bool // may be nil
	charged  int64                  // bytes charged to the budget
	space    []byte                 // all reserved bytes; the first charged bytes are accessible
	data     []byte                 // the part that the guest sees
	size     atomic.Int64
}

var (
	_ experimental.MemoryAllocator = (*Linear)(nil)
	_ experimental.LinearMemory    = (*Linear)(nil)
)

// New reserves a memory that starts with least bytes and can grow to most bytes.
//
// If the budget is too small, makeRoom is called to free the missing bytes. It reports whether it
// freed any. makeRoom may be nil, and must not call a guest.
func New(b *Budget, least, most int64, makeRoom func(bytes int64) bool) (*Linear, error) {
	l := &Linear{budget: b, makeRoom: makeRoom}
	if !l.charge(least) {
		return nil, b.shortage(least)
	}
	space, err := reserve(most)
	if err != nil {
		b.refund(least)
		return nil, fmt.Errorf("reserve %d bytes: %w", most, err)
	}
	l.charged, l.space = least, space
	if err := commit(space, 0, least); err != nil {
		l.Free()
		return nil, fmt.Errorf("make %d bytes accessible: %w", least, err)
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
	if more := n - l.charged; more > 0 {
		if !l.charge(more) {
			return nil
		}
		if commit(l.space, l.charged, n) != nil {
			l.budget.refund(more)
			return nil
		}
		l.charged = n
	}
	l.size.Store(n)
	l.data = l.space[:n:n]
	return l.data
}

func (l *Linear) charge(n int64) bool {
	return l.budget.charge(n) || l.makeRoom != nil && l.makeRoom(n) && l.budget.charge(n)
}

// Free releases the memory, which must not be used afterwards. Calling it twice is harmless.
func (l *Linear) Free() {
	if l.space == nil {
		return
	}
	release(l.space)
	l.space, l.data = nil, nil
	l.size.Store(0)
	l.budget.refund(l.charged)
	l.charged = 0
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
