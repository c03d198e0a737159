package gateway

import (
	"slices"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/caddymodule/pluginhost"
	"github.com/rollcall-gateway/rollcall/presence"
)

// configurations are the configurations that a connection can come by. A value never changes: a reload stores another one in
// Hub.configs, and that is when the rules of every host change.
type configurations struct {
	list  []*Configuration // the first is in effect, the others are offered
	ended bool             // none is in effect; list has the last one that was, if any
}

// inEffect returns the configuration in effect, or nil.
func (c *configurations) inEffect() *Configuration {
	if c.ended {
		return nil
	}
	return c.list[0]
}

// latest returns the configuration in effect or the last one that was, or nil before the first.
func (c *configurations) latest() *Configuration {
	if len(c.list) == 0 {
		return nil
	}
	return c.list[0]
}

// isLast reports whether s is in effect and no other configuration is offered.
func (c *configurations) isLast(s *Configuration) bool {
	return !c.ended && len(c.list) == 1 && c.list[0] == s
}

// with returns the configurations and s, which is in effect if there is no other.
func (c *configurations) with(s *Configuration) *configurations {
	if c.ended {
		return &configurations{list: []*Configuration{s}}
	}
	return &configurations{list: append(slices.Clone(c.list), s)}
}

// without returns the configurations except s. It returns false if s is not one of them.
func (c *configurations) without(s *Configuration) (*configurations, bool) {
	i := slices.Index(c.list, s)
	switch {
	case c.ended || i < 0:
		return c, false
	case len(c.list) == 1:
		return &configurations{list: c.list, ended: true}, true
	}
	return &configurations{list: slices.Delete(slices.Clone(c.list), i, i+1)}, true
}

// InEffect returns the configuration in effect, or nil.
func (h *Hub) InEffect() *Configuration { return h.configs.Load().inEffect() }

// IsLast reports whether s is the only configuration of the hub.
func (h *Hub) IsLast(s *Configuration) bool { return h.configs.Load().isLast(s) }

// named reports whether a configuration that is offered or in effect names the host.
func (h *Hub) named(host string) bool {
	return slices.ContainsFunc(h.configs.Load().list, func(s *Configuration) bool { return s.Claimed(host) != nil })
}

// label returns the host's name for metrics, by the configuration in effect or the last one that was.
func (h *Hub) label(host presence.HostName) string {
	if now := h.configs.Load().latest(); now != nil {
		return now.Label(host)
	}
	return pluginhost.OtherHosts
}

// hasBackend reports whether the configuration in effect has a backend for any host.
func (h *Hub) hasBackend() bool {
	now := h.configs.Load().latest()
	return now != nil && slices.ContainsFunc(now.Sites, func(s Served) bool { return s.Backend != nil })
}

// Endpoint implements backend.Endpoints by the configuration in effect or the last one that was.
func (h *Hub) Endpoint(host presence.HostName) *backend.Endpoint {
	if now := h.configs.Load().latest(); now != nil {
		if s := now.Find(host); s != nil {
			return s.Backend
		}
	}
	return nil
}

var _ backend.Endpoints = (*Hub)(nil)

// Serves implements cluster.Local. Configurations that are offered count, because Caddy already listens for them, and the
// last one counts until its connections are drained.
func (h *Hub) Serves(host presence.HostName) bool {
	return slices.ContainsFunc(h.configs.Load().list, func(s *Configuration) bool { return s.Find(host) != nil })
}
