package caddymodule

import (
	"iter"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/caddymodule/pluginhost"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
	"github.com/rollcall-gateway/rollcall/presence"
)

// owners says which site owns each host of a configuration: that of the most specific handler, which is one for an exact
// name, then one for the pattern with most labels that are not "*", then one for every host. It never changes once the
// configuration has started.
type owners struct {
	hosts hostpattern.Map[*claim]
	every *claim                 // nil: no site is for every host
	doors map[*site.Site][]*door // to the hosts that a site serves
}

// claim says that a site owns the hosts of a pattern, unless another one has a more specific claim.
type claim struct {
	pattern string // "" for every host
	site    *site.Site
	doors   []*door
	limited map[*caddyhttp.Route][]*door // doors by their limit
}

// door is one way to a handler of a site. A site has several where handlers are the same except for matchers, prefix and
// api_from: those belong to the door.
type door struct {
	handler *Handler
	way     way
	hosts   hostpattern.Set
}

func (d *door) String() string { return d.way.label(d.handler.Prefix) }

// claimOn returns the claim of the site that owns the host, nil when there is none.
func (o *owners) claimOn(name presence.HostName) *claim {
	if c, ok := o.hosts.Find(name.String()); ok {
		return c
	}
	return o.every
}

// Find implements Owners.
func (o *owners) Find(name presence.HostName) *site.Site {
	if c := o.claimOn(name); c != nil {
		return c.site
	}
	return nil
}

// Claimed implements Owners.
func (o *owners) Claimed(pattern string) *site.Site {
	if c := o.get(pattern); c != nil {
		return c.site
	}
	return nil
}

// overlapping yields each claim on hosts of a pattern.
func (o *owners) overlapping(pattern string) iter.Seq[*claim] {
	return func(yield func(*claim) bool) {
		if pattern == "" {
			for _, c := range o.hosts.All() {
				if !yield(c) {
					return
				}
			}
		} else {
			for _, c := range o.hosts.Overlapping(pattern) {
				if !yield(c) {
					return
				}
			}
		}
		if o.every != nil {
			yield(o.every)
		}
	}
}

// rank says how specific a pattern is: more is more specific, 0 is every host.
func rank(pattern string) int {
	if pattern == "" {
		return 0
	}
	return 1 + hostpattern.FixedLabels(pattern)
}

// patternsOf returns the patterns of a set; "" is every host.
func patternsOf(hosts hostpattern.Set) []string {
	if hosts.IsEvery() {
		return []string{""}
	}
	return hosts.Patterns()
}

// enter makes a handler a door to the hosts on its way. The site that it belongs to is h.site afterwards: that of
// handlers for the same hosts with the same settings, if there are any, and otherwise a new one that has yet to be made.
func (a *App) enter(h *Handler, w way) (isNew bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.settled {
		return false, errLate
	}
	d := &door{handler: h, way: w, hosts: w.hosts()}
	same, err := a.findSame(d)
	if err != nil {
		return false, err
	}
	if h.site == nil && len(same) > 0 {
		h.site = same[0]
	}
	if h.site == nil {
		h.site, isNew = a.newSite(h.settings), true
	}
	for _, other := range same {
		a.merge(h.site, other)
	}
	if err := a.compareClaims(d); err != nil {
		return false, err
	}
	if a.owners.doors == nil {
		a.owners.doors = make(map[*site.Site][]*door)
	}
	a.owners.doors[h.site] = append(a.owners.doors[h.site], d)
	for _, pattern := range patternsOf(d.hosts) {
		a.owners.add(pattern, d)
	}
	return isNew, nil
}

// findSame returns the sites of equally specific handlers that share a host with the door. With other settings than those
// of the door they are an error.
func (a *App) findSame(d *door) ([]*site.Site, error) {
	var same []*site.Site
	for _, pattern := range patternsOf(d.hosts) {
		for c := range a.owners.equals(pattern) {
			if c.site.Settings != d.handler.settings {
				return nil, conflict(d, c, pattern)
			}
			if dead := c.deadDoor(d); dead != nil {
				return nil, dead
			}
			if !slices.Contains(same, c.site) {
				same = append(same, c.site)
			}
		}
	}
	return same, nil
}

