package caddymodule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
)

// way is how requests get to a handler: through the routes of a server, and those of each container inside of them.
type way struct {
	server *caddyhttp.Server // nil outside of the HTTP app
	steps  []step            // from the server inwards
	named  bool              // the handler is in a named route, whose callers are known when the app starts
	inside []any             // in a named route, the containers around the handler, from the outermost inwards
}

// step is one list of routes on the way to a handler.
//
// While a handler is provisioned, the routes of the list before index are complete. Of the route at index, and of those
// after it, only the matchers are loaded.
type step struct {
	container any                 // that has the list: the server, or the handler in the step before
	list      caddyhttp.RouteList // nil in a container of another plugin whose routes cannot be read
	index     int                 // of the route in the list that the way goes through
	onError   bool                // the list handles errors
	// handlers are those of the route at index, as JSON. They are known while the handler is provisioned, and nil on a
	// way that was found when the app started: then the handlers of the route itself are complete.
	handlers []json.RawMessage
	position int // in the handlers of the route at index: what the way goes on with; -1 when it is not known
}

// route returns the route that the way goes through, nil where it cannot be read.
func (s *step) route() *caddyhttp.Route {
	if s.list == nil {
		return nil
	}
	return &s.list[s.index]
}

// isSure reports whether each request that gets to the container enters the list. The lists of reverse_proxy and intercept
// are for some responses, and other plugins may do anything.
func (s *step) isSure() bool {
	switch s.container.(type) {
	case *caddyhttp.Server, *caddyhttp.Subroute, *caddyhttp.Invoke:
		return s.list != nil && !s.onError
	}
	return false
}

// hosts returns the hosts that the host matchers on the way let through. Other matchers are taken to match, and so are
// those that cannot be read.
func (w *way) hosts() hostpattern.Set {
	hosts := hostpattern.Every
	for i := range w.steps {
		if route := w.steps[i].route(); route != nil {
			hosts = hosts.Intersect(routeHosts(route))
		}
	}
	return hosts
}

// listeners names the addresses of the server, for errors and logs.
func (w *way) listeners() string {
	if w.server == nil {
		return "none"
	}
	return strings.Join(w.server.Listen, ", ")
}

// label names the site that a handler with the prefix is a part of, for errors and logs.
func (w *way) label(prefix string) string {
	if w.named {
		return fmt.Sprintf("rollcall in a named route (listener %s, prefix %s)", w.listeners(), prefix)
	}
	return fmt.Sprintf("rollcall for %s (listener %s, prefix %s)", w.hosts(), w.listeners(), prefix)
}

// wayFinder finds the ways to the handlers of a configuration while they are provisioned, in their order. Caddy tells no
// handler where it is, and no app sees the finished routes before it starts, which `caddy validate` never does.
//
// Caddy provisions a list of routes in order, the matchers of all of them first, and takes the JSON of a route's handlers
// away once they are loaded. So the first route that has some left is the one that is being loaded.
type wayFinder struct {
	// loading has, by the first route of a list, the index of the route that was loading when it was last looked at: a
	// look at each route for each handler would take time with the square of the number of sites.
	loading map[*caddyhttp.Route]int
	// indexes has, by the first route of a long list, its routes by host.
	indexes map[*caddyhttp.Route]*routeIndex
	// met has, for a route, which of its handlers were on a way, in order.
	met map[*caddyhttp.Route][]any
	// holders has, for a route, the positions of its handlers that are a rollcall or have one inside.
	holders map[*caddyhttp.Route][]int
}

// find returns the way to the handler that is being provisioned with this context.
func (f *wayFinder) find(ctx caddy.Context) way {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return way{}
	}
	w := way{server: server}
	modules := ctx.Modules()
	for i, module := range modules { // apps can load each other
		if _, ok := module.(*caddyhttp.App); ok {
			modules = modules[i+1:]
			break
		}
	}
	var container any = server
	for _, module := range modules {
		s := f.step(container, module)
		if s.list == nil && container == any(server) {
			w = way{server: server, named: true}
			for _, around := range modules[:len(modules)-1] {
				w.inside = append(w.inside, around)
			}
			return w
		}
		w.steps = append(w.steps, s)
		container = module
	}
	return w
}

