package plugins

import (
	"time"
)

const (
	// examineFirst is the number of calls after which an instance is examined. It is examined again
	// each time the number has doubled.
	examineFirst = 75
	// recycleCalls is the number of calls after which an instance is replaced. recycleLeast is the
	// number that it serves at least, even if it has grown; recycleAge is how long it does.
	recycleCalls = 1_000_000
	recycleLeast = 4 * examineFirst
	recycleAge   = 10 * time.Second
	// recycleGrowth is how much memory an instance may have besides twice that of a new one;
	// recycleSize is how much larger it may be where its pages cannot be counted. Both are in
	// bytes.
	recycleGrowth = 256 << 10
	recycleSize   = 1 << 20
	// recycleRate is the number of grown instances of a plugin that are replaced per second.
	recycleRate = 100
)

// examine measures the memory of an instance after a call, and reports whether the instance should
// be replaced. Its garbage collector may need no more than it has, but most guests only grow: a Go
// guest has 0.4 MB at first and 5 MB after 10,000 calls.
func (in *instance) examine(calls uint64) bool {
	in.examineAt = 2 * calls
	if calls < recycleCalls {
		in.examineAt = min(in.examineAt, recycleCalls)
	}
	own, exact := in.linear.Measure()
	size := in.linear.Size()
	switch {
	case calls < recycleLeast:
		return false
	case calls >= recycleCalls || size > in.pool.plugin.recycleAbove:
		return true
	case time.Since(in.made) < recycleAge:
		return false
	case exact:
		return own > 2*in.fresh+recycleGrowth
	}
	return size > in.fresh+recycleSize
}

// renew makes a new instance for a slot in the background; the old one serves until then. It
// reports false if another one is being made for the host, or too many for the plugin.
func (p *pool) renew(s *slot) bool {
	c := p.plugin
	maker := &slot{}
	maker.state.Store(slotOwned)
	if !c.renewals.allow() || !p.maker.CompareAndSwap(nil, maker) {
		return false
	}
	started := p.background(func() {
		defer p.maker.Store(nil)
		in, lines, f := p.make(c.engine.ctx, maker, nil)
		p.logLines(lines)
		if f != nil {
			return // the old instance works
		}
		p.counters.recycled.Add(1)
		s.next.Store(in)
		p.install(s)
	})
	if !started {
		p.maker.Store(nil)
	}
	return started
}

// background calls f in a goroutine that takeDown waits for, unless the pool is retired.
func (p *pool) background(f func()) bool {
	c := p.plugin
	if p.retired.Load() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.retired.Load() { // retired meanwhile: takeDown may already be waiting
		return false
	}
	c.work.Go(f) // ends when the instance is made or closed; initTimeout and Engine.Close end that
	return true
}

// install puts the new instance of a slot in the place of the old one. It does nothing while the
// slot is in use: freeSlot calls it then.
func (p *pool) install(s *slot) {
	if !s.own(slotIdle) && !s.own(slotEmpty) {
		return
	}
	old := s.instance
	if next := s.next.Swap(nil); next != nil {
		p.put(s, next)
	} else {
		old = nil
	}
	if s.instance == nil {
		p.freeSlot(s, slotEmpty)
		return
	}
	p.freeSlot(s, slotIdle)
	if p.retired.Load() {
		p.closeIdle(s)
	}
	if old != nil && !p.background(old.close) {
		old.close()
	}
}

// put puts an instance into an owned slot.
func (p *pool) put(s *slot, in *instance) {
	in.opened, in.examineAt = s.calls(), examineFirst
	s.instance = in
	s.steps.Store(&in.steps)
	s.memory.Store(in.linear)
	s.measured.Store(s.calls())
}
