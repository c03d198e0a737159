package plugins

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/internal/oftenlog"
	"github.com/rollcall-gateway/rollcall/internal/plural"
	"github.com/rollcall-gateway/rollcall/plugins/internal/breaker"
)

const (
	// recycleCalls is after how many calls an instance is replaced, and recycleLeast how many it serves in any case.
	recycleCalls = 1_000_000
	recycleLeast = 10_000
	// replaceRate is how many failed instances of a plugin are replaced in the background in a second.
	replaceRate = 10
	// logAgain is how long a failure is not logged again for the same reason.
	logAgain = 10 * time.Second
)

// pool has the instances of a plugin for one host.
//
// An idle instance is found through hint, which remembers the slot that this processor used last, or by looking at all
// slots. The slots own the instances: hint may forget what it likes.
type pool struct {
	plugin    *core
	host      string
	counters  *Counters
	logger    *zap.Logger
	logBucket *bucket
	breaker   breaker.Breaker

	slots []atomic.Pointer[slot]
	hint  sync.Pool
	// retired is set when the plugin was released or the host was idle: instances are closed when their call ends.
	retired atomic.Bool
	// waiters counts the goroutines that wait for an instance; freed wakes one.
	waiters atomic.Int32
	freed   chan struct{}
	// long bounds the calls of members and shape.
	long longCalls

	// watched says that the watchdog looks at the pool. quiet is the watchdog's.
	watched atomic.Bool
	quiet   int

	// mu guards what follows.
	mu          sync.Mutex
	logged      map[Reason]*oftenlog.Limit
	misses      uint64 // calls that failed before they reached an instance
	failures    uint64
	lastFailure string
	unused      time.Time // since when there is no instance; the janitor's
}

func newPool(c *core, host string) *pool {
	p := &pool{
		plugin: c, host: host, counters: c.counters(host),
		logger:    c.logger.With(zap.String("plugin", c.name), zap.String("host", host)),
		logBucket: newBucket(logRate, logBurst),
		slots:     make([]atomic.Pointer[slot], c.limits.Instances),
		freed:     make(chan struct{}, c.limits.Instances),
		long:      newLongCalls(c.limits.Instances),
		logged:    make(map[Reason]*oftenlog.Limit),
	}
	return p
}

func (p *pool) watch() {
	if !p.watched.Load() {
		p.plugin.engine.watchdog.watch(p)
	}
}

// takeHinted returns the slot that was used last, busy with a call for which it is armed, or nil.
func (p *pool) takeHinted() *slot {
	if s, _ := p.hint.Get().(*slot); s != nil && s.take() {
		return s
	}
	return nil
}

// ownHinted returns the slot that was used last, owned by the caller, or nil. Each call takes a hint, since each leaves
// one.
func (p *pool) ownHinted() *slot {
	if s, _ := p.hint.Get().(*slot); s != nil && s.own(slotIdle) {
		return s
	}
	return nil
}

// acquire returns a slot with an instance, owned by the caller. It makes an instance when none is idle and there is
// room, and otherwise waits.
func (p *pool) acquire(timeout time.Duration) (*slot, *fault) {
	if s, f := p.tryAcquire(context.Background()); s != nil || f != nil {
		return s, f
	}
	p.waiters.Add(1)
	defer p.waiters.Add(-1)
	start := time.Now()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		if s, f := p.tryAcquire(context.Background()); s != nil || f != nil {
			if s != nil {
				s.waited.Store(int64(time.Since(start)))
			}
			return s, f
		}
		select {
		case <-p.freed:
		case <-timer.C:
			return nil, faultf(ReasonBusy, "no instance became free in %v, there may be %s", timeout,
				plural.Of(len(p.slots), "instance"))
		}
	}
}

// tryAcquire does not wait for an instance that is busy. ctx ends the making of a new one.
func (p *pool) tryAcquire(ctx context.Context) (*slot, *fault) {
	for i := range p.slots {
		if s := p.slots[i].Load(); s != nil && s.own(slotIdle) {
			return s, nil
		}
	}
	s := p.vacant()
	if s == nil {
		return nil, nil
	}
	if f := p.fill(ctx, s); f != nil {
		return nil, f
	}
	return s, nil
}

// vacant returns an empty slot, owned by the caller, or nil.
func (p *pool) vacant() *slot {
	for i := range p.slots {
		s := p.slots[i].Load()
		if s == nil {
			s = &slot{number: i, shard: p.counters.shard(i)}
			s.state.Store(slotOwned)
			if p.slots[i].CompareAndSwap(nil, s) {
				return s
			}
			s = p.slots[i].Load()
		}
		if s.own(slotEmpty) {
			return s
		}
	}
	return nil
}

// fill makes an instance in an owned slot, and gives up the slot when that fails.
func (p *pool) fill(ctx context.Context, s *slot) *fault {
	p.plugin.engine.janitor.wake()
	lines, f := p.open(ctx, s)
	if f != nil {
		p.counters.restarts[reasonIndex(f.reason)].Add(1)
		p.leave(s, slotEmpty)
	}
	p.write(lines)
	return f
}

// leave gives up an owned slot, and wakes who waits for one.
func (p *pool) leave(s *slot, status uint64) {
	if s.waited.Load() != 0 {
		s.waited.Store(0)
	}
	s.leave(status)
	if p.waiters.Load() > 0 {
		select {
		case p.freed <- struct{}{}:
		default: // there are as many signals as slots
		}
	}
}

// release gives back an instance that works.
func (p *pool) release(s *slot) {
	if calls := s.calls() - s.instance.opened; calls >= recycleLeast &&
		(calls >= recycleCalls || s.instance.linear.Size() > p.plugin.high) {
		p.counters.recycled.Add(1)
		p.discard(s)
		p.replace()
		return
	}
	p.leave(s, slotIdle)
	if p.retired.Load() {
		p.closeIdle(s)
		return
	}
	p.hint.Put(s)
}

// discard closes the instance of an owned slot.
func (p *pool) discard(s *slot) {
	in := s.instance
	s.instance = nil
	s.steps.Store(nil)
	s.memory.Store(nil)
	in.close()
	p.leave(s, slotEmpty)
}

func (p *pool) closeIdle(s *slot) bool {
	if !s.own(slotIdle) {
		return false
	}
	p.discard(s)
	return true
}

// replace makes an instance in the background, in the place of one that was discarded.
func (p *pool) replace() {
	c := p.plugin
	if p.retired.Load() || !c.replacements.take() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.retired.Load() { // who retired it waits for what was begun before
		return
	}
	c.background.Go(func() { // it ends with the making of one instance, which initTimeout and Close of the engine end
		s := p.vacant()
		if s == nil {
			return
		}
		if f := p.fill(c.engine.ctx, s); f != nil {
			if c.engine.ctx.Err() == nil {
				p.logFailure("plugin could not be restarted", f)
			}
			return
		}
		p.release(s)
	})
}

// close closes all idle instances.
func (p *pool) close() {
	for i := range p.slots {
		if s := p.slots[i].Load(); s != nil {
			p.closeIdle(s)
		}
	}
}

// calls is the number of calls so far.
func (p *pool) calls() (n uint64) {
	for i := range p.slots {
		if s := p.slots[i].Load(); s != nil {
			n += s.calls()
		}
	}
	return n
}

// write logs what a guest said.
func (p *pool) write(lines []guestLine) {
	for _, l := range lines {
		if e := p.logger.Check(l.level, l.text); e != nil {
			e.Write()
		}
	}
}
