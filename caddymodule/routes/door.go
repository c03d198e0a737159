package routes

import (
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
)

// Rollcall is a rollcall handler.
type Rollcall struct {
	Endpoints
	InNamed  bool // its ways are known when the app starts
	Settings site.Settings
	Options  func() map[string]any // options as JSON values, to name those that differ
	Site     *site.Site            // set by Owners.Enter
	Handler  any                   // handler of package caddymodule

	misdirected int // number of warnings about hosts of other sites
	apps        appReach
}

// Door is one way to a handler of a site. A site has several if handlers differ only in matchers,
// prefix and api_from, which belong to the door.
type Door struct {
	*Rollcall
	Way *Way
}

func (d *Door) String() string { return d.Way.Label(d.Prefix) }

// place is where requests for the endpoints of a door arrive.
type place struct {
	server *Server
	prefix string
}

// limit is the innermost route on the way to a door that gets only some of the requests for the
// endpoints, for whatever host. The route is nil if there is none.
type limit struct {
	place
	route *Route
}

func (d *Door) place() place { return place{d.Way.Server, d.Prefix} }

// limit returns the limit of the door. It covers only doors behind its limit.
func (d *Door) limit() limit {
	for i := len(d.Way.Steps) - 1; i >= 0; i-- {
		if route := d.Way.Steps[i].route(); route != nil && !route.Matchers.letEndpointsThrough(hostpattern.Set{}, d.Endpoints) {
			return limit{d.place(), route}
		}
	}
	return limit{place: d.place()}
}

// covers reports whether d gets, before the other door, each request for the hosts that the other
// could get.
func (d *Door) covers(other *Door, hosts hostpattern.Set) bool {
	fork, ok := d.Way.fork(other.Way)
	if !ok {
		return false
	}
	mine, its := &d.Way.Steps[fork], &other.Way.Steps[fork]
	switch {
	case mine.Index > its.Index || mine.Index == its.Index && (mine.Position < 0 || mine.Position >= its.Position):
		return false
	case mine.Index < its.Index:
		route := mine.route()
		if route.Group != "" && route.Group != its.route().Group || !route.Matchers.letEndpointsThrough(hosts, d.Endpoints) {
			return false
		}
	}
	if mine.List.rewritesBetween(mine.Index, its.Index+1) {
		return false
	}
	for i := fork + 1; i < len(d.Way.Steps); i++ {
		s := &d.Way.Steps[i]
		if !s.Sure || !s.route().Matchers.letEndpointsThrough(hosts, d.Endpoints) || s.rewritesBefore() || s.List.groupBefore(s.Index) {
			return false
		}
	}
	for i := fork + 1; i < len(other.Way.Steps); i++ {
		if other.Way.Steps[i].rewritesBefore() {
			return false
		}
	}
	return true
}

// gets reports whether the door can get requests for the hosts of a pattern: no route before it
// ends them all, and no Not on its way keeps them out.
func (d *Door) gets(pattern string) bool {
	hosts := hostpattern.SetOf(pattern)
	if pattern == "" {
		hosts = hostpattern.Every
	}
	for i := range d.Way.Steps {
		s := &d.Way.Steps[i]
		if s.List != nil && (s.route().Matchers.keepOut(hosts) || s.List.endsBefore(s.Index, pattern)) {
			return false
		}
	}
	return true
}
