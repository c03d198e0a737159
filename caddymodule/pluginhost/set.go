package pluginhost

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// Set is the plugins of one site, in the order in which they are asked.
type Set struct {
	host    *Host
	engine  *engineUse
	chain   *plugins.Chain
	plugins []*loadedPlugin
	Logger  *zap.Logger // of the site
	close   func() error
}

// loadedPlugin is a plugin of a site, and how it was loaded.
type loadedPlugin struct {
	spec    plugins.Spec
	watched bool
	loaded  *plugins.Plugin // replaced by the watcher, which alone uses it once the configuration has started
}

// Spec is one plugin to load.
type Spec struct {
	plugins.Spec
	Watched bool // a changed file is loaded without a reload of the configuration
}

// Load loads the plugins of a site, from the engine with the memory budget in bytes. Logger gets what concerns the site
// alone. It returns the error of the first plugin that cannot be loaded. The caller has to call [Set.Release].
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
			_ = s.Release() // the first error says more
			return nil, err
		}
		loaded = append(loaded, p)
		s.plugins = append(s.plugins, &loadedPlugin{spec: spec.Spec, watched: spec.Watched, loaded: p})
	}
	s.chain = plugins.NewChain(loaded...)
	return s, nil
}

// Chain returns the plugins as they are asked. It is never nil.
func (s *Set) Chain() *plugins.Chain { return s.chain }

// Release gives the plugins back. Requests that are under way go on with them. Another call does nothing.
func (s *Set) Release() error { return s.close() }

// untilExit returns a context that ends with ctx, and when the process is about to exit. Caddy waits for the load of a
// configuration before it stops the one in effect, and tells nobody.
func (ph *Host) untilExit(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() { // it ends with the context
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
