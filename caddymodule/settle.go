package caddymodule

import (
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/caddymodule/pluginhost"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
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
	if a.ways != nil {
		a.ways.release()
		a.ways = nil
	}
	a.owners.Settle()
	return &gateway.Configuration{
		Owners: a.owners, DataCenter: a.DataCenter, Pod: a.Pod, DrainTimeout: time.Duration(a.DrainTimeout),
		Cluster: a.cluster, Logger: a.logger, Sites: a.ownerSites(), Retired: &a.stopped,
	}, nil
}

// ownerSites returns the sites that own a host, each once, in the order in which they were loaded.
func (a *App) ownerSites() []gateway.Served {
	owning := a.owners.Sites()
	sets := make(map[*site.Site]*pluginhost.Set)
	for _, h := range a.handlers {
		if h.made != nil {
			sets[h.made] = h.plugins
		}
	}
	var sites []gateway.Served
	for _, h := range a.handlers {
		s := h.rollcall.Site
		if !owning[s] {
			continue
		}
		owning[s] = false
		sites = append(sites, gateway.Served{
			Site: s, Plugins: sets[s], Host: a.owners.FirstHost(s), Hosts: a.owners.HostsOf(s).Patterns(),
		})
	}
	return sites
}
