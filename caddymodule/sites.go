package caddymodule

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/caddymodule/pluginhost"
	"github.com/rollcall-gateway/rollcall/caddymodule/routes"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
)

// errLate is returned for a handler that another plugin loads after the start, when its hosts have
// owners already.
var errLate = errors.New("rollcall is loaded after the start of its configuration: write it in the routes of the configuration")

// findWay returns the way to the rollcall that is being provisioned.
func (a *App) findWay(ctx caddy.Context) *routes.Way { return a.findWayBy(ctx, (*wayFinder).find) }

func (a *App) findWayBy(ctx caddy.Context, find func(*wayFinder, caddy.Context) *routes.Way) *routes.Way {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ways == nil {
		if a.settled {
			return routes.NewWay(nil, nil) // enter refuses the handler
		}
		a.ways = newWayFinder(a.ctx)
	}
	return find(a.ways, ctx)
}

// enter makes a handler a door to the hosts on a way to it. It reports whether the handler's site
// is new, and so has yet to be provisioned.
func (a *App) enter(h *Handler, w *routes.Way) (isNew bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.settled {
		return false, errLate
	}
	return a.owners.Enter(&h.rollcall, w)
}

// newOwners returns the owners of a configuration without handlers.
func (a *App) newOwners() *routes.Owners {
	return &routes.Owners{
		NewSite: a.newSite,
		Logger:  a.logger,
	}
}

// newSite returns a site of the configuration, which has yet to be provisioned.
func (a *App) newSite(of site.Settings) *site.Site {
	return &site.Site{Settings: of, DataCenter: a.DataCenter, Clustered: a.cluster != nil, Retired: &a.stopped}
}

// settleOwners returns the configuration for the hub once all handlers are provisioned. Later
// handlers are refused.
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
	sites, err := a.settleSites()
	if err != nil {
		return nil, err
	}
	return &gateway.Configuration{
		Owners: a.owners, DataCenter: a.DataCenter, Pod: a.Pod, DrainTimeout: time.Duration(a.DrainTimeout),
		Cluster: a.cluster, Logger: a.logger, Sites: sites, Retired: &a.stopped,
	}, nil
}

// settleSites returns the sites that own a host, once it is settled which ones they own.
func (a *App) settleSites() ([]gateway.Served, error) {
	// CheckApps needs the routes, which Settle drops.
	checked := make(map[*site.Site]bool)
	for _, h := range a.handlers {
		if checked[h.rollcall.Site] {
			continue
		}
		checked[h.rollcall.Site] = true
		a.warnOfHosts(h.rollcall.Site)
		if err := a.owners.CheckApps(h.rollcall.Site, a.logger); err != nil {
			return nil, err
		}
	}
	a.bindConsoles() // likewise
	if err := a.owners.Settle(); err != nil {
		return nil, err
	}
	return a.ownerSites(), nil
}

// ownerSites returns the sites that own a host, each once, in the order in which they were loaded.
func (a *App) ownerSites() []gateway.Served {
	owning := a.owners.Sites()
	sets := make(map[*site.Site]*pluginhost.Set)
	for _, h := range a.handlers {
		if h.plugins != nil {
			sets[h.made] = h.plugins
		}
	}
	sites := make([]gateway.Served, 0, len(owning))
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

// doorOptions are the options of a handler that belong to the door and not to the site.
var doorOptions = []string{"prefix", "api_from"}

// options returns the configuration of a handler as JSON values.
func (h *Handler) options() map[string]any {
	var options map[string]any
	raw, err := json.Marshal(h) //nolint:gosec // it is hashed and compared, and never leaves the process
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err != nil || decoder.Decode(&options) != nil {
		return nil // cannot happen: a handler is decoded from JSON
	}
	for _, name := range doorOptions {
		delete(options, name)
	}
	return options
}

// siteOptions are the options of a handler, with those of the door shadowed by empty ones.
type siteOptions struct {
	*Handler

	Prefix  string   `json:"prefix,omitempty"`
	APIFrom []string `json:"api_from,omitempty"`
}

// newSettings returns the hash of the options. Handlers with the same settings can be doors of one
// site.
func (h *Handler) newSettings() site.Settings {
	hash := sha256.New()
	var options any = siteOptions{Handler: h}
	if slices.ContainsFunc(h.Plugins, func(c *PluginConfig) bool { return c != nil && len(c.Config) > 0 }) {
		options = h.options() // sorts the keys of each config
	}
	_ = json.NewEncoder(hash).Encode(options)
	return site.Settings(hash.Sum(nil))
}
