package routes

import (
	"fmt"
	"iter"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
)

// claim says that a site owns the hosts of a pattern, unless another one has a more specific claim.
type claim struct {
	pattern string // "" for every host
	*holding
}

// holding is the common part of claims that have the same doors.
type holding struct {
	claims  int
	hosts   hostpattern.Set // hosts of the claims, if the last door is for exactly those; empty otherwise
	site    *site.Site
	doors   []*Door
	places  map[place][]*Door // doors by place
	limited map[limit][]*Door // doors by limit
	indexed int               // number of doors in places and limited
}

// split returns the holding of n of the claims, to which it adds a door for those alone. If nil,
// the claims are new.
func (h *holding) split(n int, d *Door) *holding {
	part := h
	if h == nil || h.claims > n {
		part = &holding{site: d.Site}
	}
	if h != nil && h.claims > n {
		part.doors = append(part.doors, h.doors...)
		h.claims -= n
		h.hosts = hostpattern.Set{}
	}
	part.doors = append(part.doors, d)
	part.claims, part.hosts = n, hostpattern.Set{}
	return part
}

// index adds the doors to places and limited. Most claims overlap no other, so nobody asks for
// them.
func (h *holding) index() {
	if h.places == nil {
		h.places, h.limited = make(map[place][]*Door), make(map[limit][]*Door)
	}
	for ; h.indexed < len(h.doors); h.indexed++ {
		d := h.doors[h.indexed]
		h.places[d.place()] = append(h.places[d.place()], d)
		at := d.limit()
		h.limited[at] = append(h.limited[at], d)
	}
}

// at returns the doors at a place.
func (h *holding) at(p place) []*Door {
	h.index()
	return h.places[p]
}

// equals yields the claims on hosts of a pattern that are equally specific.
func (o *Owners) equals(pattern string) iter.Seq[*claim] {
	return func(yield func(*claim) bool) {
		if pattern != "" {
			o.withFixed(pattern, hostpattern.FixedLabels(pattern), yield)
		} else if o.every != nil {
			yield(o.every)
		}
	}
}

// moreSpecific yields the claims on hosts of a pattern that are more specific.
func (o *Owners) moreSpecific(pattern string) iter.Seq[*claim] {
	return func(yield func(*claim) bool) {
		if pattern == "" {
			for _, c := range o.hosts.All() {
				if !yield(c) {
					return
				}
			}
			return
		}
		for fixed := hostpattern.Labels(pattern); fixed > hostpattern.FixedLabels(pattern); fixed-- {
			if !o.withFixed(pattern, fixed, yield) {
				return
			}
		}
	}
}

// lessSpecific yields the claims on hosts of a pattern that are less specific.
func (o *Owners) lessSpecific(pattern string) iter.Seq[*claim] {
	return func(yield func(*claim) bool) {
		if pattern == "" {
			return
		}
		for fixed := hostpattern.FixedLabels(pattern) - 1; fixed >= 0; fixed-- {
			if !o.withFixed(pattern, fixed, yield) {
				return
			}
		}
		if o.every != nil {
			yield(o.every)
		}
	}
}

// withFixed yields the claims on hosts of a pattern whose own patterns have a number of fixed
// labels. It reports whether to continue.
func (o *Owners) withFixed(pattern string, fixed int, yield func(*claim) bool) bool {
	for _, c := range o.hosts.OverlappingFixed(pattern, fixed) {
		if !yield(c) {
			return false
		}
	}
	return true
}

// get returns the claim on exactly this pattern, nil if there is none.
func (o *Owners) get(pattern string) *claim {
	if pattern == "" {
		return o.every
	}
	c, _ := o.hosts.Get(pattern)
	return c
}

// held returns the holding of the claims on hosts, if the last door for any of the hosts is for
// exactly these. Otherwise it returns nil.
func (o *Owners) held(hosts hostpattern.Set) *holding {
	if hosts.IsEmpty() {
		return nil
	}
	if c := o.get(patternsOf(hosts)[0]); c != nil && c.hosts.Equal(hosts) {
		return c.holding
	}
	return nil
}

// add records a door for its hosts.
func (o *Owners) add(d *Door) {
	if h := o.held(d.Way.Hosts); h != nil {
		h.doors = append(h.doors, d)
		return
	}
	var claims []*claim
	counts := make(map[*holding]int) // number of claims by current holding; nil for new claims
	for _, pattern := range patternsOf(d.Way.Hosts) {
		c := o.get(pattern)
		if c == nil {
			c = o.newClaim(pattern)
		}
		claims = append(claims, c)
		counts[c.holding]++
	}
	next := make(map[*holding]*holding)
	for h, n := range counts {
		next[h] = h.split(n, d)
		if len(counts) == 1 {
			next[h].hosts = d.Way.Hosts
		}
	}
	for _, c := range claims {
		c.holding = next[c.holding]
	}
}

func (o *Owners) newClaim(pattern string) *claim {
	c := &claim{pattern: pattern}
	if pattern == "" {
		o.every = c
	} else {
		o.hosts.Insert(pattern, c)
	}
	return c
}

// checkDead returns an error if a door of the same site gets each request that d could get. It
// looks only at doors without a limit and at doors whose limit is on the way to d, because a site
// can have thousands of doors, each for its own path.
func (h *holding) checkDead(d *Door) error {
	h.index()
	look := func(route *Route) error {
		for _, before := range h.limited[limit{d.place(), route}] {
			// Two ways to one handler differ before an invoked route, where the path can change.
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
