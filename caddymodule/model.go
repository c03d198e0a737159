package caddymodule

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"

	"github.com/rollcall-gateway/rollcall/caddymodule/routes"
	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
)

// routeModel makes the model of the routes of a configuration, each part once. While the
// configuration is loaded, some matchers and handlers are still JSON.
type routeModel struct {
	ctx     caddy.Context
	servers map[*caddyhttp.Server]*routes.Server
	lists   map[*caddyhttp.Route]*routes.List // lists by their first route
	asked   matcherRequest                    // asked about paths
}

func newRouteModel(ctx caddy.Context) *routeModel {
	return &routeModel{
		ctx: ctx, servers: make(map[*caddyhttp.Server]*routes.Server), lists: make(map[*caddyhttp.Route]*routes.List),
		asked: newMatcherRequest(),
	}
}

func (m *routeModel) server(s *caddyhttp.Server) *routes.Server {
	server := m.servers[s]
	if server == nil {
		server = &routes.Server{Listen: s.Listen, HasTLS: len(s.TLSConnPolicies) > 0} // automatic HTTPS has set policies already
		server.Named = func(name string) *routes.Route {
			if route := s.NamedRoutes[name]; route != nil {
				return m.named(route).At(0)
			}
			return nil
		}
		m.servers[s] = server
	}
	return server
}

// list returns the model of a list of routes.
func (m *routeModel) list(list caddyhttp.RouteList, onError bool) *routes.List {
	if len(list) == 0 {
		return routes.NewList(0, onError, nil)
	}
	return m.loaded(&list[0], len(list), onError, func(i int) *caddyhttp.Route { return &list[i] })
}

// named returns the model of a named route, as a list of one.
func (m *routeModel) named(route *caddyhttp.Route) *routes.List {
	return m.loaded(route, 1, false, func(int) *caddyhttp.Route { return route })
}

func (m *routeModel) loaded(first *caddyhttp.Route, length int, onError bool, at func(int) *caddyhttp.Route) *routes.List {
	l := m.lists[first]
	if l == nil {
		l = routes.NewList(length, onError, func(i int) *routes.Route { return m.route(at(i)) })
		m.lists[first] = l
	}
	return l
}

func (m *routeModel) route(r *caddyhttp.Route) *routes.Route {
	sets := r.MatcherSets
	if len(sets) == 0 {
		sets = m.decodeMatchers(r.MatcherSetsRaw)
	}
	return routes.NewRoute(r.Group, r.Terminal, m.matcherSets(sets), func() []routes.Handler { return m.handlers(r) })
}

func (m *routeModel) matcherSets(sets []caddyhttp.MatcherSet) []routes.MatcherSet {
	all := make([]routes.MatcherSet, len(sets))
	for i, set := range sets {
		for _, matcher := range set {
			all[i] = append(all[i], m.matcher(matcher))
		}
	}
	return all
}

// matcher returns the model of a matcher, nil for a matcher that the model does not know.
func (m *routeModel) matcher(matcher any) any {
	if v := reflect.ValueOf(matcher); v.Kind() == reflect.Pointer && !v.IsNil() {
		matcher = v.Elem().Interface()
	}
	switch matcher := matcher.(type) {
	case caddyhttp.MatchHost:
		return routes.Hosts{Set: readHosts(matcher)}
	case caddyhttp.MatchPath:
		plain := slices.DeleteFunc(slices.Clone(matcher), func(s string) bool { return strings.Contains(s, "{") })
		return &routes.Paths{Patterns: matcher, Match: func(u *url.URL) bool { return m.asked.matches(plain, u) }}
	case caddyhttp.MatchPathRE:
		return routes.PathPattern(func(u *url.URL) bool { return newMatcherRequest().matches(matcher, u) })
	case caddyhttp.MatchMethod:
		return routes.Methods(matcher)
	case fileserver.MatchFile:
		if n := len(matcher.TryFiles); n > 0 {
			return routes.File(matcher.TryFiles[n-1])
		}
		return routes.File("")
	case caddyhttp.MatchNot:
		sets := matcher.MatcherSets
		if len(sets) == 0 {
			sets = m.decodeMatchers(matcher.MatcherSetsRaw)
		}
		return &routes.Not{Matchers: routes.Matchers{Sets: m.matcherSets(sets)}}
	}
	return nil
}

// matcherRequest is a request that Caddy's matchers are asked about. A regular expression leaves
// its captures in the replacer, so it needs a new request.
type matcherRequest struct{ *http.Request }

func newMatcherRequest() matcherRequest {
	ctx := context.WithValue(context.Background(), caddy.ReplacerCtxKey, caddy.NewEmptyReplacer())
	return matcherRequest{new(http.Request).WithContext(ctx)}
}

func (a matcherRequest) matches(matcher caddyhttp.RequestMatcherWithError, u *url.URL) bool {
	a.URL = u
	ok, err := matcher.MatchWithError(a.Request)
	return ok && err == nil
}

