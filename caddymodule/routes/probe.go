package routes

import (
	"maps"
	"net/url"

	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
)

// certainty is what a configuration says about a request: that something happens, does not happen,
// or depends on more.
type certainty int8

const (
	no certainty = iota
	maybe
	yes
)

func certain(b bool) certainty {
	if b {
		return yes
	}
	return no
}

// probe is a request for an endpoint that goes through routes without being served, to find out at
// load what keeps it from a handler. Where the configuration alone does not decide, the request is
// assumed to continue.
type probe struct {
	request Request
	server  *Server
	hosts   hostpattern.Set      // hosts of the handler; the request is for any of them
	lost    bool                 // the path is unknown
	groups  map[string]certainty // whether a route of the group matched
	// rewritten is the directive that replaced the path, "" if none did.
	rewritten rewriter

	depth   int             // number of invoked routes that the request is in
	invoked *int            // number of routes invoked so far
	passed  map[Invoke]bool // named routes that let the request, as it is now, continue unchanged
}

// rewriter is a directive that changes the path of every request for an endpoint.
type rewriter string

const (
	tryFiles     rewriter = "try_files"
	rewriteFiles rewriter = "rewrite of what is not a file"
	rewriteAll   rewriter = "rewrite"
)

// ending is the reason why a request does not continue.
type ending struct {
	by  string // the directive
	off bool   // see Answer
}

// Limits for named routes that invoke each other.
const (
	deepestInvoke = 8
	mostInvoked   = 1000
)

// newProbe returns a request as it reaches a server. Without a path it is for any path.
func newProbe(w *Way, method, path string) *probe {
	return &probe{
		request: Request{Method: method, URL: url.URL{Path: path}}, lost: path == "", hosts: w.Hosts, server: w.Server,
		groups: make(map[string]certainty), invoked: new(int), passed: make(map[Invoke]bool),
	}
}

// list sends the request through a list, and returns why it ends there, nil if it continues.
func (p *probe) list(l *List) *ending {
	for i := range l.Len() {
		if end := p.route(l.At(i)); end != nil {
			return end
		}
	}
	return nil
}

func (p *probe) route(route *Route) *ending {
	if !route.isActive(p.server) {
		return nil
	}
	taken := p.groups[route.Group]
	m := p.match(route, route.Matchers.hasFile() && route.usesFile())
	switch {
	case m.fails:
		return &ending{by: string(tryFiles)}
	case m.certainty == yes:
		return p.handle(route, len(route.Handlers()), m.notFile, route.Terminal)
	case m.certainty == maybe && p.mayEnd(route, m.notFile):
		p.setGroup(route.Group, taken) // a request that matched has ended
	}
	return nil
}

// mayEnd sends the request through the handlers of a route that may not match, and reports whether
// it would end there. If it would not, the changes by the handlers are unknown afterwards.
func (p *probe) mayEnd(route *Route, notFile bool) bool {
	before := *p
	p.groups, p.passed = maps.Clone(p.groups), make(map[Invoke]bool)
	end := p.handle(route, len(route.Handlers()), notFile, false)
	inside := *p
	*p = before
	p.setFile(inside.request.File)
	if end != nil {
		return true
	}
	if !p.lost && (inside.lost || inside.request.URL.Path != p.request.URL.Path || inside.request.Method != p.request.Method) {
		p.lost = true
		clear(p.passed)
	}
	for group, taken := range inside.groups {
		p.setGroup(group, max(p.groups[group], min(taken, maybe)))
	}
	return false
}

// handle sends the request through the handlers of a route before a position. NotFile says that the
// route matches requests for which there is no file.
func (p *probe) handle(route *Route, position int, notFile, terminal bool) *ending {
	for _, i := range route.activeBefore(p.server, position) {
		if end := p.handler(&route.Handlers()[i], notFile); end != nil {
			return end
		}
	}
	if terminal {
		return &ending{by: "a terminal route"}
	}
	return nil
}

// handler sends the request through a handler. Another rollcall lets it continue: Owners compares
// the two.
func (p *probe) handler(h *Handler, notFile bool) *ending {
	switch does := h.Does.(type) {
	case *List:
		return p.list(does)
	case Invoke:
		return p.invoke(does)
	case *Rewrite:
		p.rewrite(does, notFile)
	case Answer:
		return &ending{by: does.By, off: does.Off}
	}
	return nil
}

// invoke sends the request through a named route, unless it has passed that route unchanged.
func (p *probe) invoke(name Invoke) *ending {
	route := p.server.named(name)
	if route == nil || p.passed[name] || p.depth == deepestInvoke || *p.invoked == mostInvoked {
		return nil
	}
	*p.invoked++
	p.depth++
	defer func() { p.depth-- }()
	p.passed[name] = true // until the request changes
	return p.route(route)
}

func (p *probe) setGroup(group string, taken certainty) {
	if group != "" && p.groups[group] != taken {
		p.groups[group] = taken
		clear(p.passed)
	}
}

func (p *probe) setFile(file string) {
	if p.request.File != file {
		p.request.File = file
		clear(p.passed)
	}
}

// rewrite changes the request as the handler does.
func (p *probe) rewrite(r *Rewrite, notFile bool) {
	clear(p.passed)
	if r.Apply == nil {
		p.lost = true
		return
	}
	before := p.request.URL.Path
	p.request = r.Apply(p.request)
	switch {
	case p.request.URL.Path == before:
		return
	case p.request.File != "" && r.ToFile:
		p.rewritten = tryFiles
	case !r.Fixed:
		return
	case notFile:
		p.rewritten = rewriteFiles
	default:
		p.rewritten = rewriteAll
	}
	p.lost = false
}
