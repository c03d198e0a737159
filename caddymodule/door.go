package caddymodule

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
)

// checkPaths refuses a handler whose path matchers fit none of its endpoints. It looks from the handler outwards, as far
// as no handler in between can change the path.
func (a *App) checkPaths(w *way, prefix string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := len(w.steps) - 1; i >= 0; i-- {
		s := &w.steps[i]
		if s.list == nil || s.rewritesBeforeHandler() {
			return nil
		}
		if paths := unfitPaths(s.route(), prefix); paths != nil {
			return fmt.Errorf("path %s fits no endpoint, which are %s: write %s, or the option prefix",
				strings.Join(paths, " "), strings.Join(endpointPaths(prefix), ", "), prefix+"/*")
		}
		if i > 0 && a.rewrites.between(s.list, 0, s.index) {
			return nil
		}
	}
	return nil
}

// unfitPaths returns the patterns of the path matchers of a route, if they keep the requests for each endpoint from it.
func unfitPaths(route *caddyhttp.Route, prefix string) []string {
	var unfit []string
	for _, matchers := range route.MatcherSets {
		none := false
		for _, m := range matchers {
			if paths, ok := pathMatcher(m); ok && !slices.ContainsFunc(endpointPaths(prefix), func(path string) bool { return mayMatchPath(paths, path) }) {
				none = true
				unfit = append(unfit, paths...)
			}
		}
		if !none {
			return nil
		}
	}
	return unfit
}

// deadDoor returns an error if a door of the same site gets each request that the other door could get. It looks at the
// doors without a limit, and at those whose limit the other door shares: a site can have thousands of doors, each for a
// path of its own.
func (c *claim) deadDoor(d *door) error {
	look := func(doors []*door) error {
		for _, before := range doors {
			if before.handler.Prefix == d.handler.Prefix && before.covers(d, d.hosts) {
				return fmt.Errorf("%s is never reached, because %s stands before it: write one", d, before)
			}
		}
		return nil
	}
	if err := look(c.limited[nil]); err != nil {
		return err
	}
	for i := range d.way.steps {
		if route := d.way.steps[i].route(); route != nil {
			if err := look(c.limited[route]); err != nil {
				return err
			}
		}
	}
	return nil
}

// limit returns the first route on the way that gets some requests for the endpoints only, whatever the host; nil for none.
// A door covers only those behind its limit.
func (d *door) limit() *caddyhttp.Route {
	for i := range d.way.steps {
		if route := d.way.steps[i].route(); route != nil && !takesAll(route, hostpattern.Set{}, d.handler.Prefix) {
			return route
		}
	}
	return nil
}

// covers reports whether each request for the hosts that could get to the other door gets to d before.
func (d *door) covers(other *door, hosts hostpattern.Set) bool {
	fork, ok := d.way.fork(&other.way)
	if !ok {
		return false
	}
	mine, its := &d.way.steps[fork], &other.way.steps[fork]
	switch {
	case mine.index > its.index || mine.index == its.index && (mine.position < 0 || mine.position >= its.position):
		return false
	case mine.index < its.index:
		route := mine.route()
		if route.Group != "" && route.Group != its.route().Group || !takesAll(route, hosts, d.handler.Prefix) {
			return false
		}
	}
	rewrites := &d.handler.app.rewrites
	if rewrites.between(mine.list, mine.index, its.index+1) {
		return false
	}
	for _, s := range d.way.steps[fork+1:] {
		if !s.isSure() || !takesAll(s.route(), hosts, d.handler.Prefix) || rewrites.before(&s) ||
			s.route().Group != "" && slices.ContainsFunc(s.list[:s.index], func(r caddyhttp.Route) bool { return r.Group == s.route().Group }) {
			return false
		}
	}
	return !slices.ContainsFunc(other.way.steps[fork+1:], func(s step) bool { return rewrites.before(&s) })
}

// fork returns the last step that two ways of one server have in common. It reports false if they have none, or if it
// cannot be read.
func (w *way) fork(other *way) (int, bool) {
	if w.server == nil || w.server != other.server {
		return 0, false
	}
	for i := range min(len(w.steps), len(other.steps)) {
		a, b := &w.steps[i], &other.steps[i]
		if a.list == nil || b.list == nil || &a.list[0] != &b.list[0] {
			return 0, false
		}
		if a.index != b.index || a.position != b.position {
			return i, true
		}
	}
	return 0, false
}

// before reports whether a request gets to w first, if it gets to both ways of one server.
func (w *way) before(other *way) bool {
	fork, ok := w.fork(other)
	if !ok {
		return false
	}
	a, b := &w.steps[fork], &other.steps[fork]
	return a.index < b.index || a.index == b.index && a.position >= 0 && a.position < b.position
}