// readHosts returns the hosts that a host matcher lets through. A placeholder that is replaced at
// the time of a request can become any host.
func readHosts(matcher caddyhttp.MatchHost) hostpattern.Set {
	patterns := make([]string, 0, len(matcher))
	for _, host := range matcher {
		if strings.Contains(host, "{") {
			host = caddy.NewReplacer().ReplaceKnown(host, "")
			if strings.Contains(host, "{") {
				return hostpattern.Every
			}
		}
		if pattern, ok := hostpattern.Parse(host); ok {
			patterns = append(patterns, pattern)
		}
	}
	return hostpattern.SetOf(patterns...)
}

// handlers returns the models of the handlers of a route, loaded or not.
func (m *routeModel) handlers(r *caddyhttp.Route) []routes.Handler {
	if len(r.Handlers) == 0 {
		handlers := make([]routes.Handler, len(r.HandlersRaw))
		for i, config := range r.HandlersRaw {
			var module struct {
				Handler string `json:"handler"`
			}
			_ = json.Unmarshal(config, &module) // Caddy reports the error
			handlers[i] = m.handler(module.Handler, m.decode("http.handlers."+module.Handler, config))
		}
		return handlers
	}
	handlers := make([]routes.Handler, len(r.Handlers))
	for i, h := range r.Handlers {
		name := ""
		if module, ok := h.(caddy.Module); ok {
			name = strings.TrimPrefix(string(module.CaddyModule().ID), "http.handlers.")
		}
		handlers[i] = m.handler(name, h)
	}
	return handlers
}

// keepsPath are the handlers of Caddy that do not change the path of a request. A handler of
// another plugin may do anything.
var keepsPath = []string{
	"abort", "acme_server", "authentication", "encode", "error", "file_server", "headers", "log_append", "map", "metrics",
	"push", "request_body", "reverse_proxy", "rollcall", "static_response", "subroute", "templates", "tracing", "vars",
}

// handler returns the model of a handler.
func (m *routeModel) handler(name string, handler any) routes.Handler {
	model := routes.Handler{KeepsPath: slices.Contains(keepsPath, name)}
	switch h := handler.(type) {
	case *caddyhttp.Subroute:
		list := m.list(h.Routes, false)
		model.Does, model.Inside = list, []*routes.List{list}
		if h.Errors != nil {
			model.Inside = append(model.Inside, m.list(h.Errors.Routes, true))
		}
	case *caddyhttp.Invoke:
		model.Does = routes.Invoke(h.Name)
	case *rewrite.Rewrite:
		model.Does = newRewrite(h)
	case *reverseproxy.Handler:
		if len(h.HandleResponse) == 0 {
			model.Does = routes.Answer{By: "reverse_proxy"}
		}
		for _, response := range h.HandleResponse {
			model.Inside = append(model.Inside, m.list(response.Routes, false))
		}
	case *fileserver.FileServer:
		if !h.PassThru {
			model.Does = routes.Answer{By: "file_server"}
		}
	case *caddyhttp.StaticResponse:
		redirects := h.Headers.Get("Location") != ""
		by := "respond"
		switch {
		case h.Abort:
			by = "abort"
		case redirects:
			by = "redir"
		}
		model.Does = routes.Answer{By: by, Off: true, Refuses: !redirects}
	case *caddyhttp.StaticError:
		model.Does = routes.Answer{By: "error", Off: true, Refuses: true}
	}
	return model
}

// matchedFile is the placeholder of the file that a matcher has found.
const matchedFile = "http.matchers.file.relative"

// Placeholders in a rewrite: those whose values are known, and how all others start.
var (
	knownInRewrite = strings.NewReplacer("{"+matchedFile+"}", "", "{http.request.uri.path}", "", "{http.request.uri}", "",
		"{http.request.uri.query}", "", "{http.request.uri.prefixed_query}", "")
	otherPlaceholder = regexp.MustCompile(`\{[a-z_]+\.`)
)

func newRewrite(h *rewrite.Rewrite) *routes.Rewrite {
	target, _, _ := strings.Cut(h.URI, "?")
	r := &routes.Rewrite{
		ToFile:   target == "{"+matchedFile+"}",
		UsesFile: strings.HasPrefix(h.URI, "{"+matchedFile+"}"),
		Fixed:    target != "" && !strings.Contains(target, "{"),
	}
	if !strings.Contains(h.StripPathPrefix, "{") {
		r.Strip = strings.TrimSuffix(h.StripPathPrefix, "/")
	}
	if config, err := json.Marshal(h); err == nil && !otherPlaceholder.MatchString(knownInRewrite.Replace(string(config))) {
		r.Apply = func(request routes.Request) routes.Request { return applyRewrite(h, request) }
	}
	return r
}

// applyRewrite returns the request as Caddy rewrites it.
func applyRewrite(h *rewrite.Rewrite, request routes.Request) routes.Request {
	repl := caddy.NewReplacer()
	if request.File != "" {
		repl.Set(matchedFile, request.File)
	}
	r := caddyhttp.PrepareRequest((&http.Request{
		Method: request.Method, URL: &request.URL, RequestURI: request.URL.RequestURI(), Header: make(http.Header), Body: http.NoBody,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(context.Background()), repl, nil, nil)
	h.Rewrite(r, repl)
	return routes.Request{Method: r.Method, URL: *r.URL, File: request.File}
}
