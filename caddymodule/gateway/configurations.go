package gateway

import (
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/caddymodule/pluginhost"
	"github.com/rollcall-gateway/rollcall/presence"
)

// configurations are the configurations whose connections and requests can arrive. A value never
// changes. A reload stores another one in Hub.configs; at that moment, the rules of all hosts
// change.
type configurations struct {
	list  []*Configuration // the first is in effect, the others are offered
	ended bool             // none is in effect; list has the previous one, if any
	since time.Time        // time at which the first one took effect, before all reloads; zero if ended
}

// inEffect returns the configuration in effect, or nil.
func (c *configurations) inEffect() *Configuration {
	if c.ended {
		return nil
	}
	return c.list[0]
}

// latest returns the configuration in effect or else the previous one, or nil before the first.
func (c *configurations) latest() *Configuration {
	if len(c.list) == 0 {
		return nil
	}
	return c.list[0]
}

func (c *configurations) isLast(s *Configuration) bool {
	return !c.ended && len(c.list) == 1 && c.list[0] == s
}

// with returns the configurations and s. If there is no other, s is in effect.
func (c *configurations) with(s *Configuration) *configurations {
	if c.ended {
		return &configurations{list: []*Configuration{s}, since: time.Now()}
	}
	return &configurations{list: append(slices.Clone(c.list), s), since: c.since}
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
	return &configurations{list: slices.Delete(slices.Clone(c.list), i, i+1), since: c.since}, true
}

// InEffect returns the configuration in effect, or nil.
func (h *Hub) InEffect() *Configuration { return h.configs.Load().inEffect() }

// IsLast reports whether s is in effect and no other configuration is offered.
func (h *Hub) IsLast(s *Configuration) bool { return h.configs.Load().isLast(s) }

// named reports whether a configuration names the host, in effect or offered.
func (h *Hub) named(host string) bool {
	return slices.ContainsFunc(h.configs.Load().list, func(s *Configuration) bool { return s.Claimed(host) != nil })
}

// label returns the host label for metrics, by the latest configuration.
func (h *Hub) label(host presence.HostName) string {
	if now := h.configs.Load().latest(); now != nil {
		return now.Label(host)
	}
	return pluginhost.OtherHosts
}

// hasBackend reports whether the latest configuration has a backend for any host.
func (h *Hub) hasBackend() bool {
	now := h.configs.Load().latest()
	return now != nil && slices.ContainsFunc(now.Sites, func(s Served) bool { return s.Backend != nil })
}

// Endpoint implements backend.Endpoints by the latest configuration.
func (h *Hub) Endpoint(of backend.Stream) *backend.Endpoint {
	if now := h.configs.Load().latest(); now != nil {
		if s := now.Find(of.Host); s != nil {
			return s.Backend
		}
	}
	return nil
}

var _ backend.Endpoints = (*Hub)(nil)

// Serves implements cluster.Local. Offered configurations count, because Caddy already listens for
// them. The last configuration counts until its connections are drained.
func (h *Hub) Serves(host presence.HostName) bool {
	return slices.ContainsFunc(h.configs.Load().list, func(s *Configuration) bool { return s.Find(host) != nil })
}
