package plugins

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

const (
	// idleAfter is how long an unused instance stays open while there is room for more, idleLeast
	// while there is hardly any.
	idleAfter = time.Minute
	idleLeast = 5 * time.Second
	// staleAfter is how long an instance must be unused before it makes room for those of all
	// plugins.
	staleAfter = idleAfter / 4
	// settledAfter is how long an instance must be unused before a sweep measures its memory.
	settledAfter = time.Second
)

// idleTime returns how long an unused instance stays open. pressure is that of the budget.
func idleTime(pressure float64) time.Duration {
	const most, least = 0.5, 0.9 // pressures from which the time is shorter, and shortest
	part := max(0, min(1, (least-pressure)/(least-most)))
	return idleLeast + time.Duration(part*float64(idleAfter-idleLeast))
}

// janitor closes instances that have not been used for some time. It is a timer that runs while
// there are instances.
type janitor struct {
	engine *Engine

	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
	// victims are the next instances to close for others, from the last look at all instances.
	victims []victim
}

// wake is called before an instance is made.
func (j *janitor) wake() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.timer == nil && !j.stopped {
		j.timer = time.AfterFunc(idleTime(j.engine.memory.Pressure())/4, j.sweep)
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
	idle := idleTime(j.engine.memory.Pressure())
	now, left := time.Now(), 0
	for _, c := range j.cores() {
		left += c.sweep(now, idle)
	}
	j.victims = nil
	left += j.engine.config.Stores.sweep(j.engine.clock())
	if left == 0 {
		j.timer = nil
		return
	}
	j.timer.Reset(idleTime(j.engine.memory.Pressure()) / 4)
}

func (j *janitor) cores() []*core {
	j.engine.mu.Lock()
	defer j.engine.mu.Unlock()
	return j.engine.allCores()
}

// victim is an idle instance that may be closed for another.
type victim struct {
	pool  *pool
	slot  *slot
	state uint64 // of the slot; another one means that the instance was used
	used  int64
}

func (v victim) close() bool { return v.slot.state.Load() == v.state && v.pool.closeIdle(v.slot) }

// evict closes idle instances, least recently used first, until enough reports true. It reports
// whether it did.
//
// Instances that are unused for staleAfter go first. Then it is the plugin that uses the most
// memory: clients that choose the names of hosts can cause many instances of one plugin.
func (j *janitor) evict(enough func() bool) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for closed := true; closed; {
		closed = false
		for len(j.victims) > 0 {
			v := j.victims[0]
			j.victims[0] = victim{}
			j.victims = j.victims[1:]
			if v.close() {
				closed = true
				if enough() {
					return true
				}
			}
		}
		if !closed {
			// The old list may have been empty, or all of it in use.
			j.victims = j.findVictims()
			closed = len(j.victims) > 0
		}
	}
	return false
}

// findVictims returns the idle instances to close next, in order.
func (j *janitor) findVictims() (list []victim) {
	stale := time.Now().Add(-staleAfter).UnixNano()
	var old []victim
	most := int64(-1)
	for _, c := range j.cores() {
		used := int64(0)
		var idle []victim
		for _, p := range c.pools() {
			for i := range p.slots {
				s := p.slots[i].Load()
				if s == nil {
					continue
				}
				used += s.memory.Load().Charged()
				v := victim{p, s, s.state.Load(), s.used.Load()}
				if v.state&slotStatus == slotIdle {
					idle = append(idle, v)
				}
			}
		}
		for _, v := range idle {
			if v.used <= stale {
				old = append(old, v)
			}
		}
		if len(idle) > 0 && used > most {
			list, most = idle, used
		}
	}
	if len(old) > 0 {
		list = old
	}
	slices.SortFunc(list, func(a, b victim) int { return cmp.Compare(a.used, b.used) })
	return list
}

// sweep closes the plugin's instances that have not been used for the given time, and forgets hosts
// without instances. It returns the number of remaining hosts. The janitor's mutex is held.
func (c *core) sweep(now time.Time, idle time.Duration) (left int) {
	for _, p := range c.pools() {
		instances := 0
		for i := range p.slots {
			s := p.slots[i].Load()
			if s == nil || s.status() == slotEmpty {
				continue
			}
			unused := now.Sub(time.Unix(0, s.used.Load()))
			if unused >= idle && p.closeIdle(s) {
				continue
			}
			instances++
			if unused >= settledAfter {
				p.measureIdle(s)
			}
		}
		p.mu.Lock()
		if instances > 0 || p.breakerState() != "closed" || p.unused.IsZero() {
			p.unused = now
		}
		gone := instances == 0 && now.Sub(p.unused) >= idle
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

// measureIdle measures the memory of an idle instance that was called since the last time.
func (p *pool) measureIdle(s *slot) {
	if s.measured.Load() == s.calls() || !s.own(slotIdle) {
		return
	}
	s.measured.Store(s.calls())
	s.instance.linear.Measure()
	p.freeSlot(s, slotIdle)
	if p.retired.Load() {
		p.closeIdle(s)
	}
}
