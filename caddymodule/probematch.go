package caddymodule

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"

	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
)

// certainty is what a configuration says about a request: that something happens, that it does not, or that it depends.
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

// match is what the matchers of a route say about a request.
type match struct {
	certainty
	fails   bool // a file matcher ends the request with an error
	notFile bool // it matches because there is no such file
}

// match asks the matchers and the group of a route.
func (p *probe) match(route *caddyhttp.Route, handlers []any) match {
	m := p.matchSets(matchersOf(p.ctx, route), usesMatchedFile(handlers))
	if route.Group == "" {
		return m
	}
	taken := p.groups[route.Group]
	p.groups[route.Group] = max(taken, m.certainty)
	m.certainty = min(m.certainty, yes-taken)
	m.fails = m.fails && taken == no
	return m
}

// matchSets asks sets of matchers, one of which must match.
func (p *probe) matchSets(sets []caddyhttp.MatcherSet, usesFile bool) match {
	if len(sets) == 0 {
		return match{certainty: yes}
	}
	var any match
	var forHosts []hostpattern.Set
	for _, set := range sets {
		if hosts, all := matcherHosts(set); all {
			forHosts = append(forHosts, hosts)
		}
		m := match{certainty: yes}
		for _, matcher := range set {
			one := p.matcher(matcher, usesFile)
			m.certainty = min(m.certainty, one.certainty)
			m.fails = m.fails || one.fails
			m.notFile = m.notFile || one.notFile
		}
		m.fails = m.fails && m.certainty == yes
		if m.certainty > any.certainty {
			any = m
		}
	}
	if hostpattern.Union(forHosts...).Contains(p.hosts) {
		any.certainty = yes
	}
	return any
}

// matcher asks one matcher. The answer of those that look at more than method, path, host and files is not known.
func (p *probe) matcher(matcher any, usesFile bool) match {
	if set, ok := hostMatcher(matcher); ok {
		return match{certainty: p.matchHosts(set)}
	}
	if v := reflect.ValueOf(matcher); v.Kind() == reflect.Pointer && !v.IsNil() {
		matcher = v.Elem().Interface()
	}
	switch m := matcher.(type) {
	case caddyhttp.MatchPath:
		return match{certainty: p.matchPath(m)}
	case caddyhttp.MatchPathRE:
		if p.lost {
			return match{certainty: maybe}
		}
		ok, err := m.MatchWithError(p.r)
		return match{certainty: certain(ok && err == nil)}
	case caddyhttp.MatchMethod:
		return match{certainty: certain(slices.Contains(m, p.r.Method))}
	case fileserver.MatchFile:
		return p.matchFile(m, usesFile)
	case caddyhttp.MatchNot:
		return p.matchNot(m)
	}
	return match{certainty: maybe}
}

// matchHosts compares with the hosts of the handler.
func (p *probe) matchHosts(set hostpattern.Set) certainty {
	if set.Contains(p.hosts) {
		return yes
	}
	if !set.Overlaps(p.hosts) {
		return no
	}
	return maybe
}

func (p *probe) matchPath(patterns caddyhttp.MatchPath) certainty {
	if slices.Contains(patterns, "*") {
		return yes
	}
	if p.lost {
		return maybe
	}
	plain := slices.DeleteFunc(slices.Clone(patterns), func(s string) bool { return strings.Contains(s, "{") })
	if ok, err := plain.MatchWithError(p.r); ok && err == nil {
		return yes
	}
	if len(plain) < len(patterns) {
		return maybe
	}
	return no
}

// matchFile answers for a request whose path is that of no file. The last file of a list that has no placeholder is then
// found, or the status is sent that stands in its place. Of a file that the route does not go on to use, as that of a
// switch, it is not known whether it is there.
func (p *probe) matchFile(m fileserver.MatchFile, usesFile bool) match {
	last := ""
	if len(m.TryFiles) > 0 {
		last = m.TryFiles[len(m.TryFiles)-1]
	}
	switch {
	case p.rewritten != "":
		return match{certainty: maybe} // the path that the request has been given may be one of a file
	case last == "" || strings.Contains(last, "{"):
		return match{certainty: no}
	case strings.HasPrefix(last, "="):
		return match{certainty: yes, fails: true}
	case !usesFile:
		return match{certainty: maybe}
	}
	p.repl.Set(matchedFile, "/"+strings.TrimPrefix(last, "/"))
	return match{certainty: yes}
}

