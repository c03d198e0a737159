package gateway

import (
	"context"

	"github.com/rollcall-gateway/rollcall/caddymodule/pluginhost"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/plugins"
)

// TryPlugins tries the plugins of a configuration that is about to start.
func (h *Hub) TryPlugins(ctx context.Context, s *Configuration) error {
	return h.Plugins.Try(ctx, &pluginhost.Trial{
		Sets:   s.pluginSets(),
		Hosts:  h.hostsToTry(s),
		Named:  func(host string) bool { return s.Claimed(host) != nil },
		Logger: s.Logger,
	})
}

// WatchPlugins starts to watch the plugin files of a configuration. It returns nil if no file is
// watched.
func (h *Hub) WatchPlugins(ctx context.Context, s *Configuration) *pluginhost.Watcher {
	return h.Plugins.Watch(ctx, pluginhost.Watched{
		Sets:     s.pluginSets(),
		InEffect: func() bool { return h.InEffect() == s },
		Hosts:    func() map[*pluginhost.Set][]string { return h.hostsToTry(s) },
		Changed:  func(set *pluginhost.Set) { h.updateSite(s.siteOf(set).Site) },
	})
}

// hostsToTry returns the hosts for which each set of plugins is tried: the first that the
// configuration names for its site, "" if there is none, and hosts that have connections.
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

// PluginReports returns the state of all loaded plugins.
func (h *Hub) PluginReports() []plugins.Report { return h.Plugins.Reports() }

// PluginCalls returns the calls of all plugins, see [pluginhost.Host.Calls].
func (h *Hub) PluginCalls() []pluginhost.Calls { return h.Plugins.Calls() }
