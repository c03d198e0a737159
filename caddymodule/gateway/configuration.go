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

// Configuration is one configuration of Caddy, as the hub uses it. It does not change after it was
// offered.
type Configuration struct {
	Owners
	DataCenter   string
	Pod          string
	DrainTimeout time.Duration // limit of the drain when the last configuration ends
	Cluster      *ClusterSettings
	Logger       *zap.Logger
	Sites        []Served // sites that own a host, each once, in the order in which they were loaded

	// ShutdownDelay is how long HTTP still listens when Caddy exits; 0 for no delay.
	ShutdownDelay time.Duration

	// Retired is set when the configuration is taken back. All its sites share it.
	Retired *atomic.Bool
}

// Served is a site that owns a host.
type Served struct {
	*site.Site
	Plugins *pluginhost.Set // nil without plugins
	Hosts   []string        // patterns of the hosts that the site is for; nil: every host
	Host    string          // first host that the configuration names in full; "" if none
}

// Owners finds the site that owns a host. The answers never change.
type Owners interface {
	// Find returns the site that owns the host, or nil.
	Find(host presence.HostName) *site.Site
	// Claimed returns the site that claims exactly this pattern or host name, or nil. "" is the
	// pattern of every host.
	Claimed(pattern string) *site.Site
	// Names yields each host that the configuration names in full, with its site.
	Names() iter.Seq2[string, *site.Site]
}

// inherit passes the keys that a site has fetched to the site of the same hosts.
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

// Label returns the host label for metrics.
func (s *Configuration) Label(name presence.HostName) string {
	if s.Claimed(name.String()) != nil {
		return name.String()
	}
	return pluginhost.OtherHosts
}

// pluginSets returns the plugins of all sites.
func (s *Configuration) pluginSets() []*pluginhost.Set {
	var sets []*pluginhost.Set
	for _, of := range s.Sites {
		if of.Plugins != nil {
			sets = append(sets, of.Plugins)
		}
	}
	return sets
}

// siteOf returns the site that has the plugins.
func (s *Configuration) siteOf(set *pluginhost.Set) Served {
	i := slices.IndexFunc(s.Sites, func(of Served) bool { return of.Plugins == set })
	return s.Sites[i]
}
