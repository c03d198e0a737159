package caddymodule

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
)

// maxNamed bounds how many warnings name hosts that a handler gets requests for and does not serve.
const maxNamed = 10

// compareClaims compares a door with those that are more or less specific and share a host with it. A less specific one
// is an error if it stands before the owner in the routes of one listener. If it gets requests that the owner does not
// get there, they are answered 421, and a warning says so. The lock is held.
func (a *App) compareClaims(d *door) error {
	for _, pattern := range patternsOf(d.hosts) {
		known := a.owners.get(pattern)
		for c := range a.owners.overlapping(pattern) {
			less, owning, hosts, first := c.doors, []*door{d}, common(pattern, c.pattern), known == nil
			switch mine, its := rank(pattern), rank(c.pattern); {
			case c.site == d.handler.site || mine == its:
				continue
			case mine < its:
				less, owning, hosts, first = owning, c.doors, common(c.pattern, pattern), true
			case known != nil:
				owning = append(owning, known.doors...)
			}
			for _, door := range less {
				if err := a.compareDoors(door, owning, hosts, first); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// common returns the pattern of the hosts that a claim and a less specific one share.
func common(pattern, less string) string {
	if less == "" {
		return pattern
	}
	return hostpattern.Intersect(pattern, less)
}

// compareDoors compares a door with those of the owner of hosts that it could serve too.
func (a *App) compareDoors(less *door, owning []*door, hosts string, warn bool) error {
	if !a.gets(less, hosts) {
		return nil
	}
	reached := false
	for _, owner := range owning {
		if owner.handler.Prefix != less.handler.Prefix {
			continue
		}
		// With the same settings it is a warning: servers are loaded in no order, and another handler may yet make the two
		// doors of one site.
		if less.way.before(&owner.way) && less.handler.settings != owner.handler.settings {
			return fmt.Errorf("%s stands before %s, which is more specific and so owns %s: write the one for %s first",
				less, owner, hosts, hosts)
		}
		reached = reached || owner.covers(less, hostpattern.SetOf(hosts))
	}
	if warn && !reached {
		a.warnMisdirected(less, owning[0], hosts)
	}
	return nil
}

// warnMisdirected says that requests which a door gets are answered 421.
func (a *App) warnMisdirected(less, owner *door, hosts string) {
	const message = "requests for a host of another site are answered 421 misdirected"
	less.handler.misdirected++
	switch n := less.handler.misdirected; {
	case n <= maxNamed:
		a.logger.Warn(message, zap.String("host", hosts), zap.Stringer("at", less), zap.Stringer("owner", owner),
			zap.String("write", bothAddresses(owner, less, hosts)))
	case n == maxNamed+1:
		a.logger.Warn(message, zap.String("host", "more hosts, which are not named"), zap.Stringer("at", less))
	}
}

// gets reports whether a door can get requests for the hosts of a pattern: no route before it ends them all, and none of
// its own routes has a `not` that keeps them out.
func (a *App) gets(d *door, hosts string) bool {
	for i := range d.way.steps {
		s := &d.way.steps[i]
		if s.list != nil && (keepsOut(s.route(), hosts) || a.ends.before(s, hosts)) {
			return false
		}
	}
	return true
}

// keepsOut reports whether each matcher set of a route either is for other hosts or has a `not` for these.
func keepsOut(route *caddyhttp.Route, hosts string) bool {
	wanted := hostpattern.SetOf(hosts)
	for _, matchers := range route.MatcherSets {
		set, _ := matcherHosts(matchers)
		if set.Overlaps(wanted) && !slices.ContainsFunc(matchers, func(m any) bool { return excludes(m, wanted) }) {
			return false
		}
	}
	return len(route.MatcherSets) > 0
}

// excludes reports whether a matcher is a `not` that matches no request for the hosts.
func excludes(matcher any, hosts hostpattern.Set) bool {
	not, ok := matcher.(*caddyhttp.MatchNot)
	return ok && slices.ContainsFunc(not.MatcherSets, func(matchers caddyhttp.MatcherSet) bool {
		set, all := matcherHosts(matchers)
		return all && set.Contains(hosts)
	})
}

// routeEnds has, for lists of routes, the first route that ends all requests for a host, or takes them in its group.
type routeEnds map[*caddyhttp.Route]*listEnds

type listEnds struct {
	looked int // routes that are in
	groups map[string]*groupEnds
}

// groupEnds are the ends in a group, or those of all requests: then the group is "".
type groupEnds struct {
	hosts hostpattern.Map[int]
	every int // the first route that ends the requests for every host, -1 for none
}

// before reports whether a route before the way ends all requests for the hosts of a pattern.
func (e *routeEnds) before(s *step, hosts string) bool {
	if *e == nil {
		*e = make(routeEnds)
	}
	list := (*e)[&s.list[0]]
	if list == nil {
		list = &listEnds{groups: make(map[string]*groupEnds)}
		(*e)[&s.list[0]] = list
	}
	for ; list.looked < s.index; list.looked++ {
		route := &s.list[list.looked]
		if route.Terminal {
			list.add("", list.looked, route)
		}
		if route.Group != "" {
			list.add(route.Group, list.looked, route)
		}
	}
	return list.groups[""].before(s.index, hosts) || s.route().Group != "" && list.groups[s.route().Group].before(s.index, hosts)
}

func (l *listEnds) add(group string, i int, route *caddyhttp.Route) {
	g := l.groups[group]
	if g == nil {
		g = &groupEnds{every: -1}
		l.groups[group] = g
	}
	hosts := allThrough(route)
	if hosts.IsEvery() && g.every < 0 {
		g.every = i
	}
	for _, pattern := range hosts.Patterns() {
		if _, ok := g.hosts.Get(pattern); !ok {
			g.hosts.Insert(pattern, i)
		}
	}
}

func (g *groupEnds) before(index int, hosts string) bool {
	if g == nil {
		return false
	}
	if g.every >= 0 && g.every < index {
		return true
	}
	for pattern, i := range g.hosts.Overlapping(hosts) {
		if i < index && hostpattern.Intersect(hosts, pattern) == hosts {
			return true
		}
	}
	return false
}

// conflict is the error for two equally specific doors of different sites that share a host.
func conflict(d *door, c *claim, pattern string) error {
	other := c.doors[0]
	hosts := hostpattern.Every.String()
	if pattern != "" {
		hosts = hostpattern.Intersect(pattern, c.pattern)
	}
	remedies := []string{"one block with both addresses (" + bothAddresses(other, d, common(c.pattern, pattern)) + ")", "one snippet that both import"}
	if d.way.server == other.way.server {
		remedies = []string{"one rollcall for both, or a host matcher for each (other matchers do not tell sites apart)"}
	} else {
		remedies = append(remedies, "api_from instead of an internal copy with other keys")
	}
	if hosts == "localhost" || strings.HasPrefix(hosts, "127.") || hosts == "::1" {
		remedies = append(remedies, fmt.Sprintf("a.localhost%s and b.localhost%s instead of %s twice", port(&other.way), port(&d.way), hosts))
	}
	return fmt.Errorf("%s and %s are both for %s and differ in %s, but a host has one site: write %s",
		other, d, hosts, strings.Join(differing(other.handler, d.handler), ", "), strings.Join(remedies, ", or "))
}

// bothAddresses says how to write the block of a site that serves hosts at the doors of two listeners.
func bothAddresses(owner, other *door, hosts string) string {
	addresses := []string{address(&owner.way, hosts)}
	if second := address(&other.way, hosts); second != addresses[0] {
		addresses = append(addresses, second)
	}
	return strings.Join(addresses, ", ") + " {"
}

// address is the address of a site in a Caddyfile. Automatic HTTPS has given each server with TLS a policy by now.
func address(w *way, hosts string) string {
	scheme, port, standard := "", port(w), ":443"
	if w.server != nil && len(w.server.TLSConnPolicies) == 0 {
		scheme, standard = "http://", ":80"
	}
	if port == standard && hosts != "" {
		port = ""
	}
	return scheme + hosts + port
}

// port returns the port of the first address of a server with a colon before it, "" if it has none.
func port(w *way) string {
	if w.server == nil || len(w.server.Listen) == 0 {
		return ""
	}
	listen := w.server.Listen[0]
	if i := strings.LastIndexByte(listen, ':'); i >= 0 && !strings.Contains(listen, "/") {
		return listen[i:]
	}
	return ""
}
