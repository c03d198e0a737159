package gateway

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

// Configuration is one configuration as the hub sees it. It never changes once it is offered.
type Configuration struct {
	Owners
	DataCenter   string
	Pod          string
	DrainTimeout time.Duration // for connections, when the last configuration ends
	Cluster      *ClusterSettings
	Logger       *zap.Logger
	Sites        []Served // that own a host, each once, in the order in which they were loaded

	// ShutdownDelay is how long HTTP goes on listening when Caddy exits, zero by default.
	ShutdownDelay time.Duration

	// Retired is set when the configuration is taken back. Its sites share it.
	Retired *atomic.Bool
}

// Served is a site that owns a host.
type Served struct {
	*site.Site
	Plugins *pluginhost.Set // nil without any
	Hosts   []string        // patterns of all that it is for; nil: every host
	Host    string          // the first that the configuration names in full, "" for none
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
func (s *Configuration) inherit(old *Configuration) {
	for _, of := range s.Sites {
		if of.Verifier == nil {
			continue
		}
		patterns := of.Hosts
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

// Label returns the host's name for metrics.
func (s *Configuration) Label(name presence.HostName) string {
	if s.Claimed(name.String()) != nil {
		return name.String()
	}
	return pluginhost.OtherHosts
}

// pluginSets returns the plugins of the sites that have any.
func (s *Configuration) pluginSets() []*pluginhost.Set {
	var sets []*pluginhost.Set
	for _, of := range s.Sites {
		if of.Plugins != nil {
			sets = append(sets, of.Plugins)
		}
	}
	return sets
}

// siteOf returns the site with the plugins.
func (s *Configuration) siteOf(set *pluginhost.Set) Served {
	i := slices.IndexFunc(s.Sites, func(of Served) bool { return of.Plugins == set })
	return s.Sites[i]
}
