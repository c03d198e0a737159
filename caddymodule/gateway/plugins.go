package gateway

import (
	"context"
	"slices"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/caddymodule/pluginhost"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/presence"
)

// TryPlugins tries the plugins of all sites of a configuration that is about to start.
func (h *Hub) TryPlugins(ctx context.Context, s *Configuration) error {
	return h.Plugins.Try(ctx, &pluginhost.Trial{
		Sets:   s.pluginSets(),
		Hosts:  h.hostsToTry(s),
		Named:  func(host string) bool { return s.Claimed(host) != nil },
		Logger: s.Logger,
	})
}

// WatchPlugins starts to watch the files of a configuration. The result ends that; it returns nil when there is none.
func (h *Hub) WatchPlugins(ctx context.Context, s *Configuration) *pluginhost.Watcher {
	return h.Plugins.Watch(ctx, pluginhost.Watched{
		Sets:     s.pluginSets(),
		InEffect: func() bool { return h.InEffect() == s },
		Hosts:    func() map[*pluginhost.Set][]string { return h.hostsToTry(s) },
		Changed: func(set *pluginhost.Set) {
			of := s.siteOf(set).Site
			of.MakeRules()
			h.reclassify(of)
		},
	})
}

// hostsToTry returns, for each set of plugins, the first host that the configuration names for its site, "" if it names
// none, and those that are connected to now.
func (h *Hub) hostsToTry(s *Configuration) map[*pluginhost.Set][]string {
	hosts := make(map[*pluginhost.Set][]string)
	sets := make(map[*site.Site]Served)
	for _, of := range s.Sites {
		if of.Plugins != nil {
			hosts[of.Plugins] = []string{of.Host}
			sets[of.Site] = of
		}
	}
	if len(sets) == 0 {
		return hosts
	}
	for _, host := range h.Registry.Hosts() {
		of, name := sets[s.Find(host.Name())], host.Name().String()
		if list := hosts[of.Plugins]; len(list) > 0 && len(list) < pluginhost.MaxTried && list[0] != name {
			hosts[of.Plugins] = append(list, name)
		}
	}
	return hosts
}

// reclassify gives the connections of a site, if it serves them now, the rules that a plugin's replacement has made.
func (h *Hub) reclassify(of *site.Site) {
	h.applying.Lock()
	defer h.applying.Unlock()
	h.mu.Lock()
	var names []presence.HostName
	for _, t := range h.tenants {
		if t.site.Load() == of {
			names = append(names, t.name)
		}
	}
	h.mu.Unlock()
	for _, name := range names {
		h.setRules(name, of)
	}
}

// setRules gives the connections of a host the rules of a site. The caller holds applying.
func (h *Hub) setRules(name presence.HostName, of *site.Site) {
	if host := h.Registry.Host(name); host != nil {
		host.SetRules(of.Rules())
		h.Assignments.Joiner.Reclassified(host)
	}
}

// named reports whether a configuration that is offered or in effect names the host.
func (h *Hub) named(host string) bool {
	h.mu.Lock()
	stack := slices.Clone(h.stack)
	h.mu.Unlock()
	return slices.ContainsFunc(stack, func(s *Configuration) bool { return s.Claimed(host) != nil })
}

// label returns the label of a host by the configuration in effect, or the last that was.
func (h *Hub) label(host presence.HostName) string {
	if now := h.configurations(); len(now) > 0 {
		return now[0].Label(host)
	}
	return pluginhost.OtherHosts
}

// hasBackend reports whether the configuration in effect has a backend for any host.
func (h *Hub) hasBackend() bool {
	now := h.configurations()
	return len(now) > 0 && slices.ContainsFunc(now[0].Sites, func(s Served) bool { return s.Backend != nil })
}

// Endpoint implements backend.Endpoints with the configuration in effect, or the last that was.
func (h *Hub) Endpoint(host presence.HostName) *backend.Endpoint {
	if now := h.configurations(); len(now) > 0 {
		if s := now[0].Find(host); s != nil {
			return s.Backend
		}
	}
	return nil
}

var _ backend.Endpoints = (*Hub)(nil)
