package caddymodule

import (
	"iter"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/pluginhost"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/presence"
)

// snapshot is one configuration as the hub sees it. It never changes once it is offered.
type snapshot struct {
	Owners
	dataCenter   string
	pod          string
	drainTimeout time.Duration // for connections, when the last configuration ends
	cluster      *clusterSettings
	logger       *zap.Logger
	sites        []servedSite // that own a host, each once, in the order in which they were loaded

	// shutdownDelay is how long HTTP goes on listening when Caddy exits, zero by default.
	shutdownDelay time.Duration

	// retired is set when the configuration is taken back. Its sites share it.
	retired *atomic.Bool
}

// servedSite is a site that owns a host.
type servedSite struct {
	*site.Site
	plugins *pluginhost.Set // nil without any
	hosts   []string        // patterns of all that it is for; nil: every host
	host    string          // the first that the configuration names in full, "" for none
}

// Owners says which site owns each host of a configuration. The answers never change.
type Owners interface {
	// Find returns the site that owns the host, nil when there is none.
	Find(host presence.HostName) *site.Site
	// Claimed returns the site that has a claim on exactly this pattern, or on a host by its whole name; "" is the pattern
	// of every host. It returns nil when there is none.
	Claimed(pattern string) *site.Site
	// Names yields each host that the configuration names in full, with its site.
	Names() iter.Seq2[string, *site.Site]
}

// inherit hands the keys that a site has fetched on to the site of the same hosts.
func (s *snapshot) inherit(old *snapshot) {
	for _, of := range s.sites {
		if of.Verifier == nil {
			continue
		}
		patterns := of.hosts
		if patterns == nil {
			patterns = []string{""}
		}
		for _, pattern := range patterns {
			if before := old.Claimed(pattern); before != nil && before.Verifier != nil {
				of.Verifier.Inherit(before.Verifier)
				break
			}
		}
	}
}

// label returns the host's name for metrics.
func (s *snapshot) label(name presence.HostName) string {
	if s.Claimed(name.String()) != nil {
		return name.String()
	}
	return pluginhost.OtherHosts
}

// pluginSets returns the plugins of the sites that have any.
func (s *snapshot) pluginSets() []*pluginhost.Set {
	var sets []*pluginhost.Set
	for _, of := range s.sites {
		if of.plugins != nil {
			sets = append(sets, of.plugins)
		}
	}
	return sets
}

// siteOf returns the site with the plugins.
func (s *snapshot) siteOf(set *pluginhost.Set) servedSite {
	i := slices.IndexFunc(s.sites, func(of servedSite) bool { return of.plugins == set })
	return s.sites[i]
}
