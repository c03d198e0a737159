package caddymodule

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/rollcall-gateway/rollcall/caddymodule/routes"
)

// wayFinder finds the ways to the handlers of a configuration while they are provisioned, in their
// order. Caddy does not tell a handler where it is. No app sees the finished routes before it
// starts, which `caddy validate` never does.
//
// Caddy provisions the matchers of all routes of a list first, then the handlers of each route in
// order. It drops the JSON of a route's handlers once they are loaded. So the first route that
// still has JSON is the one that is being loaded.
type wayFinder struct {
	model *routeModel
	// loading has the index of the route that was loading when a list was last looked at, by the
	// first route of the list. Without it, each handler would look at each route: time would grow
	// with the square of the number of sites.
	loading map[*caddyhttp.Route]int
	// met has the handlers of a route that were on a way, in order.
	met map[*caddyhttp.Route][]any
	// holders has the positions of a route's handlers that are a rollcall or have one inside.
	holders map[*caddyhttp.Route][]int
	// around has the containers around a handler in a named route, from the outermost inwards.
	around map[caddy.Module][]caddy.Module
}

func newWayFinder(ctx caddy.Context) *wayFinder {
	return &wayFinder{
		model: newRouteModel(ctx), loading: make(map[*caddyhttp.Route]int), met: make(map[*caddyhttp.Route][]any),
		holders: make(map[*caddyhttp.Route][]int), around: make(map[caddy.Module][]caddy.Module),
	}
}

// find returns the way to the rollcall that is being provisioned with this context.
func (f *wayFinder) find(ctx caddy.Context) *routes.Way { return f.findAt(ctx, f.position) }

// findOther returns the way to another handler. Positions in routes are unknown, because those of
// rollcalls are counted.
func (f *wayFinder) findOther(ctx caddy.Context) *routes.Way {
	return f.findAt(ctx, func(*caddyhttp.Route, any) int { return -1 })
}

func (f *wayFinder) findAt(ctx caddy.Context, position func(*caddyhttp.Route, any) int) *routes.Way {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return routes.NewWay(nil, nil)
	}
	modules := ctx.Modules()
	for i, module := range modules { // one app can load another
		if _, ok := module.(*caddyhttp.App); ok {
			modules = modules[i+1:]
			break
		}
	}
	var steps []routes.Step
	var container any = server
	for i, module := range modules {
		s := f.step(container, module, position)
		if s.List == nil && i == 0 {
			last := len(modules) - 1
			f.around[modules[last]] = modules[:last]
			way := routes.NewWay(f.model.server(server), nil)
			way.Named = true
			return way
		}
		steps = append(steps, s)
		container = module
	}
	return routes.NewWay(f.model.server(server), steps)
}

// release drops the model of the routes.
func (f *wayFinder) release() {
	for _, server := range f.model.servers {
		server.Named = nil
	}
}

// step finds the route in a container that is loading the module.
func (f *wayFinder) step(container, module any, position func(*caddyhttp.Route, any) int) routes.Step {
	var found *routeList
	index := 0
	lists := routeLists(container)
	for i := range lists {
		loading, ok := f.loadingIn(lists[i].routes)
		if !ok {
			continue
		}
		if found != nil {
			// A container of another plugin, in which several lists may be loading.
			return routes.Step{Position: -1}
		}
		found, index = &lists[i], loading
		if inOrder(container) {
			break
		}
	}
	if found == nil {
		return routes.Step{Position: -1}
	}
	return routes.Step{
		List: f.model.list(found.routes, found.onError), Index: index,
		Position: position(&found.routes[index], module), Sure: !found.onError && entersList(container),
	}
}

// entersList reports whether each request that reaches the container enters its list of routes. The
// lists of reverse_proxy and intercept are for some responses, and other plugins may do anything.
func entersList(container any) bool {
	switch container.(type) {
	case *caddyhttp.Server, *caddyhttp.Subroute, *caddyhttp.Invoke:
		return true
	}
	return false
}

// loadingIn returns the index of the first route whose handlers are not complete. It reports false
// if there is none. It also reports false if the matchers of that route are not loaded either,
// because then another list of the container is the one that is loading.
func (f *wayFinder) loadingIn(list caddyhttp.RouteList) (int, bool) {
	if len(list) == 0 {
		return 0, false
	}
	i := f.loading[&list[0]]
	for i < len(list) && list[i].HandlersRaw == nil {
		i++
	}
	f.loading[&list[0]] = i
	return i, i < len(list) && list[i].MatcherSetsRaw == nil
}

// position returns the position of the module in the route that is loading it. A module does not
// know its JSON, but those that have a rollcall inside are provisioned one after another.
func (f *wayFinder) position(route *caddyhttp.Route, module any) int {
	if len(route.HandlersRaw) == 1 {
		return 0
	}
	met := f.met[route]
	if len(met) == 0 || met[len(met)-1] != module {
		met = append(met, module)
		f.met[route] = met
	}
	holders, known := f.holders[route]
	if !known {
		holders = rollcallsIn(route.HandlersRaw)
		f.holders[route] = holders
	}
	if len(met) > len(holders) {
		return -1
	}
	return holders[len(met)-1]
}

// rollcallsIn returns the positions of handlers, as JSON, that are a rollcall or have one inside.
func rollcallsIn(handlers []json.RawMessage) []int {
	var holders []int
	for i, raw := range handlers {
		if bytes.Contains(raw, []byte(`"rollcall"`)) {
			holders = append(holders, i)
		}
	}
	if len(holders) == 1 {
		return holders // a rollcall is being loaded, so this is it
	}
	// The name can also be a text, such as the value of a header.
	return slices.DeleteFunc(holders, func(i int) bool {
		var v any
		return json.Unmarshal(handlers[i], &v) != nil || !hasRollcall(v)
	})
}

// hasRollcall reports whether a handler, as a JSON value, is a rollcall or has one inside.
func hasRollcall(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if key == "handler" && value == "rollcall" || hasRollcall(value) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, hasRollcall)
	}
	return false
}

// routeList is a list of routes in a container.
type routeList struct {
	routes  caddyhttp.RouteList
	onError bool
}

// routeLists returns the lists of routes in a server or a handler. For Caddy's own, the order is
// that in which they are loaded.
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

// inOrder reports whether a container loads its lists one after another, in the order of
// routeLists, as those of Caddy do.
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
	const deepest = 6 // values can refer to each other
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
	default: // no routes, or unexported ones
	}
	return lists
}
