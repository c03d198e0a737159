package routes

import (
	"iter"
	"slices"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Owners has the site that owns each host of a configuration: the site of the most specific
// handler. An exact name is the most specific, then the pattern with the most labels other than
// "*", then every host. Owners never change once the configuration has started. Before that, they
// are not safe for concurrent use.
type Owners struct {
	// NewSite returns a site with the settings, which has yet to be provisioned.
	NewSite func(site.Settings) *site.Site
	Logger  *zap.Logger

	hosts  hostpattern.Map[*claim]
	every  *claim                 // nil if no site is for every host
	doors  map[*site.Site][]*Door // doors of each site
	pins   []pin                  // in the order of the handlers
	pinned map[string]int         // index of the first pin of each host

	entered  int // number of doors
	compared int // number of comparisons for warnings
}

// owner returns the claim of the site that owns the host, nil if there is none.
func (o *Owners) owner(name presence.HostName) *claim {
	if c, ok := o.hosts.Find(name.String()); ok {
		return c
	}
	return o.every
}

// Find returns the site that owns the host, nil if there is none.
func (o *Owners) Find(name presence.HostName) *site.Site {
	if c := o.owner(name); c != nil {
		return c.site
	}
	return nil
}

// Doors returns the doors to the host of the site that owns it.
func (o *Owners) Doors(name presence.HostName) []*Door {
	if c := o.owner(name); c != nil {
		return c.doors
	}
	return nil
}

// Claimed returns the site that has a claim on exactly this pattern: a name, a pattern, or "" for
// every host. It returns nil if there is none.
func (o *Owners) Claimed(pattern string) *site.Site {
	if c := o.get(pattern); c != nil {
		return c.site
	}
	return nil
}

// Names yields each host that the configuration names in full, with its site.
func (o *Owners) Names() iter.Seq2[string, *site.Site] {
	return func(yield func(string, *site.Site) bool) {
		for pattern, c := range o.hosts.All() {
			if hostpattern.IsName(pattern) && !yield(pattern, c.site) {
				return
			}
		}
	}
}

// Sites returns the sites that own a host.
func (o *Owners) Sites() map[*site.Site]bool {
	owning := make(map[*site.Site]bool)
	for _, c := range o.hosts.All() {
		owning[c.site] = true
	}
	if o.every != nil {
		owning[o.every.site] = true
	}
	return owning
}

// HostsOf returns the hosts that the doors of a site are for, and those that it pins.
func (o *Owners) HostsOf(s *site.Site) hostpattern.Set {
	sets := make([]hostpattern.Set, len(o.doors[s]))
	for i, d := range o.doors[s] {
		sets[i] = d.Way.Hosts
	}
	for _, p := range o.pins {
		if p.by.Site == s {
			sets = append(sets, hostpattern.SetOf(p.host.String()))
		}
	}
	return hostpattern.Union(sets...)
}

// FirstHost returns the first host that the configuration names for a site, "" if there is none.
func (o *Owners) FirstHost(of *site.Site) string {
	for _, d := range o.doors[of] {
		for _, host := range d.Way.Hosts.Patterns() {
			if hostpattern.IsName(host) && o.Claimed(host) == of {
				return host
			}
		}
	}
	for _, p := range o.pins {
		if p.by.Site == of {
			return p.host.String()
		}
	}
	return ""
}

// Enter makes a handler a door to the hosts on a way to it, and sets its site. That is the site of
// the handlers for the same hosts with the same settings, if there are any. Otherwise it is a new
// site, which has yet to be provisioned.
func (o *Owners) Enter(h *Rollcall, w *Way) (isNew bool, err error) {
	d := &Door{Rollcall: h, Way: w}
	same, err := o.findSame(d)
	if err != nil {
		return false, err
	}
	if h.Site == nil && len(same) > 0 {
		h.Site = same[0]
	}
	if h.Site == nil {
		h.Site, isNew = o.NewSite(h.Settings), true
	}
	for _, other := range same {
		o.merge(h.Site, other)
	}
	o.entered++
	if err := o.checkPinned(d); err != nil {
		return false, err
	}
	if err := o.compare(d); err != nil {
		return false, err
	}
	if o.doors == nil {
		o.doors = make(map[*site.Site][]*Door)
	}
	o.doors[h.Site] = append(o.doors[h.Site], d)
	o.add(d)
	return isNew, nil
}

// findSame returns the sites of equally specific handlers that share a host with the door. If their
// settings are not those of the door, that is an error.
func (o *Owners) findSame(d *Door) ([]*site.Site, error) {
	var same []*site.Site
	patterns := patternsOf(d.Way.Hosts)
	if d.Way.Hosts.IsNames() && o.held(d.Way.Hosts) != nil {
		patterns = patterns[:1] // the others have the same doors, and no other claim is as specific
	}
	for _, pattern := range patterns {
		for c := range o.equals(pattern) {
			if c.site.Settings != d.Settings {
				return nil, conflict(d, c, pattern)
			}
			if err := c.checkDead(d); err != nil {
				return nil, err
			}
			if !slices.Contains(same, c.site) {
				same = append(same, c.site)
			}
		}
	}
	return same, nil
}

// merge makes the doors of another site with the same settings doors of s.
func (o *Owners) merge(s, other *site.Site) {
	if s == other {
		return
	}
	for _, d := range o.doors[other] {
		d.Site = s
		o.doors[s] = append(o.doors[s], d)
		for _, pattern := range patternsOf(d.Way.Hosts) {
			o.get(pattern).site = s
		}
	}
	delete(o.doors, other)
}

// Settle gives the hosts that handlers pin to their sites, and drops everything that is needed only
// to compare handlers. It returns an error if a pinned host belongs to another site.
func (o *Owners) Settle() error {
	if err := o.settlePins(); err != nil {
		return err
	}
	for _, doors := range o.doors {
		for _, d := range doors {
			d.Way.Steps, d.apps = nil, appReach{}
		}
	}
	for _, c := range o.hosts.All() {
		c.places, c.limited = nil, nil
	}
	if o.every != nil {
		o.every.places, o.every.limited = nil, nil
	}
	return nil
}

// patternsOf returns the patterns of a set; "" is every host.
func patternsOf(hosts hostpattern.Set) []string {
	if hosts.IsEvery() {
		return []string{""}
	}
	return hosts.Patterns()
}
