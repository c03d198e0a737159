package plugins

import (
	"sync"
	"time"
)

const (
	watchTick = time.Millisecond
	// idleAge and longestAge are the most that a call ages in one tick: if no step was seen, and if
	// steps were seen.
	idleAge    = 2 * watchTick
	longestAge = 100 * watchTick
	// watchQuiet is the number of ticks without a call after which a pool is no longer watched.
	// With it, single calls do not start the watchdog each time.
	watchQuiet = 64
)

// watchdog ends calls that take too long. A call costs it one look at the pool's flag. The watchdog
// measures the time: it sees in its next tick that the same call is still running.
//
// Its goroutine starts with the first call and ends when no pool has been called for some ticks.
type watchdog struct {
	mu      sync.Mutex
	pools   []*pool
	running bool
}

// watch is called after a call started in a pool that is not watched.
func (d *watchdog) watch(p *pool) {
	if !p.watched.CompareAndSwap(false, true) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	p.quiet = 0
	d.pools = append(d.pools, p)
	if !d.running {
		d.running = true
		go d.run()
	}
}

func (d *watchdog) run() {
	ticker := time.NewTicker(watchTick)
	defer ticker.Stop()
	last := time.Now()
	for now := range ticker.C {
		if !d.tick(min(now.Sub(last), longestAge)) {
			return
		}
		last = now
	}
}

// tick samples all watched pools once. It returns false if there are none.
func (d *watchdog) tick(elapsed time.Duration) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	kept := d.pools[:0]
	for _, p := range d.pools {
		if p.sampleCalls(elapsed) {
			p.quiet = 0
		} else {
			p.quiet++
		}
		if p.quiet < watchQuiet {
			kept = append(kept, p)
			continue
		}
		p.watched.Store(false)
		// Find a call that started before it could see the flag.
		if p.busy() && p.watched.CompareAndSwap(false, true) {
			p.quiet = 0
			kept = append(kept, p)
		}
	}
	clear(d.pools[len(kept):])
	d.pools = kept
	d.running = len(kept) > 0
	return d.running
}

// sampleCalls samples the calls of a pool. It reports whether there was any since the last sample.
func (p *pool) sampleCalls(elapsed time.Duration) (active bool) {
	for i := range p.slots {
		if s := p.slots[i].Load(); s != nil && p.sampleCall(s, elapsed) {
			active = true
		}
	}
	if s := p.maker.Load(); s != nil && p.sampleCall(s, elapsed) {
		active = true
	}
	return active
}

// sampleCall is sampleCalls for one slot.
func (p *pool) sampleCall(s *slot, elapsed time.Duration) (active bool) {
	w := s.state.Load()
	call, status := w&^slotStatus, w&slotStatus
	known := call == s.sampled
	if !known {
		s.sampled, s.age, active = call, 0, true
		s.used.Store(time.Now().UnixNano())
	}
	if status != slotBusy && status != slotEnded {
		return active
	}
	if ran := s.sampleSteps(w); known {
		s.age += aged(elapsed, ran)
	}
	if s.age+time.Duration(s.waited.Load()) >= p.timeout(w&slotClass) || s.calledOff() {
		s.stopCall(w)
	}
	return true
}

// aged returns how much older a call became in a tick. If the whole process paused, for a garbage
// collection or on a busy machine, the guest paused too: a long tick counts as a short one, unless
// the guest used steps in it.
func aged(elapsed time.Duration, ran bool) time.Duration {
	if ran {
		return elapsed
	}
	return min(elapsed, idleAge)
}

func (p *pool) busy() bool {
	for i := range p.slots {
		if s := p.slots[i].Load(); s != nil {
			switch s.status() {
			case slotBusy, slotHeld, slotEnded:
				return true
			}
		}
	}
	return p.maker.Load() != nil
}

func (p *pool) timeout(class uint64) time.Duration {
	switch class {
	case classShort:
		return p.plugin.limits.ClassifyTimeout
	case classLong:
		return p.plugin.limits.ShapeTimeout
	case classLive:
		return p.plugin.limits.MessageTimeout
	default:
		return initTimeout
	}
}