func (p *probe) matchNot(m caddyhttp.MatchNot) match {
	sets := m.MatcherSets
	if len(sets) == 0 {
		sets = decodeMatchers(p.ctx, m.MatcherSetsRaw)
	}
	if len(sets) == 0 {
		return match{certainty: yes}
	}
	inner := p.matchSets(sets, false)
	not := match{certainty: yes - inner.certainty}
	if inner.fails {
		not.certainty = maybe // seldom written
	}
	not.notFile = not.certainty == yes && slices.ContainsFunc(sets, func(set caddyhttp.MatcherSet) bool {
		return slices.ContainsFunc(set, func(matcher any) bool {
			switch matcher.(type) {
			case *fileserver.MatchFile, fileserver.MatchFile:
				return true
			}
			return false
		})
	})
	return not
}

// usesMatchedFile reports whether one of the handlers rewrites to the file that a matcher has found.
func usesMatchedFile(handlers []any) bool {
	return slices.ContainsFunc(handlers, func(h any) bool {
		r, ok := h.(*rewrite.Rewrite)
		return ok && strings.HasPrefix(r.URI, "{"+matchedFile+"}")
	})
}

// matchersOf returns the matchers of a route, loaded or not.
func matchersOf(ctx caddy.Context, route *caddyhttp.Route) []caddyhttp.MatcherSet {
	if len(route.MatcherSets) > 0 {
		return route.MatcherSets
	}
	return decodeMatchers(ctx, route.MatcherSetsRaw)
}

// decodeMatchers makes matchers of their JSON, and of each that a probe does not know a string.
func decodeMatchers(ctx caddy.Context, raw caddyhttp.RawMatcherSets) []caddyhttp.MatcherSet {
	sets := make([]caddyhttp.MatcherSet, 0, len(raw))
	for _, modules := range raw {
		set := make(caddyhttp.MatcherSet, 0, len(modules))
		for name, config := range modules {
			set = append(set, decodeModule(ctx, "http.matchers."+name, config))
		}
		sets = append(sets, set)
	}
	return sets
}

// handlersOf returns the handlers of a route, loaded or not.
func handlersOf(ctx caddy.Context, route *caddyhttp.Route) []any {
	if len(route.Handlers) == 0 {
		return decodeHandlers(ctx, route.HandlersRaw)
	}
	handlers := make([]any, len(route.Handlers))
	for i, h := range route.Handlers {
		handlers[i] = h
	}
	return handlers
}

func decodeHandlers(ctx caddy.Context, raw []json.RawMessage) []any {
	handlers := make([]any, len(raw))
	for i, config := range raw {
		var module struct {
			Handler string `json:"handler"`
		}
		_ = json.Unmarshal(config, &module) // Caddy reports what is wrong with it
		handlers[i] = decodeModule(ctx, "http.handlers."+module.Handler, config)
	}
	return handlers
}

// decodeModule makes a module of its JSON, without side effects: only those are provisioned that need it to be asked. It
// returns the ID for any that a probe does not know.
func decodeModule(ctx caddy.Context, id string, config json.RawMessage) any {
	var module any
	switch id {
	case "http.matchers.host":
		module = new(caddyhttp.MatchHost)
	case "http.matchers.path":
		module = new(caddyhttp.MatchPath)
	case "http.matchers.path_regexp":
		module = new(caddyhttp.MatchPathRE)
	case "http.matchers.method":
		module = new(caddyhttp.MatchMethod)
	case "http.matchers.not":
		module = new(caddyhttp.MatchNot)
	case "http.matchers.file":
		module = new(fileserver.MatchFile)
	case "http.handlers.subroute":
		module = new(caddyhttp.Subroute)
	case "http.handlers.invoke":
		module = new(caddyhttp.Invoke)
	case "http.handlers.rewrite":
		module = new(rewrite.Rewrite)
	case "http.handlers.reverse_proxy":
		module = new(reverseproxy.Handler)
	case "http.handlers.file_server":
		module = new(fileserver.FileServer)
	case "http.handlers.static_response":
		module = new(caddyhttp.StaticResponse)
	case "http.handlers.error":
		module = new(caddyhttp.StaticError)
	default:
		return id
	}
	if json.Unmarshal(config, module) != nil {
		return id
	}
	var err error
	switch m := module.(type) {
	case *caddyhttp.MatchPath:
		err = m.Provision(ctx)
	case *caddyhttp.MatchMethod:
		err = m.Provision(ctx)
	case *caddyhttp.MatchPathRE:
		err = m.Provision(ctx)
	case *rewrite.Rewrite:
		err = m.Provision(ctx)
	}
	if err != nil {
		return id
	}
	return module
}
