package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
)

// errLate is returned for a handler that another plugin loads after the start: its hosts have owners by then.
var errLate = errors.New("rollcall is loaded after the start of its configuration: write it in the routes of the configuration")

// enterNamed makes the handlers in named routes doors to the hosts of the routes that invoke them, which are known when
// all routes are. A handler that nobody invokes serves nothing.
func (a *App) enterNamed() error {
	a.mu.Lock()
	waiting := make(map[*Handler]bool)
	for _, h := range a.handlers {
		if h.way.named {
			waiting[h] = true
		}
	}
	a.mu.Unlock()
	if len(waiting) == 0 {
		return nil
	}
	app, err := a.ctx.App("http")
	if err != nil {
		return fmt.Errorf("finding the routes that rollcall is in: %w", err)
	}
	servers := app.(*caddyhttp.App).Servers
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		w := namedWalker{
			server: servers[name], waiting: waiting, ways: make(map[*Handler][]way),
			deepest: make(map[*Handler]hiddenAt), invoking: make(map[string]bool),
		}
		w.container(w.server, nil)
		if w.nested > maxNested {
			return fmt.Errorf("rollcall in named routes (listener %s): named routes invoke each other in more than %d ways: "+
				"write rollcall in a route that is not invoked", strings.Join(w.server.Listen, ", "), maxNested)
		}
		for _, h := range a.handlers {
			if err := a.enterWays(h, w.found(h)); err != nil {
				return err
			}
		}
	}
	return nil
}

// enterWays makes a handler in a named route a door to the hosts of its ways. It is an error if requests for the hosts of a
// way get to the handler neither by that way nor by another one.
func (a *App) enterWays(h *Handler, ways []way) error {
	var open []hostpattern.Set
	var blocked []way
	var why []error // of blocked
	for _, way := range ways {
		if _, err := a.enter(h, way); err != nil {
			return err
		}
		if err := h.checkReach(a.ctx, &way, h.made.Logger); err != nil {
			blocked, why = append(blocked, way), append(why, err)
			continue
		}
		open = append(open, way.hosts())
	}
	for i := range blocked {
		hosts := blocked[i].hosts()
		if !slices.ContainsFunc(open, func(o hostpattern.Set) bool { return o.Contains(hosts) }) {
			return fmt.Errorf("%s: %w", blocked[i].label(h.Prefix), why[i])
		}
	}
	return nil
}

// namedWalker goes through the complete routes of one server, for the ways to handlers in named routes.
type namedWalker struct {
	server   *caddyhttp.Server
	waiting  map[*Handler]bool
	ways     map[*Handler][]way
	deepest  map[*Handler]hiddenAt
	invoking map[string]bool // named routes under way: they may invoke each other
	nested   int             // times that a named route was entered from another one, since the last from a route
}

// maxNested bounds the ways through named routes that invoke each other: two invocations a level double them.
const maxNested = 20_000

// hiddenAt are the ways to the innermost container around a handler that can be seen.
type hiddenAt struct {
	depth int // in the modules around the handler
	ways  []way
}

// container goes through the routes of the server or a handler.
func (w *namedWalker) container(container any, steps []step) {
	for _, list := range routeLists(container) {
		w.list(step{container: container, list: list.routes, onError: list.onError}, steps)
	}
}

func (w *namedWalker) list(s step, steps []step) {
	for s.index = range s.list {
		for position, handler := range s.route().Handlers {
			s.position = position
			w.handler(handler, append(slices.Clip(steps), s))
		}
	}
}

func (w *namedWalker) handler(handler caddyhttp.MiddlewareHandler, steps []step) {
	switch h := handler.(type) {
	case *Handler:
		if w.waiting[h] {
			w.ways[h] = append(w.ways[h], way{server: w.server, steps: steps})
		}
	case *caddyhttp.Invoke:
		if route := w.server.NamedRoutes[h.Name]; route != nil && !w.invoking[h.Name] && w.nested <= maxNested {
			if len(w.invoking) == 0 {
				w.nested = 0
			} else {
				w.nested++
			}
			w.invoking[h.Name] = true
			w.list(step{container: h, list: caddyhttp.RouteList{*route}}, steps)
			delete(w.invoking, h.Name)
		}
	default:
		w.container(handler, steps)
		w.hidden(handler, steps)
	}
}

// hidden records how to get to a container of another plugin that has a handler, in case it keeps its routes to itself.
func (w *namedWalker) hidden(container any, steps []step) {
	for h := range w.waiting {
		depth := slices.Index(h.way.inside, container)
		if depth < 0 || depth < w.deepest[h].depth {
			continue
		}
		at := w.deepest[h]
		if depth > at.depth {
			at = hiddenAt{depth: depth}
		}
		at.ways = append(at.ways, way{server: w.server, steps: append(slices.Clip(steps), step{container: container, position: -1})})
		w.deepest[h] = at
	}
}

// found returns the ways to a handler.
func (w *namedWalker) found(h *Handler) []way {
	if ways := w.ways[h]; len(ways) > 0 {
		return ways
	}
	return w.deepest[h].ways
}
