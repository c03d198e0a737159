package routes

import (
	"slices"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
)

// Blocks finds the sites of the site block that another handler is in, such as a console. It must
// be used before [Owners.Settle], which drops the routes.
type Blocks struct {
	owners *Owners
	within map[firstRoute][]*Door // doors by the route of the server that they are in
	open   map[*List][]*Door      // doors in routes of a server that are not terminal
}

// firstRoute is a route of a server.
type firstRoute struct {
	list  *List
	index int
}

// Blocks returns the site blocks of the doors.
func (o *Owners) Blocks() *Blocks {
	b := &Blocks{owners: o, within: make(map[firstRoute][]*Door), open: make(map[*List][]*Door)}
	for _, doors := range o.doors {
		for _, d := range doors {
			if len(d.Way.Steps) == 0 || d.Way.Steps[0].List == nil {
				continue
			}
			s := &d.Way.Steps[0]
			at := firstRoute{s.List, s.Index}
			b.within[at] = append(b.within[at], d)
			if !s.route().Terminal {
				b.open[s.List] = append(b.open[s.List], d)
			}
		}
	}
	return b
}

// Sites returns the sites of the doors that are in one block with a handler, each once. w is a way
// to the handler.
func (b *Blocks) Sites(w *Way) (sites []*site.Site) {
	if len(w.Steps) == 0 || w.Steps[0].List == nil {
		return nil
	}
	add := func(doors []*Door) {
		for _, d := range doors {
			if !slices.Contains(sites, d.Site) && w.sharesBlock(d.Way) {
				sites = append(sites, d.Site)
			}
		}
	}
	s := &w.Steps[0]
	add(b.within[firstRoute{s.List, s.Index}])
	if !s.route().Terminal {
		add(b.open[s.List])
	}
	if patterns := patternsOf(w.Hosts); len(patterns) > 0 {
		if c := b.owners.get(patterns[0]); c != nil {
			add(c.doors)
		}
	}
	return sites
}

// sharesBlock reports whether two ways lead into one site block: a request can take both, or both
// are for the same hosts. The Caddyfile makes a terminal route of each block, so that a request
// goes through one of them only. Hosts alone do not tell: a request whose Host header is not
// canonical, such as a name with a dot at the end, goes through the block for every host.
func (w *Way) sharesBlock(other *Way) bool {
	if w.Server == nil || w.Server != other.Server || !w.Hosts.Overlaps(other.Hosts) {
		return false
	}
	for i := range min(len(w.Steps), len(other.Steps)) {
		a, b := &w.Steps[i], &other.Steps[i]
		switch {
		case a.List == nil || a.List != b.List:
			return i > 0 || w.Hosts.Equal(other.Hosts) // inside of one route
		case a.Index != b.Index:
			return !a.route().Terminal && !b.route().Terminal || w.Hosts.Equal(other.Hosts)
		}
	}
	return true
}
