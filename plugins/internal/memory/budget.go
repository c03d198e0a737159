// Package memory provides the linear memories of guests: reserved at once in their largest size, so that growing never
// copies, handed back to the operating system when they are closed, and charged to a budget of the process.
package memory

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// ErrBudget is returned when a budget has too little left.
var ErrBudget = errors.New("the memory budget of all plugins is used up")

// Budget bounds the bytes of all memories that are charged to it.
type Budget struct {
	most int64
	used atomic.Int64
}

// NewBudget returns a budget of so many bytes.
func NewBudget(most int64) *Budget { return &Budget{most: most} }

// Used returns the bytes that are charged.
func (b *Budget) Used() int64 { return b.used.Load() }

func (b *Budget) take(n int64) bool {
	if b.used.Add(n) > b.most {
		b.used.Add(-n)
		return false
	}
	return true
}

func (b *Budget) give(n int64) { b.used.Add(-n) }

func (b *Budget) shortage(n int64) error {
	return fmt.Errorf("%w: %d bytes wanted, %d of %d are in use", ErrBudget, n, b.Used(), b.most)
}
