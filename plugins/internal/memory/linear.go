package memory

import (
	"fmt"
	"sync/atomic"

	"github.com/tetratelabs/wazero/experimental"
)

// Linear is the memory of one instance. It is an allocator that has exactly this memory to give.
type Linear struct {
	budget   *Budget
	makeRoom func(bytes int64) bool // may be nil
	charged  int64                  // what the budget was asked for
	space    []byte                 // all that is reserved; the first charged bytes are accessible
	data     []byte                 // what the guest sees
	size     atomic.Int64
}

var (
	_ experimental.MemoryAllocator = (*Linear)(nil)
	_ experimental.LinearMemory    = (*Linear)(nil)
)

// New reserves a memory that starts with least bytes and grows up to most.
//
// When the budget has less left than is asked for, makeRoom is called to free as many bytes, and reports whether it freed
// any. It may be nil. It must not call a guest.
func New(b *Budget, least, most int64, makeRoom func(bytes int64) bool) (*Linear, error) {
	l := &Linear{budget: b, makeRoom: makeRoom}
	if !l.take(least) {
		return nil, b.shortage(least)
	}
	space, err := reserve(most)
	if err != nil {
		b.give(least)
		return nil, fmt.Errorf("reserve %d bytes: %w", most, err)
	}
	l.charged, l.space = least, space
	if err := commit(space, 0, least); err != nil {
		l.Free()
		return nil, fmt.Errorf("make %d bytes accessible: %w", least, err)
	}
	return l, nil
}

// Allocate returns l. Its arguments are those that New got.
func (l *Linear) Allocate(_, _ uint64) experimental.LinearMemory { return l }

// Reallocate grows the memory; it never moves. It returns nil, which the guest sees as -1 from memory.grow, when the
// budget or the operating system has no more.
func (l *Linear) Reallocate(size uint64) []byte {
	if size > uint64(len(l.space)) {
		return nil
	}
	n := int64(size)
	if more := n - l.charged; more > 0 {
		if !l.take(more) {
			return nil
		}
		if commit(l.space, l.charged, n) != nil {
			l.budget.give(more)
			return nil
		}
		l.charged = n
	}
	l.size.Store(n)
	l.data = l.space[:n:n]
	return l.data
}

func (l *Linear) take(n int64) bool {
	return l.budget.take(n) || l.makeRoom != nil && l.makeRoom(n) && l.budget.take(n)
}

// Free gives the memory back. Doing so twice is harmless; nothing may use the memory any more.
func (l *Linear) Free() {
	if l.space == nil {
		return
	}
	release(l.space)
	l.space, l.data = nil, nil
	l.size.Store(0)
	l.budget.give(l.charged)
	l.charged = 0
}

// Bytes returns the memory as it is now. Only who owns the instance may use it.
func (l *Linear) Bytes() []byte { return l.data }

// Size returns the number of bytes that the guest has. It may be called from any goroutine.
//
// A nil memory has none.
func (l *Linear) Size() int64 {
	if l == nil {
		return 0
	}
	return l.size.Load()
}
