package caddymodule

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/token"
	"github.com/rollcall-gateway/rollcall/presence"
)

// snapshot is one configuration as the hub sees it. It never changes.
type snapshot struct {
	app    *App
	logger *zap.Logger
	sites  []servedSite
	exact  map[string]*site // by host name, for what find would find in sites

	// shutdownDelay is how long HTTP goes on listening when Caddy exits, zero by default.
	shutdownDelay time.Duration
}

// servedSite is a handler with the host matchers on the way to it.
type servedSite struct {
	site  *site
	hosts []hostPatterns // all must match
}

// hostPatterns is one host matcher: one of its patterns must match. In a pattern, a label can be "*".
type hostPatterns []string

// newSnapshot looks for the handlers in the routes of the HTTP app: a handler is not told which hosts it serves, and the
// hub has to know it without a request. A handler that is not found, for it is inside of a handler that Caddy does not
// come with, is taken to serve every host that no other one does.
func newSnapshot(a *App, http *caddyhttp.App, handlers []*Handler) *snapshot {
	s := &snapshot{
		app: a, logger: a.logger, exact: make(map[string]*site), shutdownDelay: time.Duration(http.ShutdownDelay),
	}
	names := make([]string, 0, len(http.Servers))
	for name := range http.Servers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		server := http.Servers[name]
		w := walker{snapshot: s, named: server.NamedRoutes, walking: make(map[string]bool)}
		w.routes(server.Routes, nil)
	}
	for _, h := range handlers {
		if !slices.ContainsFunc(s.sites, func(served servedSite) bool { return served.site == h.site }) {
			s.sites = append(s.sites, servedSite{site: h.site})
		}
	}
	for _, served := range s.sites {
		for _, set := range served.hosts {
			for _, host := range set {
				name, err := presence.ParseHost(host)
				if err == nil && s.exact[name.String()] == nil {
					s.exact[name.String()] = s.search(name)
				}
			}
		}
	}
	return s
}

// inherit hands the keys that a site has fetched on to the site of the same hosts.
func (s *snapshot) inherit(old *snapshot) {
	verifiers := make(map[string]*token.Verifier)
	for _, served := range old.sites {
		if served.site.verifier != nil {
			verifiers[served.key()] = served.site.verifier
		}
	}
	for _, served := range s.sites {
		if from := verifiers[served.key()]; from != nil && served.site.verifier != nil {
			served.site.verifier.Inherit(from)
		}
	}
}

// key tells the sites of a snapshot apart by their hosts. Quoted names cannot run into each other.
func (s servedSite) key() string { return fmt.Sprintf("%q", s.hosts) }

// find returns the site that serves the host, nil when none does. Where several do, the first in order wins.
func (s *snapshot) find(name presence.HostName) *site {
	if found, ok := s.exact[name.String()]; ok {
		return found
	}
	return s.search(name)
}

func (s *snapshot) search(name presence.HostName) *site {
	for _, served := range s.sites {
		if !slices.ContainsFunc(served.hosts, func(h hostPatterns) bool { return !h.match(name.String()) }) {
			return served.site
		}
	}
	return nil
}

// firstHost returns the first host that the matchers name and the site serves, "" when there is none.
func (s *snapshot) firstHost(served servedSite) string {
	for _, set := range served.hosts {
		for _, host := range set {
			if name, err := presence.ParseHost(host); err == nil && s.exact[name.String()] == served.site {
				return name.String()
			}
		}
	}
	return ""
}

// otherHosts is the label of all hosts that the configuration does not name: on a site for any host, a client chooses
// the name, and metrics must stay few.
const otherHosts = "_other"

// label returns the host's name for metrics.
func (s *snapshot) label(name presence.HostName) string {
	if s.exact[name.String()] != nil {
		return name.String()
	}
	return otherHosts
}

// match follows MatchHost of Caddy: without regard to case, and "*" is exactly one label.
func (h hostPatterns) match(name string) bool {
	labels := strings.Split(name, ".")
	return slices.ContainsFunc(h, func(pattern string) bool {
		parts := strings.Split(strings.Trim(pattern, "[]"), ".")
		return slices.EqualFunc(parts, labels, func(part, label string) bool {
			return part == "*" || strings.EqualFold(part, label)
		})
	})
}

// walker goes through the routes of one server. Matchers other than host are taken to match.
type walker struct {
	*snapshot
	named   map[string]*caddyhttp.Route
	walking map[string]bool // named routes under way: they may invoke each other
}

func (w *walker) routes(routes caddyhttp.RouteList, above []hostPatterns) {
	for _, route := range routes {
		w.route(route, above)
	}
}

func (w *walker) route(route caddyhttp.Route, above []hostPatterns) {
	sets := route.MatcherSets
	if len(sets) == 0 {
		sets = caddyhttp.MatcherSets{nil}
	}
	for _, set := range sets {
		hosts := slices.Clip(above)
		for _, matcher := range set {
			if m := hostMatcherPatterns(matcher); m != nil {
				hosts = append(hosts, m)
			}
		}
		for _, handler := range route.Handlers {
			w.handler(handler, hosts)
		}
	}
}

func (w *walker) handler(handler caddyhttp.MiddlewareHandler, hosts []hostPatterns) {
	switch h := handler.(type) {
	case *Handler:
		w.sites = append(w.sites, servedSite{site: h.site, hosts: hosts})
	case *caddyhttp.Subroute:
		w.routes(h.Routes, hosts)
	case *caddyhttp.Invoke:
		if route := w.named[h.Name]; route != nil && !w.walking[h.Name] {
			w.walking[h.Name] = true
			w.route(*route, hosts)
			delete(w.walking, h.Name)
		}
	}
}

// hostMatcherPatterns returns the patterns of a host matcher, nil for any other.
func hostMatcherPatterns(matcher any) hostPatterns {
	var hosts caddyhttp.MatchHost
	switch m := matcher.(type) {
	case *caddyhttp.MatchHost:
		hosts = *m
	case caddyhttp.MatchHost:
		hosts = m
	default:
		return nil
	}
	set := make(hostPatterns, len(hosts))
	repl := caddy.NewReplacer()
	for i, host := range hosts {
		set[i] = repl.ReplaceAll(host, "")
	}
	return set
}
