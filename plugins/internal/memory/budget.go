// Package memory provides the linear memories of guests. Each is reserved at its largest size, so
// that growing never copies, and is charged to a budget of the process. A freed memory returns to
// the operating system.
package memory

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// ErrBudget is returned if the rest of a budget is too small.
var ErrBudget = errors.New("the memory budget of all plugins is used up")

// Budget bounds the sum of all memories that are charged to it, in bytes.
type Budget struct {
	limit int64
	used  atomic.Int64
}

// NewBudget returns a budget of limit bytes.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit} }

// Used returns the charged bytes.
func (b *Budget) Used() int64 { return b.used.Load() }

func (b *Budget) charge(n int64) bool {
	if b.used.Add(n) > b.limit {
		b.used.Add(-n)
		return false
	}
	return true
}

func (b *Budget) refund(n int64) { b.used.Add(-n) }

func (b *Budget) shortage(n int64) error {
	return fmt.Errorf("%w: %d bytes wanted, %d of %d are in use", ErrBudget, n, b.Used(), b.limit)
}
