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

var scopes = map[string]cluster.Scope{
	"pod": cluster.ScopePod, "dc": cluster.ScopeDC, "all": cluster.ScopeAll,
}

// usersRequest is a request to /message/users.
type usersRequest struct {
	request
	scope    cluster.Scope
	channel  string
	one      bool // only channel, not all
	page     presence.Page
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
	var (
		list []presence.Listing
		next string
	)
	entries := 0
	if others == nil {
		entries = s.countEntries(uq)
	}
	switch {
	case others != nil && uq.one:
		list, truth = others.ChannelUsers(ctx, q.host, uq.scope, uq.channel, uq.per)
	case others != nil:
		list, next, truth = others.Users(ctx, q.host, uq.scope, uq.per, uq.page)
	case uq.complete && !truth.Complete:
	case entries > s.MaxListed:
		truth.TooMany = entries
	case uq.per == presence.PerUser && answer.Bare(q.site.Chain):
		encoded, next := s.encoded(uq)
		return response{pieces: answer.EncodedListings(encoded), truth: &truth, next: encodeNext(next)}, nil
	default:
		list, next = s.listings(uq)
	}
	if truth.TooMany > 0 {
		return response{}, tooMany("without limit, the answer would have %d users and channels, summed over the pods, "+
			"and it has at most %d: send limit and read pages", truth.TooMany, s.MaxListed)
	}
	if uq.complete && !truth.Complete {
		return response{}, problem.Incomplete(truth)
	}
	a := answer.NewPlugins(ctx, q.site.Chain, plugins.EndpointUsers, q.host.String(), q.body.withoutKey)
	if a == nil {
		return response{body: answer.AppendListings(nil, list), truth: &truth, next: encodeNext(next)}, nil
	}
	resp, p := shaped(a, a.AppendListings(nil, list), truth, 0)
	resp.next = encodeNext(next)
	return resp, p
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
	if uq.page, p = q.body.page(); p != nil {
		return uq, p
	}
	if uq.per, p = q.body.per(); p != nil {
		return uq, p
	}
	if uq.scope, p = q.body.scope(); p != nil {
		return uq, p
	}
	uq.complete, p = q.body.flag("requireComplete", false)
	return uq, p
}

// per returns how users are counted, and whether they have their info and status.
func (b values) per() (presence.Per, *problem.Problem) {
	dedupe, p := b.flag("dedupeUsers", true)
	if p != nil {
		return presence.PerUser, p
	}
	info, p := b.flag("includeInfo", false)
	per := presence.PerUser
	if !dedupe {
		per = presence.PerConnection
	}
	if info {
		per |= presence.WithInfo
	}
	return per, p
}

// scope returns the pods that the answer covers.
func (b values) scope() (cluster.Scope, *problem.Problem) {
	if _, present := b["scope"]; !present {
		return cluster.ScopePod, nil
	}
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

// countEntries returns the number of entries of the answer of this pod, if no limit bounds it; otherwise 0.
func (s *Server) countEntries(q usersRequest) int {
	host := s.Registry.Host(q.host)
	if host == nil || q.one || q.page.Limit > 0 {
		return 0
	}
	return host.Entries(q.page, q.per)
}

// listings returns the listings of this pod, and the After of the next page.
func (s *Server) listings(q usersRequest) (list []presence.Listing, next string) {
	host := s.Registry.Host(q.host)
	switch {
	case host == nil:
	case q.one:
		if l, ok := host.Channel(q.channel, q.per); ok {
			list = []presence.Listing{l}
		}
	case q.page == presence.Page{}:
		list = host.Channels(q.per)
	default:
		list, next = host.Page(q.page, q.per)
	}
	return list, next
}

// encoded returns the listings of this pod per user, as JSON, and the After of the next page.
func (s *Server) encoded(q usersRequest) (e presence.Encoded, next string) {
	host := s.Registry.Host(q.host)
	switch {
	case host == nil:
	case q.one:
		e = host.EncodedChannel(q.channel)
	case q.page == presence.Page{}:
		e = host.Encoded()
	default:
		e, next = host.EncodedPage(q.page)
	}
	return e, next
}
