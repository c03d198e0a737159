package caddymodule

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
)

// endpoints are the paths below the prefix that ServeHTTP serves, with their methods.
var endpoints = []struct{ name, method string }{
	{"/socket", http.MethodGet},
	{"/users", http.MethodPost},
	{"/allusers", http.MethodPost},
	{"/channels", http.MethodPost},
	{"/sendmessage", http.MethodPost},
	{"/adduser", http.MethodPost},
	{"/removeuser", http.MethodPost},
	{"/client.js", http.MethodGet},
	{"/client.d.ts", http.MethodGet},
}

// isEndpoint reports whether a handler with the prefix serves the path.
func isEndpoint(path, prefix string) bool {
	name, ok := strings.CutPrefix(path, prefix)
	return ok && slices.ContainsFunc(endpoints, func(e struct{ name, method string }) bool { return e.name == name })
}

// reach is what becomes of requests for the endpoints of a handler on their way to it.
type reach struct {
	ctx    caddy.Context
	way    *way
	finder *wayFinder
	hosts  hostpattern.Set
	prefix string
	strip  string // what the handlers on the way take from the beginning of the path
	// guards are paths of routes after the handler that look like guards. They are looked for without api_from alone.
	guards  []string
	apiFrom bool
}

// obstacle keeps a request from the handler.
type obstacle struct {
	by     string   // a directive
	off    bool     // as when a site is switched off
	always bool     // no matter what the request is for
	rewr   rewriter // "" if the request keeps its path
}

// checkReach looks for what stands before the handler on its way. It returns an error if no request gets to it, which
// looks like success to a client when a page or a proxy answers instead, and warns of what may be on purpose.
func (h *Handler) checkReach(ctx caddy.Context, w *way, logger *zap.Logger) error {
	r := reach{ctx: ctx, way: w, finder: &h.app.ways, hosts: w.hosts(), prefix: h.Prefix, apiFrom: h.APIFrom != nil}
	if w.server == nil || w.named || r.hosts.IsEmpty() ||
		slices.ContainsFunc(w.steps, func(s step) bool { return s.onError }) {
		return nil
	}
	r.strip = r.stripped()
	logger = logger.With(zap.String("site", w.label(h.Prefix)))
	served := 0
	var lost []*obstacle
	var rewritten []string
	for _, e := range endpoints {
		o, forUs := r.send(e.method, r.strip+h.Prefix+e.name, h.Prefix+e.name)
		if !forUs {
			continue
		}
		served++
		if o != nil {
			lost = append(lost, o)
		}
		if o != nil && o.rewr != "" {
			rewritten = append(rewritten, h.Prefix+e.name)
		}
	}
	if served > 0 && len(lost) == served {
		if o := r.fatal(lost); o != nil {
			return o.err(h.Prefix)
		}
		warnOfObstacle(logger, lost[0])
	} else if len(rewritten) > 0 {
		logger.Warn("rollcall does not get the requests for some endpoints: they are rewritten before",
			zap.Strings("paths", rewritten))
	}
	if strings.HasSuffix(r.strip, h.Prefix) {
		logger.Warn("the path has the prefix twice, because it is stripped before rollcall: write handle instead of handle_path",
			zap.String("path", r.strip+h.Prefix))
	}
	if len(r.guards) > 0 {
		logger.Warn("a respond after rollcall guards nothing, because rollcall has answered before: restrict who may ask with api_from",
			zap.Strings("paths", r.guards))
	}
	return nil
}

// fatal returns an obstacle that is an error, nil if a request could still get to the handler with another path at first.
func (r *reach) fatal(lost []*obstacle) *obstacle {
	i := slices.IndexFunc(lost, func(o *obstacle) bool { return o.err(r.prefix) != nil })
	if i < 0 {
		return nil
	}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		if o, forUs := r.send(method, "", ""); o == nil && forUs {
			return nil
		}
	}
	return lost[i]
}

func warnOfObstacle(logger *zap.Logger, o *obstacle) {
	if o.off && o.always {
		logger.Warn("rollcall gets no requests: the site answers all of them before", zap.String("by", o.by))
		return
	}
	logger.Warn("rollcall gets no requests for its endpoints: another route answers them before", zap.String("by", o.by))
}

// err returns the error with what to write instead, nil for an obstacle that is only worth a warning.
func (o *obstacle) err(prefix string) error {
	handle := fmt.Sprintf("handle %s/* { rollcall ... }", prefix)
	switch {
	case o.rewr == tryFiles:
		return fmt.Errorf("try_files answers or rewrites every request before rollcall gets it: write %s and handle { try_files ...; file_server }", handle)
	case o.rewr == rewriteFiles:
		return fmt.Errorf("a rewrite of what is not a file changes every request before rollcall gets it: write %s and handle { rewrite ...; file_server }", handle)
	case o.off || !o.always:
		return nil
	}
	return fmt.Errorf("%s answers every request before rollcall gets it: write %s and handle { %s ... }", o.by, handle, o.by)
}