// equals yields the claims on hosts of a pattern that are equally specific.
func (o *owners) equals(pattern string) iter.Seq[*claim] {
	return func(yield func(*claim) bool) {
		if pattern == "" {
			if o.every != nil {
				yield(o.every)
			}
			return
		}
		for other, c := range o.hosts.Overlapping(pattern) {
			if rank(other) == rank(pattern) && !yield(c) {
				return
			}
		}
	}
}

// get returns the claim on exactly this pattern, nil when there is none.
func (o *owners) get(pattern string) *claim {
	if pattern == "" {
		return o.every
	}
	c, _ := o.hosts.Get(pattern)
	return c
}

// add records a door for the hosts of a pattern.
func (o *owners) add(pattern string, d *door) {
	if c := o.get(pattern); c != nil {
		c.add(d)
		return
	}
	c := &claim{pattern: pattern, site: d.handler.site, limited: make(map[*caddyhttp.Route][]*door)}
	c.add(d)
	if pattern == "" {
		o.every = c
	} else {
		o.hosts.Insert(pattern, c)
	}
}

func (c *claim) add(d *door) {
	c.doors = append(c.doors, d)
	limit := d.limit()
	c.limited[limit] = append(c.limited[limit], d)
}

// merge makes the doors of another site with the same settings doors of s. The lock is held.
func (a *App) merge(s, other *site.Site) {
	if s == other {
		return
	}
	for _, d := range a.owners.doors[other] {
		d.handler.site = s
		a.owners.doors[s] = append(a.owners.doors[s], d)
		for _, pattern := range patternsOf(d.hosts) {
			a.owners.get(pattern).site = s
		}
	}
	delete(a.owners.doors, other)
}

// newSite returns a site of the configuration that has yet to be made.
func (a *App) newSite(of site.Settings) *site.Site {
	return &site.Site{Settings: of, DataCenter: a.DataCenter, Clustered: a.cluster != nil, Retired: &a.stopped}
}

// ownerSites returns the sites that own a host, each once, in the order in which they were loaded.
func (a *App) ownerSites() []gateway.Served {
	owning := make(map[*site.Site]bool)
	for _, c := range a.owners.hosts.All() {
		owning[c.site] = true
	}
	if a.owners.every != nil {
		owning[a.owners.every.site] = true
	}
	sets := make(map[*site.Site]*pluginhost.Set)
	for _, h := range a.handlers {
		if h.made != nil {
			sets[h.made] = h.plugins
		}
	}
	var sites []gateway.Served
	for _, h := range a.handlers {
		if !owning[h.site] {
			continue
		}
		owning[h.site] = false
		of := gateway.Served{Site: h.site, Plugins: sets[h.site], Host: a.owners.firstHost(h.site)}
		if hosts := a.owners.hostsOf(h.site); !hosts.IsEvery() {
			of.Hosts = hosts.Patterns()
		}
		sites = append(sites, of)
	}
	return sites
}

// hostsOf returns the hosts that the doors of a site are for.
func (o *owners) hostsOf(s *site.Site) hostpattern.Set {
	sets := make([]hostpattern.Set, len(o.doors[s]))
	for i, d := range o.doors[s] {
		sets[i] = d.hosts
	}
	return hostpattern.Union(sets...)
}

// firstHost returns the first host that the configuration names for a site, "" when there is none.
func (o *owners) firstHost(of *site.Site) string {
	for _, host := range o.hostsOf(of).Patterns() {
		if hostpattern.IsName(host) && o.Claimed(host) == of {
			return host
		}
	}
	return ""
}

// Names implements Owners.
func (o *owners) Names() iter.Seq2[string, *site.Site] {
	return func(yield func(string, *site.Site) bool) {
		for pattern, c := range o.hosts.All() {
			if hostpattern.IsName(pattern) && !yield(pattern, c.site) {
				return
			}
		}
	}
}

var _ gateway.Owners = (*owners)(nil)
