package caddymodule

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
)

// decodeMatchers decodes sets of matchers.
func (m *routeModel) decodeMatchers(raw caddyhttp.RawMatcherSets) []caddyhttp.MatcherSet {
	sets := make([]caddyhttp.MatcherSet, 0, len(raw))
	for _, modules := range raw {
		set := make(caddyhttp.MatcherSet, 0, len(modules))
		for name, config := range modules {
			set = append(set, m.decode("http.matchers."+name, config))
		}
		sets = append(sets, set)
	}
	return sets
}

// decode decodes a module, without side effects: it provisions only the modules that need it to be
// asked. It returns nil for a module that the model does not know.
func (m *routeModel) decode(id string, config json.RawMessage) any {
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
		return nil
	}
	if json.Unmarshal(config, module) != nil {
		return nil
	}
	var err error
	switch module := module.(type) {
	case *caddyhttp.MatchPath:
		err = module.Provision(m.ctx)
	case *caddyhttp.MatchMethod:
		err = module.Provision(m.ctx)
	case *caddyhttp.MatchPathRE:
		err = module.Provision(m.ctx)
	case *rewrite.Rewrite:
		err = module.Provision(m.ctx)
	}
	if err != nil {
		return nil
	}
	return module
}
