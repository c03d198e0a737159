package plugins

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/plugins/internal/memory"
)

// Plugin is a handle on a loaded plugin.
type Plugin struct {
	anchor   *anchor
	claim    *claim // on what the plugin stores; nil if it does not
	released atomic.Bool
}

// newPlugin returns a handle on a, which counts it already.
func newPlugin(a *anchor, serves func(host string) bool) *Plugin {
	p := &Plugin{anchor: a}
	if a.program.stores {
		p.claim = &claim{plugin: a.name, core: a.number, serves: serves}
		a.stores.add(p.claim)
		runtime.AddCleanup(p, a.stores.remove, p.claim)
	}
	return p
}

// Info describes the file of a plugin.
type Info struct {
	// Size is the size of the file in bytes; MeteredSize that of the module after it was made to
	// count its steps.
	Size        int `json:"size"`
	MeteredSize int `json:"metered_size"`
	// Functions is the number of functions that the module defines.
	Functions int `json:"functions"`
	// MemoryMin is the memory of a new instance, in bytes.
	MemoryMin int64 `json:"memory_min"`
	// MemoryMax is the most memory that an instance can use, in bytes: the limit, or the module's
	// declared maximum if that is less.
	MemoryMax int64 `json:"memory_max"`
	// Imports and Exports are names with types, such as "rollcall.log func (i32, i32, i32) -> ()".
	Imports []string `json:"imports"`
	Exports []string `json:"exports"`
	// Unknown lists exports that start with "rollcall_" and are not in the contract. They are never
	// called, and may be misspelt hooks.
	Unknown []string `json:"unknown,omitempty"`
	// Configures reports whether the module exports rollcall_configure.
	Configures bool `json:"configures"`
}

// Name returns the plugin's name.
func (p *Plugin) Name() string { return p.anchor.name }

// Path returns the file that the plugin was loaded from.
func (p *Plugin) Path() string { return p.anchor.key.path }

// Reports reports whether r is about this plugin, and not another one with its name.
func (p *Plugin) Reports(r *Report) bool { return p.anchor.number == r.core }

// Hash returns the SHA-256 of the file in hexadecimal.
func (p *Plugin) Hash() string { return p.anchor.program.key.hash }

// Hooks returns the hooks that the plugin exports.
func (p *Plugin) Hooks() Hooks { return p.anchor.program.hooks }

// Info returns a description of the file.
func (p *Plugin) Info() Info { return p.anchor.program.info }

// Try makes and configures one instance for host and keeps it warm, unless there is one. It
// bypasses the breaker.
//
// # Errors
//
// The text of an [*Error] includes what the guest logged. When ctx ends, so does the guest, and the
// error wraps that of ctx.
func (p *Plugin) Try(ctx context.Context, host string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	defer runtime.KeepAlive(p)
	pool := p.anchor.pool(host)
	s, f := pool.tryAcquire(ctx)
	if f != nil {
		return pool.error(HookNone, f)
	}
	if s != nil {
		pool.freeSlot(s, slotIdle)
	}
	return nil
}

// Release tells the plugin that the configuration that loaded it is no longer used. When the last
// handle is released, idle instances are closed, and others when their call ends. Running calls
// finish, and later calls through a handle still work. Only the first Release of a handle counts.
func (p *Plugin) Release() {
	if p.released.CompareAndSwap(false, true) {
		p.anchor.removeHandle()
		if p.claim != nil {
			p.anchor.stores.remove(p.claim)
		}
	}
}

// rehearsal holds the result of Rehearse.
type rehearsal struct {
	mu   sync.Mutex
	done bool
	err  error
}

// Rehearse calls f with a copy of the plugin. The copy has the same code, configuration and
// budgets, but its own instances, breakers, counters and store. It logs nothing, always denies on
// failure, and no call of a hook takes longer than timeout. f must not keep it.
//
// It returns the error of f. Handles on the same loaded plugin share it: f is called for the first
// of them, and again only if its error was that of a context.
func (p *Plugin) Rehearse(timeout time.Duration, f func(*Plugin) error) error {
	defer runtime.KeepAlive(p)
	c := p.anchor.core
	r := &c.rehearsal
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return r.err
	}
	double := newPlugin(&anchor{c.rehearsalCore(timeout)}, nil)
	defer double.Release()
	r.err = f(double)
	r.done = !errors.Is(r.err, context.Canceled) && !errors.Is(r.err, context.DeadlineExceeded)
	return r.err
}

// rehearsalCore returns a core that the engine does not know. It uses the program of c, which must
// outlive it, and never replaces an instance in the background.
func (c *core) rehearsalCore(timeout time.Duration) *core {
	limits := c.limits
	limits.Instances = 1
	for _, t := range []*time.Duration{&limits.ClassifyTimeout, &limits.MessageTimeout, &limits.ShapeTimeout} {
		*t = min(*t, timeout)
	}
	d := &core{
		engine: c.engine, key: c.key, program: c.program, hooks: c.hooks, name: c.name, config: c.config, policy: Deny,
		limits: limits, recycleAbove: c.recycleAbove, logger: zap.NewNop(),
		counters: func(string) *Counters { return new(Counters) }, checkGrants: c.checkGrants, buckets: newBuckets(),
		counts: new(Counts), stores: NewStores(), storeBudget: memory.NewBudget(limits.KV + storeBytes),
	}
	d.replacements, d.renewals = newBucket(0, 0), newBucket(0, 0)
	d.addHandle()
	return d
}
