package caddymodule

import (
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
)

// settleOwners makes the snapshot of a configuration whose handlers are all provisioned. No handler can come in
// afterwards.
func (a *App) settleOwners() (*gateway.Configuration, error) {
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
	return &gateway.Configuration{
		Owners: &a.owners, DataCenter: a.DataCenter, Pod: a.Pod, DrainTimeout: time.Duration(a.DrainTimeout),
		Cluster: a.cluster, Logger: a.logger, Sites: a.ownerSites(), Retired: &a.stopped,
	}, nil
}
