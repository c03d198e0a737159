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

// scopes are the values of scope. "" stands for an absent scope.
var scopes = map[string]cluster.Scope{
	"": cluster.ScopePod, "pod": cluster.ScopePod, "dc": cluster.ScopeDC, "all": cluster.ScopeAll,
}

// usersRequest is a request to /message/users.
type usersRequest struct {
	request
	scope    cluster.Scope
	channel  string
	one      bool // only channel, not all
	per      presence.Per
	complete bool // requireComplete
}

// users answers /message/users: the active channels of the host, or one of them, with their
// listeners.
func (s *Server) users(ctx context.Context, q request) (response, *problem.Problem) {
	uq, p := readUsers(q)
	if p != nil {
		return response{}, p
	}
	others, truth := s.PodsToAsk(q.site, uq.scope)
	var list []presence.Listing
	switch {
	case others != nil && uq.one:
		list, truth = others.ChannelUsers(ctx, q.host, uq.scope, uq.channel, uq.per)
	case others != nil:
		list, truth = others.Users(ctx, q.host, uq.scope, uq.per)
	case uq.complete && !truth.Complete:
	case uq.per == presence.PerUser && answer.Bare(q.site.Chain):
		return response{pieces: answer.EncodedListings(s.encoded(uq)), truth: &truth}, nil
	default:
		list = s.listings(uq)
	}
	if uq.complete && !truth.Complete {
		return response{}, problem.Incomplete(truth)
	}
	a := answer.NewPlugins(ctx, q.site.Chain, plugins.EndpointUsers, q.host.String(), q.body.withoutKey)
	if a == nil {
		return response{body: answer.AppendListings(nil, list), truth: &truth}, nil
	}
	return shaped(a, a.AppendListings(nil, list), truth, 0)
}

func readUsers(q request) (uq usersRequest, p *problem.Problem) {
	uq.request = q
	if uq.channel, p = q.body.text("channel"); p != nil {
		return uq, p
	}
	if isReplaced(uq.channel) {
		return uq, &problem.Problem{
			Status: http.StatusBadRequest, Code: "bad_channel", Channel: uq.channel,
			Detail: "channel has U+FFFD or half a surrogate pair, so no channel has the name",
		}
	}
	_, uq.one = q.body["channel"]
	if uq.per, p = q.body.per(); p != nil {
		return uq, p
	}
	if uq.scope, p = q.body.scope(); p != nil {
		return uq, p
	}
	uq.complete, p = q.body.flag("requireComplete", false)
	return uq, p
}

// per returns how users are counted.
func (b values) per() (presence.Per, *problem.Problem) {
	dedupe, p := b.flag("dedupeUsers", true)
	if !dedupe {
		return presence.PerConnection, p
	}
	return presence.PerUser, p
}

// scope returns the pods that the answer covers.
func (b values) scope() (cluster.Scope, *problem.Problem) {
	name, p := b.text("scope")
	if p != nil {
		return 0, p
	}
	scope, known := scopes[name]
	if !known {
		return 0, &problem.Problem{Status: http.StatusBadRequest, Code: "bad_value", Detail: "scope must be pod, dc or all"}
	}
	return scope, nil
}

// listings returns the listings of this pod.
func (s *Server) listings(q usersRequest) []presence.Listing {
	host := s.Registry.Host(q.host)
	switch {
	case host == nil:
	case !q.one:
		return host.Channels(q.per)
	default:
		if l, ok := host.Channel(q.channel, q.per); ok {
			return []presence.Listing{l}
		}
	}
	return nil
}

// encoded returns the listings of this pod per user, as JSON.
func (s *Server) encoded(q usersRequest) presence.Encoded {
	host := s.Registry.Host(q.host)
	switch {
	case host == nil:
		return presence.Encoded{}
	case q.one:
		return host.EncodedChannel(q.channel)
	}
	return host.Encoded()
}
