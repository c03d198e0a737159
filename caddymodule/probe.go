package caddymodule

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"

	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
)

// probe is a request for an endpoint that goes through routes without being served, to find out at load what would keep
// it from a handler. Where the configuration alone does not say what happens, it is taken to go on.
type probe struct {
	r      *http.Request
	repl   *caddy.Replacer
	ctx    caddy.Context
	hosts  hostpattern.Set // of the handler: the request is for any of them
	server *caddyhttp.Server
	lost   bool                 // the path is not known
	groups map[string]certainty // whether a route of the group matched
	// rewritten names what gave the request a path of its own, "" if nothing did.
	rewritten rewriter
	depth     int  // of invoked routes
	invoked   *int // how many there were
}

// rewriter is a directive that changes the path of every request for an endpoint.
type rewriter string

const (
	tryFiles     rewriter = "try_files"
	rewriteFiles rewriter = "rewrite of what is not a file"
	rewriteAll   rewriter = "rewrite"
)

// ending is why a request does not go on.
type ending struct {
	by  string // the directive
	off bool   // it answers with a redirection, a text or an error, as a site that is switched off does
}

// Bounds of named routes that invoke each other.
const (
	deepestInvoke = 8
	mostInvoked   = 1000
)

// newProbe returns a request for an endpoint of a handler, which is as it is when it reaches a server.
func newProbe(ctx caddy.Context, method, path string) *probe {
	r := &http.Request{
		Method: method, URL: &url.URL{Path: path}, RequestURI: path, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header), Body: http.NoBody,
	}
	p := &probe{repl: caddy.NewReplacer(), ctx: ctx, groups: make(map[string]certainty), invoked: new(int)}
	p.r = caddyhttp.PrepareRequest(r.WithContext(context.Background()), p.repl, nil, nil)
	return p
}

// routes sends the request through a list, and returns why it ends there, nil if it goes on.
func (p *probe) routes(list caddyhttp.RouteList) *ending {
	for i := range list {
		if end := p.route(&list[i]); end != nil {
			return end
		}
	}
	return nil
}

func (p *probe) route(route *caddyhttp.Route) *ending {
	taken := p.groups[route.Group]
	handlers := handlersOf(p.ctx, route)
	m := p.match(route, handlers)
	switch {
	case m.fails:
		return &ending{by: string(tryFiles)}
	case m.certainty == yes:
		return p.handle(handlers, m.notFile, route.Terminal)
	case m.certainty == maybe && p.mayEnd(handlers, m.notFile):
		p.groups[route.Group] = taken // a request that matched is no longer under way
	}
	return nil
}

// mayEnd sends the request through handlers that may not be for it, and reports whether it would end there. If it would
// not, what they have changed is not known afterwards.
func (p *probe) mayEnd(handlers []any, notFile bool) bool {
	before := *p
	p.groups = maps.Clone(p.groups)
	path, method := p.r.URL.Path, p.r.Method
	end := p.handle(handlers, notFile, false)
	if end == nil {
		before.lost = p.lost || p.r.URL.Path != path || p.r.Method != method
		for group, taken := range p.groups {
			before.groups[group] = max(before.groups[group], min(taken, maybe))
		}
	}
	p.r.URL.Path, p.r.Method = path, method
	*p = before
	return end != nil
}

// handle sends the request through the handlers of a route that matches. NotFile says that the route matches what is not
// a file.
func (p *probe) handle(handlers []any, notFile, terminal bool) *ending {
	for _, h := range handlers {
		if end := p.handler(h, notFile); end != nil {
			return end
		}
	}
	if terminal {
		return &ending{by: "a terminal route"}
	}
	return nil
}

// handler sends the request through a handler. Handlers of other plugins let it go on, and so does another rollcall: which
// of two is dead is found where their sites are compared.
func (p *probe) handler(handler any, notFile bool) *ending {
	switch h := handler.(type) {
	case *caddyhttp.Subroute:
		return p.routes(h.Routes)
	case *caddyhttp.Invoke:
		return p.invoke(h.Name)
	case *rewrite.Rewrite:
		p.rewrite(h, notFile)
	case *reverseproxy.Handler:
		if len(h.HandleResponse) == 0 {
			return &ending{by: "reverse_proxy"}
		}
	case *fileserver.FileServer:
		if !h.PassThru {
			return &ending{by: "file_server"}
		}
	case *caddyhttp.StaticResponse:
		by := "respond"
		switch {
		case h.Abort:
			by = "abort"
		case h.Headers.Get("Location") != "":
			by = "redir"
		}
		return &ending{by: by, off: true}
	case *caddyhttp.StaticError:
		return &ending{by: "error", off: true}
	}
	return nil
}

func (p *probe) invoke(name string) *ending {
	if p.server == nil || p.depth == deepestInvoke || *p.invoked == mostInvoked {
		return nil
	}
	*p.invoked++
	route := p.server.NamedRoutes[name]
	if route == nil {
		return nil
	}
	p.depth++
	defer func() { p.depth-- }()
	return p.route(route)
}

// matchedFile is the placeholder of the file that a matcher has found.
const matchedFile = "http.matchers.file.relative"

// Placeholders in a rewrite whose values the probe knows, and those of other things.
var (
	knownInRewrite = strings.NewReplacer("{"+matchedFile+"}", "", "{http.request.uri.path}", "", "{http.request.uri}", "",
		"{http.request.uri.query}", "", "{http.request.uri.prefixed_query}", "")
	otherPlaceholder = regexp.MustCompile(`\{[a-z_]+\.`)
)

// rewrite changes the path as the handler does.
func (p *probe) rewrite(h *rewrite.Rewrite, notFile bool) {
	config, err := json.Marshal(h)
	if err != nil || otherPlaceholder.MatchString(knownInRewrite.Replace(string(config))) {
		p.lost = true
		return
	}
	before := p.r.URL.Path
	h.Rewrite(p.r, p.repl)
	target, _, _ := strings.Cut(h.URI, "?")
	_, fromFile := p.repl.GetString(matchedFile)
	switch {
	case p.r.URL.Path == before:
		return
	case fromFile && target == "{"+matchedFile+"}":
		p.rewritten = tryFiles
	case target == "" || strings.Contains(target, "{"): // what is left depends on the path before
		return
	case notFile:
		p.rewritten = rewriteFiles
	default:
		p.rewritten = rewriteAll
	}
	p.lost = false
}
