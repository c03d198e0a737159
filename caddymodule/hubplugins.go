package caddymodule

import (
	"context"
	"slices"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/caddymodule/pluginhost"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/presence"
)

// tryPlugins tries the plugins of all sites of a configuration that is about to start.
func (h *hub) tryPlugins(ctx context.Context, s *snapshot) error {
	return h.plugins.Try(ctx, &pluginhost.Trial{
		Sets:   s.pluginSets(),
		Hosts:  func(set *pluginhost.Set) []string { return h.hostsToTry(s, set) },
		Named:  func(host string) bool { return s.Claimed(host) != nil },
		Logger: s.logger,
	})
}

// watchPlugins starts to watch the files of a configuration. The result ends that; it returns nil when there is none.
func (h *hub) watchPlugins(ctx context.Context, s *snapshot) *pluginhost.Watcher {
	return h.plugins.Watch(ctx, pluginhost.Watched{
		Sets:     s.pluginSets(),
		InEffect: func() bool { return h.current() == s },
		Hosts:    func(set *pluginhost.Set) []string { return h.hostsToTry(s, set) },
		Changed: func(set *pluginhost.Set) {
			of := s.siteOf(set).Site
			of.MakeRules()
			h.reclassify(of)
		},
	})
}

// hostsToTry returns the first host that the configuration names for the site of a set, "" if it names none, and those that
// are connected to now.
func (h *hub) hostsToTry(s *snapshot, set *pluginhost.Set) []string {
	of := s.siteOf(set)
	hosts := []string{of.host}
	for _, host := range h.registry.Hosts() {
		if name := host.Name(); name.String() != of.host && s.Find(name) == of.Site {
			hosts = append(hosts, name.String())
		}
	}
	return hosts
}

// reclassify gives the connections of a site, if it serves them now, the rules that a plugin's replacement has made.
func (h *hub) reclassify(of *site.Site) {
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
		if host := h.registry.Host(name); host != nil {
			host.SetRules(of.Rules())
			h.assignments.Joiner.Reclassified(host)
		}
	}
}

// named reports whether a configuration that is offered or in effect names the host.
func (h *hub) named(host string) bool {
	h.mu.Lock()
	stack := slices.Clone(h.stack)
	h.mu.Unlock()
	return slices.ContainsFunc(stack, func(s *snapshot) bool { return s.Claimed(host) != nil })
}

// label returns the label of a host by the configuration in effect, or the last that was.
func (h *hub) label(host presence.HostName) string {
	if now := h.configurations(); len(now) > 0 {
		return now[0].label(host)
	}
	return pluginhost.OtherHosts
}

// hasBackend reports whether the configuration in effect has a backend for any host.
func (h *hub) hasBackend() bool {
	now := h.configurations()
	return len(now) > 0 && slices.ContainsFunc(now[0].sites, func(s servedSite) bool { return s.Backend != nil })
}

// Endpoint implements backend.Endpoints with the configuration in effect, or the last that was.
func (h *hub) Endpoint(host presence.HostName) *backend.Endpoint {
	if now := h.configurations(); len(now) > 0 {
		if s := now[0].Find(host); s != nil {
			return s.Backend
		}
	}
	return nil
}

var _ backend.Endpoints = (*hub)(nil)
