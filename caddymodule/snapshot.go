package caddymodule

import (
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence"
)

// snapshot is one configuration as the hub sees it. It never changes.
type snapshot struct {
	*owners
	app    *App
	logger *zap.Logger
	sites  []*site // that own a host, each once, in the order in which they were loaded

	// shutdownDelay is how long HTTP goes on listening when Caddy exits, zero by default.
	shutdownDelay time.Duration
}

// settleOwners makes the snapshot of a configuration whose handlers are all provisioned. No handler can come in
// afterwards.
func (a *App) settleOwners() (*snapshot, error) {
	if err := a.enterNamed(); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settled = true
	a.ways, a.ends, a.rewrites = wayFinder{}, nil, nil // what was needed to find ways and compare them
	for _, h := range a.handlers {
		for i := range h.way.steps {
			h.way.steps[i].handlers = nil
		}
	}
	return &snapshot{owners: &a.owners, app: a, logger: a.logger, sites: a.ownerSites()}, nil
}

// inherit hands the keys that a site has fetched on to the site of the same hosts.
func (s *snapshot) inherit(old *snapshot) {
	for _, of := range s.sites {
		if of.verifier == nil {
			continue
		}
		for _, pattern := range patternsOf(of.hosts()) {
			if c := old.owners.get(pattern); c != nil && c.site.verifier != nil {
				of.verifier.Inherit(c.site.verifier)
				break
			}
		}
	}
}

// otherHosts is the label of all hosts that the configuration does not name: on a site for any host, a client chooses
// the name, and metrics must stay few.
const otherHosts = "_other"

// label returns the host's name for metrics.
func (s *snapshot) label(name presence.HostName) string {
	if s.named(name.String()) != nil {
		return name.String()
	}
	return otherHosts
}