// step finds the route in a container that loads the module now.
func (f *wayFinder) step(container, module any) step {
	s := step{container: container, position: -1}
	lists := routeLists(container)
	loading := -1
	for i := range lists {
		index, ok := f.underWay(lists[i].routes)
		if !ok {
			continue
		}
		if loading >= 0 {
			// Another plugin's container with more than one list that can be under way.
			return step{container: container, position: -1}
		}
		loading = i
		s.list, s.index, s.onError = lists[i].routes, index, lists[i].onError
		if inOrder(container) {
			break
		}
	}
	if s.list != nil {
		s.handlers = s.route().HandlersRaw
		s.position = f.position(s.route(), module)
	}
	return s
}

// underWay returns the index of the first route whose handlers are not complete. It reports false if there is none, or if
// its matchers are not loaded either, so that another list of the container must be under way.
func (f *wayFinder) underWay(list caddyhttp.RouteList) (int, bool) {
	if len(list) == 0 {
		return 0, false
	}
	i := f.loading[&list[0]]
	for i < len(list) && list[i].HandlersRaw == nil {
		i++
	}
	if f.loading == nil {
		f.loading = make(map[*caddyhttp.Route]int)
	}
	f.loading[&list[0]] = i
	return i, i < len(list) && list[i].MatcherSetsRaw == nil
}

// position returns where the module is in the handlers of the route that loads it. A module does not know its JSON; but
// those that have a rollcall inside are met one after another.
func (f *wayFinder) position(route *caddyhttp.Route, module any) int {
	met := f.met[route]
	if len(met) == 0 || met[len(met)-1] != module {
		if f.met == nil {
			f.met = make(map[*caddyhttp.Route][]any)
		}
		met = append(met, module)
		f.met[route] = met
	}
	holders, known := f.holders[route]
	if !known {
		for i, raw := range route.HandlersRaw {
			if hasRollcall(raw) {
				holders = append(holders, i)
			}
		}
		if f.holders == nil {
			f.holders = make(map[*caddyhttp.Route][]int)
		}
		f.holders[route] = holders
	}
	if len(met) > len(holders) {
		return -1
	}
	return holders[len(met)-1]
}

// hasRollcall reports whether a handler, as JSON, is a rollcall or has one inside. The name alone can also be a text, such
// as the value of a header.
func hasRollcall(raw json.RawMessage) bool {
	if !bytes.Contains(raw, []byte(`"rollcall"`)) {
		return false
	}
	var v any
	return json.Unmarshal(raw, &v) == nil && hasHandler(v, func(name string) bool { return name == "rollcall" })
}

// routeList is a list of routes in a container.
type routeList struct {
	routes  caddyhttp.RouteList
	onError bool
}

// routeLists returns the lists of routes in a server or a handler, in the order in which Caddy's own load them.
func routeLists(container any) []routeList {
	switch c := container.(type) {
	case *caddyhttp.Server:
		lists := []routeList{{routes: c.Routes}}
		if c.Errors != nil {
			lists = append(lists, routeList{c.Errors.Routes, true})
		}
		return lists
	case *caddyhttp.Subroute:
		lists := []routeList{{routes: c.Routes}}
		if c.Errors != nil {
			lists = append(lists, routeList{c.Errors.Routes, true})
		}
		return lists
	}
	return appendRouteLists(nil, reflect.ValueOf(container), 0)
}

// inOrder reports whether a container loads its lists one after another, in the order of routeLists: those that come
// with Caddy do.
func inOrder(container any) bool {
	t := reflect.TypeOf(container)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return strings.HasPrefix(t.PkgPath(), "github.com/caddyserver/caddy/v2/")
}

var (
	routeType     = reflect.TypeFor[caddyhttp.Route]()
	routeListType = reflect.TypeFor[caddyhttp.RouteList]()
)

// appendRouteLists collects the lists of routes in the exported fields of a value.
func appendRouteLists(lists []routeList, v reflect.Value, depth int) []routeList {
	const deepest = 6 // values can point at each other
	if depth > deepest {
		return lists
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			lists = appendRouteLists(lists, v.Elem(), depth+1)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				lists = appendRouteLists(lists, v.Field(i), depth+1)
			}
		}
	case reflect.Slice:
		switch elem := v.Type().Elem(); {
		case elem == routeType:
			lists = append(lists, routeList{routes: v.Convert(routeListType).Interface().(caddyhttp.RouteList)})
		case elem.Kind() == reflect.Struct || elem.Kind() == reflect.Pointer || elem.Kind() == reflect.Slice:
			for i := range v.Len() {
				lists = appendRouteLists(lists, v.Index(i), depth+1)
			}
		}
	case reflect.Map:
		for entries := v.MapRange(); entries.Next(); {
			lists = appendRouteLists(lists, entries.Value(), depth+1)
		}
	default: // holds no routes, or only some that a module keeps to itself
	}
	return lists
}
