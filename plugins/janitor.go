package plugins

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

const (
	// idleAfter is how long an unused instance stays open.
	idleAfter  = time.Minute
	sweepEvery = idleAfter / 4
	// evictRate is how often per second a plugin may close instances of others to make room for its
	// own, when one is new or grows.
	evictRate = 10
)

// janitor closes instances that have not been used for some time. It is a timer that runs while
// there are instances.
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
	cores := j.engine.allCores()
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

// evict closes idle instances until bytes are free: first those that have not been used since the
// last sweep. In both rounds it starts with the plugin that uses the most memory, because clients
// that choose the names of hosts can cause many instances of one plugin. It reports whether it
// closed any.
func (j *janitor) evict(bytes int64) (closed bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.engine.mu.Lock()
	cores := j.engine.allCores()
	j.engine.mu.Unlock()
	sizes := make(map[*core]int64, len(cores))
	for _, c := range cores {
		sizes[c] = c.memory()
	}
	slices.SortFunc(cores, func(a, b *core) int { return cmp.Compare(sizes[b], sizes[a]) })
	goal := j.engine.memory.Used() - bytes
	for _, recentToo := range [...]bool{false, true} {
		for _, c := range cores {
			for _, p := range c.pools() {
				for i := range p.slots {
					s := p.slots[i].Load()
					if s == nil || !recentToo && s.state.Load() != s.swept {
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

// makeRoom closes idle instances to make room for one of the plugin, see evict. Each plugin has its
// own rate, so that a plugin with many new hosts cannot block others.
func (c *core) makeRoom(bytes int64) bool {
	return c.evictions.allow() && c.engine.janitor.evict(bytes)
}

// memory returns the bytes that the plugin's instances use.
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

// sweep closes the plugin's instances that have not been used for idleAfter, and forgets hosts
// without instances. It returns the number of remaining hosts. The janitor's mutex is held.
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
		if instances > 0 || p.breakerState() != "closed" || p.unused.IsZero() {
			p.unused = now
		}
		gone := instances == 0 && now.Sub(p.unused) >= idleAfter
		p.mu.Unlock()
		if gone {
			// A call that has just looked the pool up closes its instance itself. Without c.mu, a
			// handle that is added now could keep using the pool.
			c.mu.Lock()
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
