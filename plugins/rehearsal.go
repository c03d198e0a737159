package plugins

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"go.uber.org/zap"
)

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
