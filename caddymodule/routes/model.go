package routes

import (
	"net/url"
	"strings"
)

// Server is an HTTP server of the configuration.
type Server struct {
	Listen []string
	HasTLS bool
	// Named returns a named route of the server, nil if there is none.
	Named func(name string) *Route
}

// Route has handlers for the requests that its matchers let through. Routes of the same group
// exclude each other: a request goes through the first that matches.
type Route struct {
	Group    string // "" for none
	Terminal bool   // later routes get no request that matches
	Matchers Matchers

	load     func() []Handler // nil once the handlers are loaded
	handlers []Handler
	looked   int       // number of handlers that were checked for active
	active   []int     // positions of handlers before looked that can have an effect
	activity certainty // yes if the route can have an effect; no if not computed yet
}

// NewRoute returns a route. Its handlers are loaded when they are first needed.
func NewRoute(group string, terminal bool, matchers []MatcherSet, handlers func() []Handler) *Route {
	return &Route{Group: group, Terminal: terminal, Matchers: Matchers{Sets: matchers}, load: handlers}
}

// Handlers returns the handlers of the route.
func (r *Route) Handlers() []Handler {
	if r.load != nil {
		r.handlers, r.load = r.load(), nil
	}
	return r.handlers
}

// MatcherSet is a set of matchers, all of which must match. A matcher is a Hosts, *Paths,
// PathPattern, Methods, File or *Not. Any other value is a matcher whose answer is unknown.
type MatcherSet []any

// Paths is a matcher of paths.
type Paths struct {
	Patterns []string
	// Match reports whether one of the patterns without a placeholder matches.
	Match func(*url.URL) bool

	fits      Endpoints // endpoints that some and all are for; empty before the first
	some, all bool      // some of the endpoints match, and all of them
}

// PathPattern is a matcher with a regular expression for the path.
type PathPattern func(*url.URL) bool

// Methods is a matcher of methods.
type Methods []string

// File is a matcher for requests for which one of a list of files exists. Its value is the last of
// the list.
type File string

// Not is a matcher that matches if none of its sets does.
type Not struct{ Matchers }

// Handler is a handler in a route.
type Handler struct {
	// Does is a *List that each request goes through, an Invoke, a *Rewrite or an Answer. With any
	// other value, the request continues unchanged; that is also assumed of handlers of other
	// plugins.
	Does      any
	KeepsPath bool    // it does not change the path, except by Inside
	Inside    []*List // all lists of routes in it
}

// Invoke is the name of a named route that each request goes through.
type Invoke string

// Answer describes a handler that ends a request.
type Answer struct {
	By      string // the directive
	Off     bool   // it answers with a redirect, a text or an error, like a site that is switched off
	Refuses bool   // it answers with a text or an error
}

// Rewrite changes the method or the URL of a request.
type Rewrite struct {
	Strip string // prefix that it strips, without a slash at the end; "" for none
	// Apply returns the changed request. It is nil if the change depends on more than the request's
	// method, URL and file.
	Apply    func(Request) Request
	ToFile   bool // the new path is that of the file that a matcher has found
	UsesFile bool // the new path begins with that of the file
	Fixed    bool // the new path does not depend on the old one
}

// Request is a request on its way.
type Request struct {
	Method string
	URL    url.URL
	File   string // found by a matcher; "" for none
}

// mayRewrite reports whether a request can leave the handler with another path.
func (h *Handler) mayRewrite() bool {
	if !h.KeepsPath {
		return true
	}
	for _, list := range h.Inside {
		if list.rewritesBetween(0, list.Len()) {
			return true
		}
	}
	return false
}

// mayRewrite reports whether a request can leave the route with another path.
func (r *Route) mayRewrite() bool {
	handlers := r.Handlers()
	for i := range handlers {
		if handlers[i].mayRewrite() {
			return true
		}
	}
	return false
}

// mayRewriteBefore reports whether a handler before a position can change the path. If the position
// is unknown, any other handler may stand before it.
func (r *Route) mayRewriteBefore(position int) bool {
	if position == 0 {
		return false
	}
	handlers := r.Handlers()
	if position < 0 {
		return len(handlers) > 1
	}
	for i := range handlers[:position] {
		if handlers[i].mayRewrite() {
			return true
		}
	}
	return false
}

// isActive reports whether the route can end a request or change how it continues.
func (r *Route) isActive(s *Server) bool {
	if r.activity == no {
		r.activity = maybe // a named route may invoke itself
		if r.Terminal || r.Group != "" || r.Matchers.hasFile() || len(r.activeBefore(s, len(r.Handlers()))) > 0 {
			r.activity = yes
		}
	}
	return r.activity == yes
}

// activeBefore returns the positions, before a given one, of the handlers that can end a request or
// change how it continues. It looks at each handler once.
func (r *Route) activeBefore(s *Server, position int) []int {
	if position <= 0 {
		return nil
	}
	handlers := r.Handlers()
	for ; r.looked < min(position, len(handlers)); r.looked++ {
		if handlers[r.looked].isActive(s) {
			r.active = append(r.active, r.looked)
		}
	}
	for i, at := range r.active {
		if at >= position {
			return r.active[:i]
		}
	}
	return r.active
}

func (h *Handler) isActive(s *Server) bool {
	switch does := h.Does.(type) {
	case *List:
		for i := range does.Len() {
			if does.At(i).isActive(s) {
				return true
			}
		}
	case Invoke:
		route := s.named(does)
		return route != nil && route.isActive(s)
	case *Rewrite, Answer:
		return true
	}
	return false
}

// named returns the named route, nil if there is none.
func (s *Server) named(name Invoke) *Route {
	if s == nil || s.Named == nil {
		return nil
	}
	return s.Named(string(name))
}

// onlyRefuses reports whether the first handler of the route answers with a text or an error.
func (r *Route) onlyRefuses() bool {
	handlers := r.Handlers()
	if len(handlers) == 0 {
		return false
	}
	answer, ok := handlers[0].Does.(Answer)
	return ok && answer.Refuses
}

// usesFile reports whether a handler of the route rewrites to the file that a matcher has found.
func (r *Route) usesFile() bool {
	for _, h := range r.Handlers() {
		if rewrite, ok := h.Does.(*Rewrite); ok && rewrite.UsesFile {
			return true
		}
	}
	return false
}

func hasPlaceholder(text string) bool { return strings.Contains(text, "{") }
