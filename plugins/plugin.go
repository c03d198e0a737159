package plugins

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Plugin is a handle on a loaded plugin.
type Plugin struct {
	anchor   *anchor
	released atomic.Bool
}

// Info describes the file of a plugin.
type Info struct {
	// Size of the file and of the module after it was made to count its steps, in bytes.
	Size        int `json:"size"`
	MeteredSize int `json:"metered_size"`
	// Functions is the number of functions that the module defines.
	Functions int `json:"functions"`
	// MemoryMin is the memory of a new instance, in bytes.
	MemoryMin int64 `json:"memory_min"`
	// MemoryMax is the most that an instance can have, in bytes: the limit, or what the module declares when that is less.
	MemoryMax int64 `json:"memory_max"`
	// Imports and Exports list names with types, as "rollcall.log func (i32, i32, i32) -> ()".
	Imports []string `json:"imports"`
	Exports []string `json:"exports"`
	// Unknown lists the exports whose name begins with "rollcall_" and is not in the contract: they are never called, and
	// may be misspelt hooks.
	Unknown []string `json:"unknown,omitempty"`
	// Configures says that the module exports rollcall_configure.
	Configures bool `json:"configures"`
}

// Name returns the plugin's name.
func (p *Plugin) Name() string { return p.anchor.name }

// Path returns the file that the plugin was loaded from.
func (p *Plugin) Path() string { return p.anchor.key.path }

// Hash returns the SHA-256 of the file in hexadecimal.
func (p *Plugin) Hash() string { return p.anchor.program.key.hash }

// Hooks returns the hooks that the plugin exports.
func (p *Plugin) Hooks() Hooks { return p.anchor.program.hooks }

// Info returns what is known of the file.
func (p *Plugin) Info() Info { return p.anchor.program.info }

// Try makes and configures one instance for host and keeps it warm, unless there is one. The breaker is not asked and
// not told.
//
// # Errors
//
// The text of an [*Error] has what the guest logged. When ctx ends, so does the guest, and the error wraps that of ctx.
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
		pool.leave(s, slotIdle)
	}
	return nil
}

// Release says that the configuration that loaded the plugin is gone. With the last handle's Release idle instances are
// closed, and others when their call ends. Calls under way, and later ones by those who still hold the plugin, work.
// Releasing twice does nothing.
func (p *Plugin) Release() {
	if p.released.CompareAndSwap(false, true) {
		p.anchor.drop()
	}
}

// rehearsal is what came of the calls of a plugin before it served anyone.
type rehearsal struct {
	mu   sync.Mutex
	done bool
	err  error
}

// Rehearse calls f with a copy of the plugin that has the same code, configuration and steps, and instances, breakers
// and counters of its own. The copy logs nothing, always denies when it fails, and no call of a hook takes longer than
// timeout. f must not keep it.
//
// It returns the error of f. Handles on the same loaded plugin share it: f is called for the first of them, and again
// only if its error was that of a context.
func (p *Plugin) Rehearse(timeout time.Duration, f func(*Plugin) error) error {
	defer runtime.KeepAlive(p)
	c := p.anchor.core
	r := &c.rehearsal
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return r.err
	}
	double := &Plugin{anchor: &anchor{c.double(timeout)}}
	defer double.Release()
	r.err = f(double)
	r.done = !errors.Is(r.err, context.Canceled) && !errors.Is(r.err, context.DeadlineExceeded)
	return r.err
}

// double returns a core that the engine does not know. It uses the program of c, which has to outlive it, and never
// replaces an instance in the background.
func (c *core) double(timeout time.Duration) *core {
	limits := c.limits
	limits.Instances = 1
	limits.ClassifyTimeout, limits.ShapeTimeout = min(limits.ClassifyTimeout, timeout), min(limits.ShapeTimeout, timeout)
	d := &core{
		engine: c.engine, key: c.key, program: c.program, hooks: c.hooks, name: c.name, config: c.config, policy: Deny,
		limits: limits, high: c.high, logger: zap.NewNop(), counters: func(string) *Counters { return new(Counters) },
		buckets: newBuckets(),
	}
	d.replacements = newBucket(0, 0)
	d.hold()
	return d
}
