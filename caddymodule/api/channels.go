package api

import (
	"context"
	"net/http"

	"github.com/rollcall-gateway/rollcall/caddymodule/answer"
	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// channels answers /message/channels: the names of the active channels of the host, by kind, except
// private and hidden ones.
func (s *Server) channels(ctx context.Context, q request) (response, *problem.Problem) {
	scope, p := q.body.scope()
	if p != nil {
		return response{}, p
	}
	complete, p := q.body.flag("requireComplete", false)
	if p != nil {
		return response{}, p
	}
	list, truth := s.activeChannels(ctx, q, scope)
	if complete && !truth.Complete {
		return response{}, problem.Incomplete(truth)
	}
	body := answer.AppendNames(nil, list)
	if a := answer.NewPlugins(ctx, q.site.Chain, plugins.EndpointChannels, q.host.String(), q.body.withoutKey); a != nil {
		return shaped(a, body, truth, http.StatusCreated)
	}
	return response{body: body, truth: &truth, status: http.StatusCreated}, nil
}

// activeChannels returns the active channels on the pods of the scope.
func (s *Server) activeChannels(ctx context.Context, q request, scope cluster.Scope) ([]presence.Listing, cluster.Truth) {
	others, truth := s.PodsToAsk(q.site, scope)
	if others != nil {
		return others.Channels(ctx, q.host, scope)
	}
	if host := s.Registry.Host(q.host); host != nil {
		return host.ActiveChannels(), truth
	}
	return nil, truth
}
