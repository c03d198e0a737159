package pluginhost

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// Set is the plugins of one site, in the order in which they are called.
type Set struct {
	host    *Host
	engine  *engineUse
	chain   *plugins.Chain
	plugins []*loadedPlugin
	Logger  *zap.Logger // of the site
	close   func() error
}

// loadedPlugin is a plugin of a site and its spec.
type loadedPlugin struct {
	spec    plugins.Spec
	watched bool
	loaded  *plugins.Plugin // replaced by the watcher, which alone uses it after the configuration has started
}

// Spec is one plugin to load.
type Spec struct {
	plugins.Spec
	Watched bool // if set, a changed file is loaded without a reload
}

// Load loads the plugins of a site with the engine of the memory budget, in bytes. The logger is
// for messages about the site. If a plugin cannot be loaded, Load returns its error. The caller
// calls [Set.Release].
func (ph *Host) Load(ctx context.Context, memory int64, specs []Spec, logger *zap.Logger) (*Set, error) {
	ctx, cancel := ph.untilExit(ctx)
	defer cancel()
	engine, err := ph.open(memory)
	if err != nil {
		return nil, err
	}
	s := &Set{host: ph, engine: engine, Logger: logger}
	var loaded []*plugins.Plugin
	s.close = sync.OnceValue(func() error {
		s.chain.Release()
		return ph.release(engine)
	})
	for _, spec := range specs {
		ph.prepare(&spec.Spec)
		p, err := ph.load(ctx, engine, spec.Spec)
		if err != nil {
			s.chain = plugins.NewChain(loaded...)
			_ = s.Release() // the first error is more useful
			return nil, err
		}
		loaded = append(loaded, p)
		s.plugins = append(s.plugins, &loadedPlugin{spec: spec.Spec, watched: spec.Watched, loaded: p})
	}
	s.chain = plugins.NewChain(loaded...)
	return s, nil
}

// Chain returns the plugins in order. It is never nil.
func (s *Set) Chain() *plugins.Chain { return s.chain }

// Release releases the plugins. Requests in progress keep using them. Releasing twice is not an
// error.
func (s *Set) Release() error { return s.close() }

// untilExit returns a context that ends with ctx, or when the process is about to exit. Caddy does
// not announce an exit while a configuration loads, and waits for the load.
func (ph *Host) untilExit(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() { // ends with the context
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if ph.cfg.Exiting() {
					cancel()
				}
			}
		}
	}()
	return ctx, cancel
}
