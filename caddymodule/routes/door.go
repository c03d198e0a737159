package routes

import (
	"fmt"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
)

// Rollcall is a rollcall handler.
type Rollcall struct {
	Prefix   string
	InNamed  bool // in a named route: its ways are known when the app starts
	Settings site.Settings
	Options  func() map[string]any // the same as JSON values, to name what differs
	Site     *site.Site            // that the handler is a door to; set by Owners.Enter
	Handler  any                   // the handler itself

	misdirected int // warnings about hosts of other sites
}

// Door is one way to a handler of a site. A site has several where handlers are the same except for matchers, prefix and
// api_from: those belong to the door.
type Door struct {
	*Rollcall
	Way *Way
}

func (d *Door) String() string { return d.Way.Label(d.Prefix) }

// claim says that a site owns the hosts of a pattern, unless another one has a more specific claim.
type claim struct {
	pattern string // "" for every host
	*holding
}

// holding is what claims with the same doors have in common.
type holding struct {
	claims  int
	hosts   hostpattern.Set // of the claims, if the last door is for exactly those; empty otherwise
	site    *site.Site
	doors   []*Door
	places  map[place][]*Door // doors by where requests for their endpoints come in
	limited map[limit][]*Door // doors by the route that limits them
}

// place is where requests for the endpoints of a door come in.
type place struct {
	server *Server
	prefix string
}

// limit is the innermost route on the way to a door that gets some requests for the endpoints only, whatever the host; nil
// for none.
type limit struct {
	place
	route *Route
}

func (d *Door) place() place { return place{d.Way.Server, d.Prefix} }

// limit returns the limit of the door. It covers only doors behind its limit.
func (d *Door) limit() limit {
	for i := len(d.Way.Steps) - 1; i >= 0; i-- {
		if route := d.Way.Steps[i].route(); route != nil && !route.Matchers.takeAll(hostpattern.Set{}, d.Prefix) {
			return limit{d.place(), route}
		}
	}
	return limit{place: d.place()}
}

// split returns the holding of n of the claims once a door is for those alone. If nil, the claims are new.
func (h *holding) split(n int, d *Door) *holding {
	part := h
	if h == nil || h.claims > n {
		part = &holding{site: d.Site, places: make(map[place][]*Door), limited: make(map[limit][]*Door)}
	}
	if h != nil && h.claims > n {
		for _, before := range h.doors {
			part.add(before)
		}
		h.claims -= n
		h.hosts = hostpattern.Set{}
	}
	part.add(d)
	part.claims, part.hosts = n, hostpattern.Set{}
	return part
}

func (h *holding) add(d *Door) {
	h.doors = append(h.doors, d)
	h.places[d.place()] = append(h.places[d.place()], d)
	at := d.limit()
	h.limited[at] = append(h.limited[at], d)
}

// checkDead returns an error if a door of the same site gets each request that the other door could get. It looks at the
// doors without a limit, and at those whose limit the other door shares: a site can have thousands of doors, each for a
// path of its own.
func (h *holding) checkDead(d *Door) error {
	look := func(route *Route) error {
		for _, before := range h.limited[limit{d.place(), route}] {
			// All ways to one handler go through an invoked route, before which the path can change.
			if before.Rollcall != d.Rollcall && before.covers(d, d.Way.Hosts) {
				return fmt.Errorf("%s is never reached, because %s stands before it: write one", d, before)
			}
		}
		return nil
	}
	if err := look(nil); err != nil {
		return err
	}
	for i := range d.Way.Steps {
		if route := d.Way.Steps[i].route(); route != nil {
			if err := look(route); err != nil {
				return err
			}
		}
	}
	return nil
}

// covers reports whether each request for the hosts that could get to the other door gets to d before.
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
		if route.Group != "" && route.Group != its.route().Group || !route.Matchers.takeAll(hosts, d.Prefix) {
			return false
		}
	}
	if mine.List.rewritesBetween(mine.Index, its.Index+1) {
		return false
	}
	for i := fork + 1; i < len(d.Way.Steps); i++ {
		s := &d.Way.Steps[i]
		if !s.Sure || !s.route().Matchers.takeAll(hosts, d.Prefix) || s.rewritesBefore() || s.List.groupBefore(s.Index) {
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

// gets reports whether the door can get requests for the hosts of a pattern: no route before it ends them all, and none of
// its own routes has a Not that keeps them out.
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
