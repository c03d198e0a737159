package routes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
)

// Way is the way of requests to a rollcall handler: through the routes of a server, and those of
// each container inside.
type Way struct {
	Server *Server // nil outside of the HTTP app
	Steps  []Step  // from the server inwards; nil once the configuration has started
	Named  bool    // the handler is in a named route, whose callers are known when the app starts
	Hosts  hostpattern.Set
}

// Step is one list of routes on the way to a handler.
type Step struct {
	List     *List // nil in a container of another plugin whose routes cannot be read
	Index    int   // index of the route that the way goes through
	Position int   // position in the route of the handler that the way continues with; -1 if unknown
	Sure     bool  // each request that gets to the container enters the list
}

// NewWay returns a way with the hosts that its host matchers let through. Other matchers, and those
// that cannot be read, are assumed to match.
func NewWay(server *Server, steps []Step) *Way {
	w := &Way{Server: server, Steps: steps, Hosts: hostpattern.Every}
	for i := range steps {
		if route := steps[i].route(); route != nil {
			w.Hosts = w.Hosts.Intersect(route.Matchers.mayLetThrough())
		}
	}
	return w
}

// route returns the route that the way goes through, nil if it cannot be read.
func (s *Step) route() *Route {
	if s.List == nil {
		return nil
	}
	return s.List.At(s.Index)
}

// Listen returns the addresses of the server, nil outside of the HTTP app.
func (w *Way) Listen() []string {
	if w.Server == nil {
		return nil
	}
	return w.Server.Listen
}

// listeners names the addresses of the server, for errors and logs.
func (w *Way) listeners() string {
	if w.Server == nil {
		return "none"
	}
	return strings.Join(w.Server.Listen, ", ")
}

// Label names the site of a handler with the prefix, for errors and logs.
func (w *Way) Label(prefix string) string {
	if w.Named {
		return fmt.Sprintf("rollcall in a named route (listener %s, prefix %s)", w.listeners(), prefix)
	}
	return fmt.Sprintf("rollcall for %s (listener %s, prefix %s)", w.Hosts, w.listeners(), prefix)
}

// handlesErrors reports whether a list on the way handles errors.
func (w *Way) handlesErrors() bool {
	return slices.ContainsFunc(w.Steps, func(s Step) bool { return s.List != nil && s.List.OnError })
}

// groupTwice reports whether a route on the way has the same group as a route around it, which the
// request has gone through.
func (w *Way) groupTwice(step int) bool {
	group := w.Steps[step].route().Group
	return group != "" && slices.ContainsFunc(w.Steps[:step], func(s Step) bool { return s.List != nil && s.route().Group == group })
}

// fork returns the last step that two ways of one server have in common. It reports false if there
// is none, or if it cannot be read.
func (w *Way) fork(other *Way) (int, bool) {
	if w.Server == nil || w.Server != other.Server {
		return 0, false
	}
	for i := range min(len(w.Steps), len(other.Steps)) {
		a, b := &w.Steps[i], &other.Steps[i]
		if a.List == nil || a.List != b.List {
			return 0, false
		}
		if a.Index != b.Index || a.Position != b.Position {
			return i, true
		}
	}
	return 0, false
}

// before reports whether a request that takes both ways of one server reaches w first.
func (w *Way) before(other *Way) bool {
	fork, ok := w.fork(other)
	if !ok {
		return false
	}
	a, b := &w.Steps[fork], &other.Steps[fork]
	return a.Index < b.Index || a.Index == b.Index && a.Position >= 0 && a.Position < b.Position
}

// rewritesBefore reports whether the path can change between the start of the list and the handler
// of the way.
func (s *Step) rewritesBefore() bool {
	return s.List == nil || s.rewritesInRoute() || s.List.rewritesBetween(0, s.Index)
}

// rewritesInRoute reports whether an earlier handler in the route of the way can change the path.
func (s *Step) rewritesInRoute() bool { return s.route().mayRewriteBefore(s.Position) }

// CheckPaths refuses a handler whose path matchers fit none of its endpoints. It looks from the
// handler outwards, until a handler in between can change the path.
func CheckPaths(w *Way, e Endpoints) error {
	for i := len(w.Steps) - 1; i >= 0; i-- {
		s := &w.Steps[i]
		if s.List == nil || s.rewritesInRoute() {
			return nil
		}
		if paths := s.route().Matchers.unfitPaths(e); paths != nil {
			return fmt.Errorf("path %s fits no endpoint, which are %s: write %s, or the option prefix",
				strings.Join(paths, " "), strings.Join(e.Paths(), ", "), strings.Join(e.patterns(), " "))
		}
		if i > 0 && s.List.rewritesBetween(0, s.Index) {
			return nil
		}
	}
	return nil
}

// fits reports whether the path matchers on the way let a request for one of the endpoints through.
// It looks from the handler outwards, as CheckPaths does.
func (w *Way) fits(all []endpoint) bool {
	for i := len(w.Steps) - 1; i >= 0; i-- {
		s := &w.Steps[i]
		if s.List == nil || s.rewritesInRoute() {
			return true
		}
		if !s.route().Matchers.fitAny(all) {
			return false
		}
		if i > 0 && s.List.rewritesBetween(0, s.Index) {
			return true
		}
	}
	return true
}
