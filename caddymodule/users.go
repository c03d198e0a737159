package caddymodule

import (
	"context"
	"net/http"
	"strconv"

	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// scopes are the values of scope; without one it is this pod alone.
var scopes = map[string]cluster.Scope{
	"": cluster.ScopePod, "pod": cluster.ScopePod, "dc": cluster.ScopeDC, "all": cluster.ScopeAll,
}

// usersQuestion is what a request to /message/users asks.
type usersQuestion struct {
	question
	scope    cluster.Scope
	channel  string
	one      bool // channel alone
	raw      bool // an entry for each connection
	complete bool // or an error
}

// users answers /message/users: the active channels of the host, or one of them, and who listens.
func (h *Handler) users(ctx context.Context, q question) (answer, *problem) {
	uq, p := readUsers(q)
	if p != nil {
		return answer{}, p
	}
	list, truth := h.app.hub.listings(ctx, uq)
	if uq.complete && !truth.Complete {
		return answer{}, problemIncomplete(truth)
	}
	a := q.site.pluginAnswer(ctx, plugins.EndpointUsers, q.host, q.body)
	if a == nil {
		return answer{body: appendListings(nil, list), truth: &truth}, nil
	}
	body, p := a.finish(a.appendListings(nil, list))
	return answer{body: body, truth: &truth}, p
}

func readUsers(q question) (uq usersQuestion, p *problem) {
	uq.question = q
	if uq.channel, p = q.body.text("channel"); p != nil {
		return uq, p
	}
	_, uq.one = q.body["channel"]
	dedupe, p := q.body.flag("dedupeUsers", true)
	if p != nil {
		return uq, p
	}
	uq.raw = !dedupe
	name, p := q.body.text("scope")
	if p != nil {
		return uq, p
	}
	if uq.complete, p = q.body.flag("requireComplete", false); p != nil {
		return uq, p
	}
	var known bool
	if uq.scope, known = scopes[name]; !known {
		return uq, &problem{
			status: http.StatusBadRequest, code: "bad_value", detail: "scope must be pod, dc or all",
		}
	}
	return uq, nil
}

// listings asks the pods of the scope.
func (h *hub) listings(ctx context.Context, q usersQuestion) ([]presence.Listing, cluster.Truth) {
	others, alone := h.others(q.site)
	nobody := q.one && q.channel == "" // no channel has that name; for the cluster, it is all of them
	if others != nil && q.scope != cluster.ScopePod && !nobody {
		return others.Users(ctx, q.host, q.scope, q.channel, q.raw)
	}
	truth := cluster.Truth{Complete: alone || others != nil || q.scope == cluster.ScopePod}
	var list []presence.Listing
	host := h.registry.Host(q.host)
	switch {
	case host == nil:
	case !q.one:
		list = host.Channels(q.raw)
	default:
		if l, ok := host.Channel(q.channel, q.raw); ok {
			list = append(list, l)
		}
	}
	return list, truth
}

// appendListings appends the object that is keyed by channel.
func appendListings(b []byte, list []presence.Listing) []byte {
	b = append(b, '{')
	for i, l := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = wire.AppendString(b, l.Channel)
		b = append(b, ':')
		switch {
		case l.Kind == presence.Private && len(l.Users) > 0:
			b = wire.AppendUser(b, l.Users[0])
		case l.Named():
			b = wire.AppendUsers(b, l.Users)
		default:
			b = strconv.AppendInt(b, int64(l.Count), 10)
		}
	}
	return append(b, '}')
}
