package caddymodule

import (
	"context"
	"net/http"

	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// channels answers /message/channels: the names of the active channels of the host, by kind. Private ones are left out,
// and so are hidden ones.
func (s *apiServer) channels(ctx context.Context, q question) (answer, *problem.Problem) {
	scope, p := q.body.scope()
	if p != nil {
		return answer{}, p
	}
	complete, p := q.body.flag("requireComplete", false)
	if p != nil {
		return answer{}, p
	}
	list, truth := s.names(ctx, q, scope)
	if complete && !truth.Complete {
		return answer{}, problem.Incomplete(truth)
	}
	body := appendNames(nil, list)
	if a := newPluginAnswer(ctx, q, plugins.EndpointChannels); a != nil {
		if body, p = a.finish(body); p != nil {
			return answer{}, p
		}
	}
	return answer{body: body, truth: &truth, status: http.StatusCreated}, nil
}

// names asks the pods of the scope which channels there are.
func (s *apiServer) names(ctx context.Context, q question, scope cluster.Scope) ([]presence.Listing, cluster.Truth) {
	others, truth := s.Asked(q.site, scope)
	if others != nil {
		return others.Channels(ctx, q.host, scope)
	}
	if host := s.Registry.Host(q.host); host != nil {
		return host.ActiveChannels(), truth
	}
	return nil, truth
}

// appendNames appends the object with the names of each kind.
func appendNames(b []byte, list []presence.Listing) []byte {
	b = append(b, `{"authenticated":`...)
	b = appendNamesOf(b, presence.Authenticated, list)
	b = append(b, `,"anonymous":`...)
	b = appendNamesOf(b, presence.Anonymous, list)
	return append(b, '}')
}

func appendNamesOf(b []byte, kind presence.Kind, list []presence.Listing) []byte {
	b = append(b, '[')
	first := true
	for i := range list {
		if list[i].Kind != kind {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		b = wire.AppendString(b, list[i].Channel)
		first = false
	}
	return append(b, ']')
}
