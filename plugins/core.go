package plugins

import (
	"encoding/json"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/plugins/internal/memory"
)

// coreKey identifies a core: loads with equal keys share one.
type coreKey struct {
	program programKey
	name    string
	path    string
	config  string
	policy  Policy
	shared  bool
	grants  bool // Spec.CheckGrants is set
	limits  Limits
}

// core is a loaded plugin, shared by its handles. The engine, its janitor and its watchdog refer to
// the core, and the handles to its anchor. The core does not refer to its anchor: when the last
// handle is unreachable, so is the anchor, and the core is taken down.
type core struct {
	engine       *Engine
	number       uint64 // no other core of the process has it
	key          coreKey
	program      *program
	hooks        Hooks
	name         string
	config       json.RawMessage
	policy       Policy
	limits       Limits
	recycleAbove int64 // bytes of memory above which an instance is recycled
	logger       *zap.Logger
	counters     func(host string) *Counters
	checkGrants  func(channels []byte) error // see Spec.CheckGrants

	counts      *Counts
	stores      *Stores
	storeBudget *memory.Budget // of what the plugin stores

	buckets
	rehearsal rehearsal

	// hosts maps each host to its *pool. recent caches some of them, for a cheaper look-up.
	hosts  sync.Map
	recent [recentPools]atomic.Pointer[pool]

	// work counts the goroutines that make or close instances. They hold no handle, so taking the
	// core down waits for them. They are started with mu held, and never for a retired pool.
	work sync.WaitGroup

	mu      sync.Mutex
	handles int // guarded by mu
}

// cores is the number of cores so far.
var cores atomic.Uint64

// buckets bound what a plugin causes over all its hosts. Where clients choose the names of hosts,
// their number has no bound.
type buckets struct {
	replacements *bucket // instances that replace failed ones
	renewals     *bucket // instances that replace grown ones
	failureLines *bucket // lines of the log
	guestLines   *bucket // lines of the log
}

func newBuckets() buckets {
	return buckets{
		replacements: newBucket(replaceRate, replaceRate),
		renewals:     newBucket(recycleRate, recycleRate),
		failureLines: newBucket(logRate, logBurst),
		guestLines:   newBucket(10*logRate, 10*logBurst),
	}
}

type anchor struct{ *core }

// newAnchor returns an anchor for c. Some time after the anchor becomes unreachable, c is taken
// down.
func newAnchor(c *core) *anchor {
	a := &anchor{c}
	// In a goroutine, so that other cleanups do not wait for instances that are being made.
	runtime.AddCleanup(a, func(c *core) { go c.takeDown() }, c)
	return a
}

// takeDown closes the remaining instances. No call is running: a call holds a handle.
func (c *core) takeDown() {
	c.retire()
	c.work.Wait()
	e := c.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.cores, c)
	if w, ok := e.loaded[c.key]; ok && w.Value() == nil {
		delete(e.loaded, c.key)
	}
	e.releaseProgram(c.program)
}

// releaseProgram removes one user from a program and closes it after the last. The caller holds mu.
func (e *Engine) releaseProgram(p *program) {
	if p.users--; p.users == 0 {
		if e.programs[p.key] == p {
			delete(e.programs, p.key)
		}
		p.close()
	}
}

// pool returns the pool for host.
func (c *core) pool(host string) *pool {
	if c.key.shared {
		host = ""
	}
	recent := &c.recent[(len(host)+int(hostByte(host)))%recentPools]
	if p := recent.Load(); p != nil && p.host == host && !p.retired.Load() {
		return p
	}
	p := c.findPool(host)
	if !p.retired.Load() {
		recent.Store(p)
	}
	return p
}

// recentPools is a power of two.
const recentPools = 16

// hostByte returns a byte that is likely to differ between the hosts of a process.
func hostByte(host string) byte {
	if host == "" {
		return 0
	}
	return host[0] ^ host[len(host)/4]
}

func (c *core) findPool(host string) *pool {
	if p, ok := c.hosts.Load(host); ok {
		return p.(*pool)
	}
	p, found := c.hosts.LoadOrStore(host, newPool(c, host))
	if !found {
		c.mu.Lock()
		p.(*pool).retired.Store(c.handles == 0)
		c.mu.Unlock()
		c.engine.janitor.wake()
	}
	return p.(*pool)
}

func (c *core) pools() (list []*pool) {
	c.hosts.Range(func(_, p any) bool {
		list = append(list, p.(*pool))
		return true
	})
	return list
}

func (c *core) retired() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.handles == 0
}

// addHandle adds a handle, and revives a retired plugin.
func (c *core) addHandle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.handles++; c.handles == 1 {
		for _, p := range c.pools() {
			p.retired.Store(false)
		}
	}
}

// removeHandle removes a handle, and retires the plugin after the last.
func (c *core) removeHandle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.handles--; c.handles == 0 {
		c.retireLocked()
	}
}

func (c *core) retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retireLocked()
}

func (c *core) retireLocked() {
	for _, p := range c.pools() {
		p.retired.Store(true)
		p.close()
	}
}

func (c *core) report() Report {
	r := Report{
		Name: c.name, Path: c.key.path, SHA256: c.key.program.hash, Size: c.program.info.Size,
		Hooks: c.program.hooks.Names(), OnFailure: c.policy.String(), Shared: c.key.shared, Image: c.program.image.Size(), Hosts: []HostReport{},
		core: c.number,
	}
	for _, p := range c.pools() {
		r.Hosts = append(r.Hosts, p.report())
	}
	return r
}

func (p *pool) report() HostReport {
	r := HostReport{Host: p.host, Breaker: p.breakerState()}
	for i := range p.slots {
		s := p.slots[i].Load()
		if s == nil {
			continue
		}
		switch s.status() {
		case slotEmpty:
			continue
		case slotIdle:
			r.Idle++
		default:
			r.Busy++
		}
		m := s.memory.Load()
		r.Memory += m.Charged()
		r.LinearMemory += m.Size()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	r.Failures, r.LastFailure = p.failures, p.lastFailure
	return r
}

// bucket is a token bucket.
type bucket struct {
	rate, burst float64 // rate in tokens per second

	mu     sync.Mutex
	tokens float64
	last   time.Time
}

func newBucket(rate, burst float64) *bucket { return &bucket{rate: rate, burst: burst, tokens: burst} }

func (b *bucket) allow() bool {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.last.IsZero() {
		b.tokens = min(b.burst, b.tokens+b.rate*now.Sub(b.last).Seconds())
	}
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
