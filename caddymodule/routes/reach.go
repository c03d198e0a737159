package routes

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"go.uber.org/zap"
)

// reach checks the way of requests for the endpoints to a handler.
type reach struct {
	*Way
	Endpoints
	before  [][]*Route // routes before each step that can have an effect
	blocked bool       // something on the way can have an effect
	strip   string     // prefix that the handlers on the way strip from the path
	// guards are the paths of routes after the handler that look like guards.
	guards []string
}

// obstacle is something that keeps a request from the handler.
type obstacle struct {
	by     string   // directive
	off    bool     // see Answer
	always bool     // for whatever request
	rewr   rewriter // "" if the request keeps its path
}

// CheckReach looks for what stands before a handler on a way to it. It returns an error if no
// native request reaches the handler: a client would take the answer of a page or a proxy for
// success. It warns of what may be on purpose. Guarded says that api_from restricts who may use the
// endpoints.
//
// See [Rollcall.ReachApps] for requests of the Pusher protocol.
func (h *Rollcall) CheckReach(w *Way, guarded bool, logger *zap.Logger) error {
	if !w.isKnown() {
		return nil
	}
	r := newReach(w, h.Endpoints)
	if r.blocked || !guarded && r.hasGuards() {
		if err := r.sendAll(guarded, logger); err != nil {
			return err
		}
	}
	if !guarded && r.hasApps() && r.hasGuards() {
		r.sendKind(apiKind, guarded)
	}
	if part := r.twice(); part != "" {
		r.site(logger).Warn("the path has the prefix twice, because it is stripped before rollcall: write handle instead of handle_path",
			zap.String("path", r.strip+part))
	}
	if len(r.guards) > 0 {
		r.site(logger).Warn("a respond after rollcall guards nothing, because rollcall has answered before: restrict who may ask with api_from",
			zap.Strings("paths", r.guards))
	}
	return nil
}

// isKnown reports whether the routes on the way say which requests arrive.
func (w *Way) isKnown() bool {
	return w.Server != nil && !w.Named && !w.Hosts.IsEmpty() && !w.handlesErrors()
}

// twice returns the start of a path that is stripped from it, so that clients have to write it
// twice, "" if none is.
func (r *reach) twice() string {
	parts := []string{r.Prefix}
	if r.hasApps() {
		parts = append(parts, "/app", "/apps")
	}
	for _, part := range parts {
		if strings.HasSuffix(r.strip, part) {
			return part
		}
	}
	return ""
}

// newReach finds the routes before the handler that can have an effect.
func newReach(w *Way, e Endpoints) *reach {
	r := &reach{Way: w, Endpoints: e, before: make([][]*Route, len(w.Steps))}
	for i := range w.Steps {
		s := &w.Steps[i]
		if s.List == nil {
			continue
		}
		for _, j := range s.List.before(s.Index, w.Hosts) {
			if route := s.List.At(j); route.Matchers.mayLetThrough().Overlaps(w.Hosts) && route.isActive(w.Server) {
				r.before[i] = append(r.before[i], route)
				r.blocked = true
			}
		}
		r.blocked = r.blocked || len(s.route().activeBefore(w.Server, s.Position)) > 0 || w.groupTwice(i)
	}
	if r.blocked {
		r.strip = r.stripped()
	}
	return r
}

func (r *reach) site(logger *zap.Logger) *zap.Logger {
	return logger.With(zap.String("site", r.Label(r.Prefix)))
}

// sendAll sends a request for each native endpoint.
func (r *reach) sendAll(guarded bool, logger *zap.Logger) error {
	sent := r.sendKind(nativeKind, guarded)
	if sent.served > 0 && len(sent.lost) == sent.served {
		if o := r.fatal(sent.lost); o != nil {
			return o.err(r.Endpoints)
		}
		warnOfObstacle(r.site(logger), sent.lost[0])
	} else if len(sent.rewritten) > 0 {
		r.site(logger).Warn("rollcall does not get the requests for some endpoints: they are rewritten before",
			zap.Strings("paths", sent.rewritten))
	}
	return nil
}

// sent is what became of requests for endpoints.
type sent struct {
	served    int         // requests that the routes on the way are for
	lost      []*obstacle // what those that did not arrive have met
	rewritten []string    // paths of those whose path was replaced
}

// sendKind sends a request for each endpoint of a kind.
func (r *reach) sendKind(k kind, guarded bool) (s sent) {
	all := r.of(k)
	if r.hasApps() && !r.fits(all) { // other handlers of the site can be for these
		return s
	}
	for _, e := range all {
		o, forUs := r.send(newProbe(r.Way, e.method, r.strip+e.path), e.path, !guarded && k != socketKind)
		if !forUs {
			continue
		}
		s.served++
		if o != nil {
			s.lost = append(s.lost, o)
		}
		if o != nil && o.rewr != "" {
			s.rewritten = append(s.rewritten, e.path)
		}
	}
	return s
}

