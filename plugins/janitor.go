package plugins

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

const (
	// idleAfter is how long an instance may go unused before it is closed.
	idleAfter  = time.Minute
	sweepEvery = idleAfter / 4
	// evictRate is how often in a second instances of others are closed to make room for those of a plugin that are new
	// or grow.
	evictRate = 10
)

// janitor closes instances that nobody used for a while. It is a timer that runs while there are instances.
type janitor struct {
	engine *Engine

	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
}

// wake is called before an instance is made.
func (j *janitor) wake() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.timer == nil && !j.stopped {
		j.timer = time.AfterFunc(sweepEvery, j.sweep)
	}
}

func (j *janitor) stop() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stopped = true
	if j.timer != nil {
		j.timer.Stop()
		j.timer = nil
	}
}

func (j *janitor) sweep() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stopped {
		return
	}
	j.engine.mu.Lock()
	cores := j.engine.list()
	j.engine.mu.Unlock()
	now, left := time.Now(), 0
	for _, c := range cores {
		left += c.sweep(now)
	}
	if left == 0 {
		j.timer = nil
		return
	}
	j.timer.Reset(sweepEvery)
}

// evict closes idle instances until there is room for so many bytes: first those that were not used since the last
// sweep. Of both, it begins with the plugin that has most memory: where clients choose the names of hosts, they can make
// many instances of one. It reports whether it closed any.
func (j *janitor) evict(bytes int64) (closed bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.engine.mu.Lock()
	cores := j.engine.list()
	j.engine.mu.Unlock()
	sizes := make(map[*core]int64, len(cores))
	for _, c := range cores {
		sizes[c] = c.memory()
	}
	slices.SortFunc(cores, func(a, b *core) int { return cmp.Compare(sizes[b], sizes[a]) })
	goal := j.engine.memory.Used() - bytes
	for _, any := range [...]bool{false, true} {
		for _, c := range cores {
			for _, p := range c.pools() {
				for i := range p.slots {
					s := p.slots[i].Load()
					if s == nil || !any && s.state.Load() != s.swept {
						continue
					}
					if p.closeIdle(s) {
						if closed = true; j.engine.memory.Used() <= goal {
							return true
						}
					}
				}
			}
		}
	}
	return closed
}

// makeRoom closes idle instances for one of the plugin, see evict. Each plugin has a rate of its own, so that one with many
// new hosts cannot keep others from it.
func (c *core) makeRoom(bytes int64) bool { return c.evictions.take() && c.engine.janitor.evict(bytes) }

// memory is how many bytes the instances of the plugin have.
func (c *core) memory() (bytes int64) {
	for _, p := range c.pools() {
		for i := range p.slots {
			if s := p.slots[i].Load(); s != nil {
				bytes += s.memory.Load().Size()
			}
		}
	}
	return bytes
}

// sweep closes the plugin's instances that were not used since now less idleAfter, and forgets hosts without any. It
// returns how many hosts are left. The janitor's mutex is held.
func (c *core) sweep(now time.Time) (left int) {
	for _, p := range c.pools() {
		instances := 0
		for i := range p.slots {
			s := p.slots[i].Load()
			if s == nil || s.status() == slotEmpty {
				continue
			}
			instances++
			if w := s.state.Load(); w != s.swept {
				s.swept, s.unused = w, now
			} else if now.Sub(s.unused) >= idleAfter && p.closeIdle(s) {
				instances--
			}
		}
		p.mu.Lock()
		if instances > 0 || !p.breaker.Closed() || p.unused.IsZero() {
			p.unused = now
		}
		gone := instances == 0 && now.Sub(p.unused) >= idleAfter
		p.mu.Unlock()
		if gone {
			// Who looked it up just now closes its instance itself.
			c.mu.Lock() // or else a handle that is made now could take the pool for one that is in use
			c.hosts.CompareAndDelete(p.host, p)
			p.retired.Store(true)
			c.mu.Unlock()
			p.close()
			continue
		}
		left++
	}
	return left
}