// takesAll reports whether a route gets every request for the endpoints of the hosts.
func takesAll(route *caddyhttp.Route, hosts hostpattern.Set, prefix string) bool {
	if len(route.MatcherSets) == 0 {
		return true
	}
	return slices.ContainsFunc(route.MatcherSets, func(matchers caddyhttp.MatcherSet) bool {
		for _, m := range matchers {
			if set, ok := hostMatcher(m); ok {
				if !set.Contains(hosts) {
					return false
				}
				continue
			}
			paths, ok := pathMatcher(m)
			if !ok || hasPlaceholder(paths) || slices.ContainsFunc(endpointPaths(prefix), func(path string) bool { return !mayMatchPath(paths, path) }) {
				return false
			}
		}
		return true
	})
}

// endpointPaths returns the paths that a handler serves.
func endpointPaths(prefix string) []string {
	paths := make([]string, len(endpoints))
	for i, e := range endpoints {
		paths[i] = prefix + e.name
	}
	return paths
}

// pathMatcher returns the patterns of Caddy's path matcher.
func pathMatcher(matcher any) (caddyhttp.MatchPath, bool) {
	switch m := matcher.(type) {
	case *caddyhttp.MatchPath:
		return *m, true
	case caddyhttp.MatchPath:
		return m, true
	}
	return nil, false
}

func hasPlaceholder(paths []string) bool {
	return slices.ContainsFunc(paths, func(path string) bool { return strings.Contains(path, "{") })
}

// mayMatchPath reports whether a request for the path can match, which nobody knows of a placeholder.
func mayMatchPath(paths caddyhttp.MatchPath, path string) bool {
	if hasPlaceholder(paths) {
		return true
	}
	ctx := context.WithValue(context.Background(), caddy.ReplacerCtxKey, caddy.NewReplacer())
	return paths.Match((&http.Request{URL: &url.URL{Path: path}}).WithContext(ctx))
}

// routeRewrites has, by the first route of a list, how many of the routes before each index can change the path. A look at
// all routes for each handler would take time with the square of the number of sites.
type routeRewrites map[*caddyhttp.Route][]int

// between reports whether a route of the list from an index up to another one can change the path.
func (r *routeRewrites) between(list caddyhttp.RouteList, from, to int) bool {
	if len(list) == 0 {
		return false
	}
	if *r == nil {
		*r = make(routeRewrites)
	}
	before := (*r)[&list[0]]
	if before == nil {
		before = []int{0}
	}
	for i := len(before) - 1; i < to; i++ {
		n := before[i]
		if mayRewrite(list[i]) {
			n++
		}
		before = append(before, n)
	}
	(*r)[&list[0]] = before
	return before[to] > before[from]
}

// before reports whether a handler before the way can change the path after the list has been entered.
func (r *routeRewrites) before(s *step) bool {
	return s.list == nil || s.rewritesBeforeHandler() || r.between(s.list, 0, s.index)
}

// rewritesBeforeHandler reports whether a handler in the route of the way, before it, can change the path.
func (s *step) rewritesBeforeHandler() bool {
	if s.handlers == nil { // the route is complete
		return s.position < 0 || slices.ContainsFunc(s.route().Handlers[:s.position], handlerMayRewrite)
	}
	if s.position < 0 {
		return len(s.handlers) > 1
	}
	return slices.ContainsFunc(s.handlers[:s.position], rawMayRewrite)
}

// keepsPath are the handlers of Caddy after which a request has the path that it had before.
var keepsPath = []string{
	"abort", "acme_server", "authentication", "encode", "error", "file_server", "headers", "log_append", "map", "metrics",
	"push", "request_body", "reverse_proxy", "rollcall", "static_response", "subroute", "templates", "tracing", "vars",
}

// mayRewrite reports whether a request can leave a route with another path. A handler of another plugin may do anything.
func mayRewrite(route caddyhttp.Route) bool {
	return slices.ContainsFunc(route.Handlers, handlerMayRewrite) || slices.ContainsFunc(route.HandlersRaw, rawMayRewrite)
}

func handlerMayRewrite(handler caddyhttp.MiddlewareHandler) bool {
	module, ok := handler.(caddy.Module)
	if !ok || !slices.Contains(keepsPath, strings.TrimPrefix(string(module.CaddyModule().ID), "http.handlers.")) {
		return true
	}
	return slices.ContainsFunc(routeLists(handler), func(list routeList) bool { return slices.ContainsFunc(list.routes, mayRewrite) })
}

// rawMayRewrite is handlerMayRewrite for a handler, with those inside of it, that is known as JSON.
func rawMayRewrite(raw json.RawMessage) bool {
	var v any
	return json.Unmarshal(raw, &v) != nil || hasHandler(v, func(name string) bool { return !slices.Contains(keepsPath, name) })
}

// hasHandler reports whether a handler, as a JSON value, or one inside of it has such a name; "" is no name.
func hasHandler(v any, such func(name string) bool) bool {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if name, _ := value.(string); key == "handler" && such(name) || hasHandler(value, such) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(value any) bool { return hasHandler(value, such) })
	}
	return false
}
