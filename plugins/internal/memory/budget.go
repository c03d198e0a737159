// Package memory provides the linear memories of guests. Each is reserved at its largest size, so
// that growing never copies, and is charged to a budget of the process for what it uses. A freed
// memory returns to the operating system.
package memory

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// ErrBudget is returned if the rest of a budget is too small.
var ErrBudget = errors.New("the memory budget of all plugins is used up")

// sizesOfLimit bounds the sum of the sizes of all memories, as a multiple of the limit of what they
// use. Between two measurements, a memory can use more than it is charged for, up to its size.
const sizesOfLimit = 4

// Budget bounds what is charged to it: the bytes that memories use, the sum of their sizes, and
// their number.
type Budget struct {
	limit int64 // of used
	most  int64 // of memories

	used     atomic.Int64
	sizes    atomic.Int64
	memories atomic.Int64
}

// NewBudget returns a budget of limit bytes, for as many memories as the operating system can map.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit, most: mostMemories()} }

// Used returns the charged bytes.
func (b *Budget) Used() int64 { return b.used.Load() }

// Pressure returns how near the budget is to its end: from 0 to 1, or a little more.
func (b *Budget) Pressure() float64 {
	part := func(n, limit int64) float64 { return float64(n) / float64(max(1, limit)) }
	return max(part(b.used.Load(), b.limit), part(b.sizes.Load(), b.limit)/sizesOfLimit, part(b.memories.Load(), b.most))
}

// cost is what a memory is charged.
type cost struct {
	used, size int64 // in bytes
	memories   int64
}

// charge charges c if the budget has room.
func (b *Budget) charge(c cost) bool {
	used, sizes, memories := b.used.Add(c.used), b.sizes.Add(c.size), b.memories.Add(c.memories)
	if used > b.limit || sizes/sizesOfLimit > b.limit || memories > b.most {
		b.refund(c)
		return false
	}
	return true
}

func (b *Budget) refund(c cost) {
	b.used.Add(-c.used)
	b.sizes.Add(-c.size)
	b.memories.Add(-c.memories)
}

func (b *Budget) shortage(c cost) error {
	switch {
	case b.memories.Load()+c.memories > b.most:
		return fmt.Errorf("%w: %d instances are open, the most that this system can map", ErrBudget, b.memories.Load())
	case (b.sizes.Load()+c.size)/sizesOfLimit > b.limit:
		return fmt.Errorf("%w: the instances are %d bytes large, %d times %d are allowed", ErrBudget, b.sizes.Load(),
			sizesOfLimit, b.limit)
	}
	return fmt.Errorf("%w: %d bytes wanted, %d of %d are in use", ErrBudget, c.used, b.Used(), b.limit)
}
