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
	// replaceRate is the number of failed instances of a plugin that are replaced in the background
	// per second.
	replaceRate = 10
	// logAgain is the pause before a failure with the same reason is logged again.
	logAgain = 10 * time.Second
)

// pool holds the instances of a plugin for one host.
//
// An idle instance is found through hint, which remembers the slot that this processor used last,
// or by scanning all slots. The slots own the instances: hint may forget entries at any time.
type pool struct {
	plugin    *core
	host      string
	counters  *Counters
	logger    *zap.Logger
	logBucket *bucket
	breakers  [hookCount]breaker.Breaker

	slots []atomic.Pointer[slot]
	hint  sync.Pool
	// maker is the slot in which an instance for another slot is being made, or nil.
	maker atomic.Pointer[slot]
	// retired is set when the plugin is released or the host was idle: instances are closed when
	// their call ends.
	retired atomic.Bool
	// waiters counts the goroutines that wait for an instance; freed wakes one.
	waiters atomic.Int32
	freed   chan struct{}
	// polling has a value for each login that looks for an instance, see acquireSpare.
	polling chan struct{}
	// stored is the store of the plugin and the host; nil until it is used.
	stored atomic.Pointer[store]
	// long bounds the running calls of members and shape.
	long longCalls

	// watched is set while the watchdog samples the pool. quiet belongs to the watchdog: ticks
	// without a call.
	watched atomic.Bool
	quiet   int

	// mu guards the fields below.
	mu          sync.Mutex
	logged      map[Reason]*oftenlog.Limit
	misses      [hookCount]uint64 // calls that failed before they reached an instance
	failures    uint64
	lastFailure string
	unused      time.Time // first sweep without an instance; belongs to the janitor
}

func newPool(c *core, host string) *pool {
	p := &pool{
		plugin: c, host: host, counters: c.counters(host),
		logger:    c.logger.With(zap.String("plugin", c.name), zap.String("host", host)),
		logBucket: newBucket(logRate, logBurst),
		slots:     make([]atomic.Pointer[slot], c.limits.Instances),
		freed:     make(chan struct{}, c.limits.Instances),
		polling:   make(chan struct{}, maxPolling),
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

// claimHinted returns the slot that was used last, busy with a short call, or nil. Idle instances
// are armed for short calls.
func (p *pool) claimHinted() *slot {
	if s, _ := p.hint.Get().(*slot); s != nil && s.claim() {
		return s
	}
	return nil
}

// ownHinted returns the slot that was used last, owned by the caller, or nil. Each call takes one
// hint, because each call leaves one.
func (p *pool) ownHinted() *slot {
	if s, _ := p.hint.Get().(*slot); s != nil && s.own(slotIdle) {
		return s
	}
	return nil
}

// acquire returns a slot with an instance, owned by the caller. If none is idle, it makes one if
// there is room, and waits otherwise.
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
			return nil, faultf(ReasonBusy, "no instance became free within %v; the limit is %s", timeout,
				plural.Of(len(p.slots), "instance"))
		}
	}
}

// tryAcquire is acquire without the wait: it returns nil if all instances are busy. ctx ends the
// making of a new one.
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

// fill makes an instance in an owned slot, and frees the slot if that fails.
func (p *pool) fill(ctx context.Context, s *slot) *fault {
	p.plugin.engine.janitor.wake()
	s.used.Store(time.Now().UnixNano())
	in, lines, f := p.make(ctx, s, p.plugin.engine.janitor.evict)
	if f != nil {
		p.counters.restarts[reasonIndex(f.reason)].Add(1)
		p.freeSlot(s, slotEmpty)
	} else {
		p.put(s, in)
	}
	p.logLines(lines)
	return f
}

// freeSlot gives up an owned slot, and wakes a goroutine that waits for one.
func (p *pool) freeSlot(s *slot, status uint64) {
	if s.waited.Load() != 0 {
		s.waited.Store(0)
	}
	s.free(status)
	if s.next.Load() != nil {
		p.install(s)
	}
	if p.waiters.Load() > 0 {
		select {
		case p.freed <- struct{}{}:
		default: // every slot has a signal already
		}
	}
}

// release returns a working instance to the pool.
func (p *pool) release(s *slot) {
	in := s.instance
	if calls := s.calls() - in.opened; calls >= in.examineAt {
		s.measured.Store(s.calls())
		if in.examine(calls) && !p.renew(s) {
			in.examineAt = calls + examineFirst
		}
	}
	p.freeSlot(s, slotIdle)
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
	p.freeSlot(s, slotEmpty)
}

func (p *pool) closeIdle(s *slot) bool {
	if !s.own(slotIdle) {
		return false
	}
	p.discard(s)
	return true
}

// replace makes an instance in the background, to replace a discarded one.
func (p *pool) replace() {
	c := p.plugin
	if p.retired.Load() || !c.replacements.allow() {
		return
	}
	p.background(func() {
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

// calls returns the number of calls of the hook so far.
func (p *pool) calls(h Hook) (n uint64) {
	for i := range p.slots {
		if s := p.slots[i].Load(); s != nil {
			n += s.callsOf(h)
		}
	}
	return n
}

// breakerState returns the state of the breaker that stops the most calls.
func (p *pool) breakerState() (state string) {
	for h := range p.breakers {
		if s := p.breakers[h].String(); state == "" || s == "open" || s == "half-open" && state == "closed" {
			state = s
		}
	}
	return state
}

// logLines logs the output of a guest.
func (p *pool) logLines(lines []guestLine) {
	for _, l := range lines {
		if e := p.logger.Check(l.level, l.text); e != nil {
			e.Write()
		}
	}
}