// send sends a request to the handler, which has the path to begin with and the one of an endpoint in the end; "" stands
// for any path. It returns what keeps it from getting there, nil if nothing does, and reports false if the routes on the
// way are for other paths.
func (r *reach) send(method, path, endpoint string) (o *obstacle, forUs bool) {
	p := newProbe(r.ctx, method, path)
	p.lost = path == ""
	p.hosts, p.server = r.hosts, r.way.server
	for i := range r.way.steps {
		s := &r.way.steps[i]
		route := s.route()
		if route == nil {
			p.lost = true // in a container that nobody can read
			continue
		}
		for _, j := range r.finder.before(s.list, s.index, r.hosts) {
			if end := p.route(&s.list[j]); end != nil {
				return newObstacle(p, end, letsThrough(&s.list[j], r.hosts)), true
			}
		}
		taken := p.groups[route.Group]
		switch m := p.match(route, nil); {
		case m.certainty != no:
		case route.Group != "" && taken == yes:
			return &obstacle{by: "another handle", always: r.groupIsTaken(s)}, true
		case p.rewritten != "":
			return rewrittenBy(p.rewritten), true
		default:
			return nil, false
		}
		if !r.apiFrom {
			r.lookForGuards(s, p)
		}
		if end := p.handle(r.inSameRoute(s), false, false); end != nil {
			return newObstacle(p, end, true), true
		}
	}
	switch {
	case p.lost || p.rewritten == "":
		return nil, true
	case endpoint == "" && isEndpoint(p.r.URL.Path, r.prefix), endpoint != "" && p.r.URL.Path == endpoint:
		return nil, true
	}
	return rewrittenBy(p.rewritten), true
}

func rewrittenBy(r rewriter) *obstacle {
	return &obstacle{by: string(r), rewr: r, off: r == rewriteAll, always: true}
}

// newObstacle returns the obstacle that a request has met.
func newObstacle(p *probe, end *ending, always bool) *obstacle {
	switch {
	case end.by == string(tryFiles):
		return rewrittenBy(tryFiles)
	case p.rewritten == tryFiles && end.by == "reverse_proxy" && strings.HasSuffix(p.r.URL.Path, ".php"):
		return &obstacle{by: "php_fastcgi", always: true}
	case p.rewritten != "" && !always:
		return rewrittenBy(p.rewritten)
	}
	return &obstacle{by: end.by, off: end.off, always: always}
}

// inSameRoute returns the handlers before the one that the way goes on with, in its route.
func (r *reach) inSameRoute(s *step) []any {
	switch {
	case s.position < 0:
		return nil
	case s.handlers != nil:
		return decodeHandlers(r.ctx, s.handlers[:s.position])
	}
	return handlersOf(r.ctx, s.route())[:s.position]
}

// groupIsTaken reports whether a route of the same group before gets all requests for the hosts.
func (r *reach) groupIsTaken(s *step) bool {
	return slices.ContainsFunc(s.list[:s.index], func(route caddyhttp.Route) bool {
		return route.Group == s.route().Group && letsThrough(&route, r.hosts)
	})
}

// stripped returns what rewrites on the way, such as that of handle_path, take from the beginning of the path.
func (r *reach) stripped() string {
	var all strings.Builder
	add := func(handlers []any) {
		for _, h := range handlers {
			if rewr, ok := h.(*rewrite.Rewrite); ok && !strings.Contains(rewr.StripPathPrefix, "{") {
				all.WriteString(strings.TrimSuffix(rewr.StripPathPrefix, "/"))
			}
		}
	}
	for i := range r.way.steps {
		s := &r.way.steps[i]
		if s.list == nil {
			continue
		}
		for _, j := range r.finder.before(s.list, s.index, r.hosts) {
			if len(s.list[j].MatcherSets) == 0 {
				add(handlersOf(r.ctx, &s.list[j]))
			}
		}
		add(r.inSameRoute(s))
	}
	return all.String()
}

// longestList is the length up to which all routes of a list are looked at.
const longestList = 64

// lookForGuards records paths of a respond, error or abort that stands after the handler, where it has no effect.
func (r *reach) lookForGuards(s *step, p *probe) {
	after := s.list[s.index+1:]
	for i := range after[:min(len(after), longestList)] {
		route := &after[i]
		if own := s.route().Group; own != "" && own == route.Group {
			continue
		}
		for _, set := range matchersOf(r.ctx, route) {
			paths := r.pathsOf(set, p)
			if len(paths) == 0 || !r.onlyRefuses(route) {
				continue
			}
			for _, path := range paths {
				if !slices.Contains(r.guards, path) {
					r.guards = append(r.guards, path)
				}
			}
		}
	}
}

// pathsOf returns the patterns of the path matcher in a set that may match the request because of its path.
func (r *reach) pathsOf(set caddyhttp.MatcherSet, p *probe) []string {
	i := slices.IndexFunc(set, func(m any) bool { _, ok := pathMatcher(m); return ok })
	if p.lost || i < 0 || slices.ContainsFunc(set, func(m any) bool { return p.matcher(m, false).certainty == no }) {
		return nil
	}
	paths, _ := pathMatcher(set[i])
	return paths
}

// onlyRefuses reports whether the first handler of a route answers with a text or an error.
func (r *reach) onlyRefuses(route *caddyhttp.Route) bool {
	handlers := handlersOf(r.ctx, route)
	if len(handlers) == 0 {
		return false
	}
	switch h := handlers[0].(type) {
	case *caddyhttp.StaticResponse:
		return h.Headers.Get("Location") == ""
	case *caddyhttp.StaticError:
		return true
	}
	return false
}
