package plugins

import (
	"maps"
	"math"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
)

const (
	maxCountName = 40 // bytes
	maxCounts    = 32 // names of a plugin
)

// Counts holds the counters that a plugin names and counts itself, for all hosts. The zero value is
// ready. The embedder owns it, so that it outlives plugins and reloads. A Counts must not be
// copied.
type Counts struct {
	// byName is replaced when a name is added, with mu held.
	byName  atomic.Pointer[map[string]*atomic.Uint64]
	mu      sync.Mutex
	dropped bool // a name was dropped, which is logged once
}

// Read returns the counters by name. They only grow.
func (c *Counts) Read() map[string]uint64 {
	values := make(map[string]uint64)
	for name, n := range c.load() {
		values[name] = n.Load()
	}
	return values
}

func (c *Counts) load() map[string]*atomic.Uint64 {
	if m := c.byName.Load(); m != nil {
		return *m
	}
	return nil
}

// counter returns the counter with the name. It returns nil if there are too many; first is set
// once.
func (c *Counts) counter(name []byte) (n *atomic.Uint64, first bool) {
	if n = c.load()[string(name)]; n != nil {
		return n, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.load()
	if n = old[string(name)]; n != nil {
		return n, false
	}
	if len(old) >= maxCounts {
		first = !c.dropped
		c.dropped = true
		return nil, first
	}
	n = new(atomic.Uint64)
	all := make(map[string]*atomic.Uint64, len(old)+1)
	maps.Copy(all, old)
	all[string(name)] = n
	c.byName.Store(&all)
	return n, false
}

// count adds to a counter, which stops at its largest value.
func (c *core) count(name []byte, delta uint64) {
	n, first := c.counts.counter(name)
	if first {
		c.logger.Warn("plugin has too many counters: further names are not counted", zap.String("plugin", c.name),
			zap.String("name", string(name)), zap.Int("limit", maxCounts))
	}
	if n == nil || delta == 0 {
		return
	}
	for {
		old := n.Load()
		if n.CompareAndSwap(old, old+min(delta, math.MaxUint64-old)) {
			return
		}
	}
}

func validCountName(name []byte) bool {
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}
