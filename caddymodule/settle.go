package caddymodule

import "time"

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
	return &snapshot{
		Owners: &a.owners, dataCenter: a.DataCenter, pod: a.Pod, drainTimeout: time.Duration(a.DrainTimeout),
		cluster: a.cluster, logger: a.logger, sites: a.ownerSites(), retired: &a.stopped,
	}, nil
}