// fatal returns an obstacle that is an error, nil if a request could still reach the handler with
// another initial path.
func (r *reach) fatal(lost []*obstacle) *obstacle {
	i := slices.IndexFunc(lost, func(o *obstacle) bool { return o.err(r.Endpoints) != nil })
	if i < 0 {
		return nil
	}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		if o, forUs := r.send(newProbe(r.Way, method, ""), "", false); o == nil && forUs {
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

// err returns the error with what to write instead, nil for an obstacle that is only worth a
// warning.
func (o *obstacle) err(e Endpoints) error {
	handle := e.handle()
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

// send sends a request to the handler, where it must arrive with the path of an endpoint; "" stands
// for any path. It returns the obstacle that it meets, nil for none. It reports false if the routes
// on the way are for other paths.
func (r *reach) send(p *probe, endpoint string, lookForGuards bool) (o *obstacle, forUs bool) {
	for i := range r.Steps {
		s := &r.Steps[i]
		route := s.route()
		if route == nil {
			p.lost = true // the routes of the container cannot be read
			continue
		}
		for _, before := range r.before[i] {
			if end := p.route(before); end != nil {
				return newObstacle(p, end, before.Matchers.letThrough().Contains(r.Hosts)), true
			}
		}
		taken := p.groups[route.Group]
		switch m := p.match(route, false); {
		case m.certainty != no:
		case route.Group != "" && taken == yes:
			return &obstacle{by: "another handle", always: r.groupIsTaken(i)}, true
		case p.rewritten != "":
			return rewrittenBy(p.rewritten), true
		default:
			return nil, false
		}
		if lookForGuards {
			r.lookForGuards(s, p)
		}
		if s.Position > 0 {
			if end := p.handle(route, s.Position, false, false); end != nil {
				return newObstacle(p, end, true), true
			}
		}
	}
	switch path := p.request.URL.Path; {
	case p.lost || p.rewritten == "":
		return nil, true
	case endpoint == "" && r.Has(path), endpoint != "" && path == endpoint:
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
	case p.rewritten == tryFiles && end.by == "reverse_proxy" && strings.HasSuffix(p.request.URL.Path, ".php"):
		return &obstacle{by: "php_fastcgi", always: true}
	case p.rewritten != "" && !always:
		return rewrittenBy(p.rewritten)
	}
	return &obstacle{by: end.by, off: end.off, always: always}
}

// groupIsTaken reports whether an earlier route of the same group gets all requests for the hosts.
func (r *reach) groupIsTaken(step int) bool {
	group := r.Steps[step].route().Group
	return slices.ContainsFunc(r.before[step], func(route *Route) bool {
		return route.Group == group && route.Matchers.letThrough().Contains(r.Hosts)
	})
}

// stripped returns the prefix that rewrites on the way, such as that of handle_path, strip from the
// path.
func (r *reach) stripped() string {
	var all strings.Builder
	add := func(route *Route, position int) {
		for _, i := range route.activeBefore(r.Server, position) {
			if rewrite, ok := route.Handlers()[i].Does.(*Rewrite); ok {
				all.WriteString(rewrite.Strip)
			}
		}
	}
	for i := range r.Steps {
		if r.Steps[i].List == nil {
			continue
		}
		for _, before := range r.before[i] {
			if len(before.Matchers.Sets) == 0 {
				add(before, len(before.Handlers()))
			}
		}
		add(r.Steps[i].route(), r.Steps[i].Position)
	}
	return all.String()
}

// guardsAfter yields the nearest routes after a step that have a matcher of paths and refuse
// requests.
func (s *Step) guardsAfter(yield func(*Route) bool) {
	own := s.route().Group
	for i := s.Index + 1; i < min(s.List.Len(), s.Index+1+longestList); i++ {
		route := s.List.At(i)
		if own != "" && own == route.Group || !route.Matchers.hasPaths() || !route.onlyRefuses() {
			continue
		}
		if !yield(route) {
			return
		}
	}
}

// hasGuards reports whether a route after the handler could look like a guard.
func (r *reach) hasGuards() bool {
	for i := range r.Steps {
		if r.Steps[i].List == nil {
			continue
		}
		for range r.Steps[i].guardsAfter {
			return true
		}
	}
	return false
}

// lookForGuards records the paths of a respond, error or abort after the handler, where it has no
// effect.
func (r *reach) lookForGuards(s *Step, p *probe) {
	for route := range s.guardsAfter {
		for _, set := range route.Matchers.Sets {
			for _, path := range pathsOf(set, p) {
				if !slices.Contains(r.guards, path) {
					r.guards = append(r.guards, path)
				}
			}
		}
	}
}

// pathsOf returns the patterns of the path matcher in a set, if the set may match the request.
func pathsOf(set MatcherSet, p *probe) []string {
	i := slices.IndexFunc(set, func(m any) bool { _, ok := m.(*Paths); return ok })
	if p.lost || i < 0 || slices.ContainsFunc(set, func(m any) bool { return p.matcher(m, false).certainty == no }) {
		return nil
	}
	return set[i].(*Paths).Patterns
}
