package caddymodule

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/rollcall-gateway/rollcall/caddymodule/routes"
	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
)

// enterNamed makes the handlers in named routes doors to the hosts of the routes that invoke them,
// which are known when all routes are. A handler whose route is not invoked serves nothing. It also
// finds the ways to consoles in named routes.
func (a *App) enterNamed() error {
	a.mu.Lock()
	waiting := make(map[*routes.Server][]*Handler)
	for _, h := range a.handlers {
		if h.way.Named {
			waiting[h.way.Server] = append(waiting[h.way.Server], h)
		}
	}
	consoles := make(map[*routes.Server]bool)
	for _, c := range a.consoles {
		if c.way.Named {
			consoles[c.way.Server] = true
		}
	}
	a.mu.Unlock()
	if len(waiting) == 0 && len(consoles) == 0 {
		return nil
	}
	app, err := a.ctx.App("http")
	if err != nil {
		return fmt.Errorf("finding the routes that rollcall is in: %w", err)
	}
	servers := app.(*caddyhttp.App).Servers
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		server := a.ways.model.server(servers[name])
		handlers := waiting[server]
		if len(handlers) == 0 && !consoles[server] {
			continue
		}
		w := newNamedWalker(a.ways, servers[name], handlers)
		w.container(w.server, nil)
		if w.nested > maxNested {
			return fmt.Errorf("rollcall in named routes (listener %s): named routes invoke each other in more than %d ways: "+
				"write rollcall in a route that is not invoked", strings.Join(w.server.Listen, ", "), maxNested)
		}
		for _, h := range handlers {
			if err := a.enterWays(h, w.found(h)); err != nil {
				return err
			}
		}
	}
	return nil
}

// enterWays makes a handler in a named route a door to the hosts of its ways. It returns an error
// if requests for a host reach the handler by none of the ways.
func (a *App) enterWays(h *Handler, ways []*routes.Way) error {
	var open hostpattern.Map[struct{}]
	var every bool
	isOpen := func(hosts hostpattern.Set) bool {
		return every || !hosts.IsEvery() && !slices.ContainsFunc(hosts.Patterns(), func(p string) bool { return !open.Covers(p) })
	}
	var blocked []*routes.Way
	var why []error // errors of the blocked ways
	for _, way := range ways {
		if _, err := a.enter(h, way); err != nil {
			return err
		}
		if isOpen(way.Hosts) {
			h.reachApps(way)
			continue
		}
		if err := h.checkReach(way, h.made.Logger); err != nil {
			blocked, why = append(blocked, way), append(why, err)
			continue
		}
		every = every || way.Hosts.IsEvery()
		for _, pattern := range way.Hosts.Patterns() {
			open.Insert(pattern, struct{}{})
		}
	}
	for i, way := range blocked {
		if !isOpen(way.Hosts) {
			return fmt.Errorf("%s: %w", way.Label(h.Prefix), why[i])
		}
	}
	return nil
}

// namedWalker walks the complete routes of one server, and collects the ways to handlers in named
// routes.
type namedWalker struct {
	finder   *wayFinder
	server   *caddyhttp.Server
	ways     map[*Handler][]*routes.Way // ways of the waiting handlers
	hidden   map[any][]hiddenIn         // waiting handlers by the containers around them
	deepest  map[*Handler]hiddenAt
	invoking map[string]bool // named routes that the walk is in: they may invoke each other
	nested   int             // invocations from named routes, since the last one from another route
}

// hiddenIn is a handler in a container of another plugin.
type hiddenIn struct {
	handler *Handler
	depth   int // index of the container among those around the handler
}

// maxNested is the maximum number of ways through named routes that invoke each other: two
// invocations per level double them.
const maxNested = 20_000

// hiddenAt has the ways to the innermost visible container around a handler.
type hiddenAt struct {
	depth int // index among the modules around the handler
	ways  []*routes.Way
}

func newNamedWalker(f *wayFinder, server *caddyhttp.Server, waiting []*Handler) *namedWalker {
	w := &namedWalker{
		finder: f, server: server, ways: make(map[*Handler][]*routes.Way), hidden: make(map[any][]hiddenIn),
		deepest: make(map[*Handler]hiddenAt), invoking: make(map[string]bool),
	}
	for _, h := range waiting {
		w.ways[h] = nil
		for depth, container := range f.around[h] {
			if isPointer(container) {
				w.hidden[container] = append(w.hidden[container], hiddenIn{h, depth})
			}
		}
	}
	return w
}

// isPointer reports whether a module can be the key of a map.
func isPointer(module any) bool { return reflect.TypeOf(module).Kind() == reflect.Pointer }

// container walks the routes of the server or a handler.
func (w *namedWalker) container(container any, steps []routes.Step) {
	for _, list := range routeLists(container) {
		model := w.finder.model.list(list.routes, list.onError)
		for i := range list.routes {
			w.route(&list.routes[i], routes.Step{List: model, Index: i, Sure: !list.onError && entersList(container)}, steps)
		}
	}
}

func (w *namedWalker) route(route *caddyhttp.Route, s routes.Step, steps []routes.Step) {
	for s.Position = range route.Handlers {
		w.handler(route.Handlers[s.Position], append(slices.Clip(steps), s))
	}
}

func (w *namedWalker) handler(handler caddyhttp.MiddlewareHandler, steps []routes.Step) {
	switch h := handler.(type) {
	case *Handler:
		if ways, waits := w.ways[h]; waits {
			w.ways[h] = append(ways, w.way(steps))
		}
	case *Console:
		if h.way.Named {
			h.invoked = append(h.invoked, w.way(steps))
		}
	case *caddyhttp.Invoke:
		if route := w.server.NamedRoutes[h.Name]; route != nil && !w.invoking[h.Name] && w.nested <= maxNested {
			if len(w.invoking) == 0 {
				w.nested = 0
			} else {
				w.nested++
			}
			w.invoking[h.Name] = true
			w.route(route, routes.Step{List: w.finder.model.named(route), Sure: true}, steps)
			delete(w.invoking, h.Name)
		}
	default:
		w.container(handler, steps)
		w.passHidden(handler, steps)
	}
}

// passHidden records the way to a container of another plugin that has a handler, in case its
// routes cannot be read.
func (w *namedWalker) passHidden(container any, steps []routes.Step) {
	if !isPointer(container) {
		return
	}
	for _, in := range w.hidden[container] {
		at := w.deepest[in.handler]
		switch {
		case in.depth < at.depth:
			continue
		case in.depth > at.depth:
			at = hiddenAt{depth: in.depth}
		}
		at.ways = append(at.ways, w.way(append(slices.Clip(steps), routes.Step{Position: -1})))
		w.deepest[in.handler] = at
	}
}

func (w *namedWalker) way(steps []routes.Step) *routes.Way {
	return routes.NewWay(w.finder.model.server(w.server), steps)
}

// found returns the ways to a handler.
func (w *namedWalker) found(h *Handler) []*routes.Way {
	if ways := w.ways[h]; len(ways) > 0 {
		return ways
	}
	return w.deepest[h].ways
}
