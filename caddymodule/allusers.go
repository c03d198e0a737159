package caddymodule

import (
	"context"
	"slices"
	"strconv"

	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// dcUsers is what one data center has of a host.
type dcUsers struct {
	name          string
	authenticated int
	anonymous     int
	users         []presence.User // nil unless they were asked for
	array         []byte          // what plugins made of users; nil: nothing
	encoded       [][]byte        // instead of users: pieces of their array; not nil
}

// allUsers answers /message/allusers: how many are connected to the host in each data center, or who.
func (s *apiServer) allUsers(ctx context.Context, q question) (answer, *problem.Problem) {
	include, p := q.body.flag("includeUsers", false)
	if p != nil {
		return answer{}, p
	}
	per, p := q.body.per()
	if p != nil {
		return answer{}, p
	}
	complete, p := q.body.flag("requireComplete", false)
	if p != nil {
		return answer{}, p
	}

	encoded := include && per == presence.PerUser && bare(q.site) // and then no plugin that comes meanwhile has a part in it
	dcs, truth := s.dataCenters(ctx, q, include, per, encoded)
	if complete && !truth.Complete {
		return answer{}, problem.Incomplete(truth)
	}
	var a *pluginAnswer
	if !encoded {
		a = newPluginAnswer(ctx, q, plugins.EndpointAllUsers)
	}
	if a == nil {
		return answer{pieces: encodeAllUsers(dcs), truth: &truth}, nil
	}
	if include && a.chain.Has(plugins.HookMembers) {
		a.dcMembers(dcs)
	}
	body, p := a.finish(slices.Concat(encodeAllUsers(dcs)...))
	return answer{body: body, truth: &truth}, p
}

// dataCenters asks every pod that serves the host; members says whether the users are wanted, per how they are
// counted, and encoded that they are wanted as JSON, if this pod is the only one.
func (s *apiServer) dataCenters(ctx context.Context, q question, members bool, per presence.Per, encoded bool) ([]dcUsers, cluster.Truth) {
	others, truth := s.Asked(q.site, cluster.ScopeAll)
	if others == nil {
		return []dcUsers{s.ownDataCenter(q, members, per, encoded)}, truth
	}
	found, truth := others.AllUsers(ctx, q.host, members, per)
	dcs := make([]dcUsers, len(found))
	for i, dc := range found {
		dcs[i] = dcUsers{name: dc.Name, authenticated: dc.Authenticated, anonymous: dc.Anonymous, users: dc.Users}
	}
	return dcs, truth
}

// ownDataCenter is what this pod has.
func (s *apiServer) ownDataCenter(q question, members bool, per presence.Per, encoded bool) dcUsers {
	dc := dcUsers{name: q.site.DataCenter}
	switch {
	case encoded:
		dc.encoded = [][]byte{}
	case members:
		dc.users = []presence.User{}
	}
	host := s.Registry.Host(q.host)
	if host == nil {
		return dc
	}
	var stats presence.Stats
	switch {
	case encoded:
		dc.encoded, stats = host.EncodedUsers()
	case members:
		dc.users, stats = host.Users(per)
	default:
		stats = host.Stats()
	}
	dc.anonymous = stats.Anonymous
	dc.authenticated = stats.Users
	if per == presence.PerConnection {
		dc.authenticated = stats.LoggedIn
	}
	return dc
}

// encodeAllUsers makes the object that is keyed by data center, with the sum.
func encodeAllUsers(dcs []dcUsers) [][]byte {
	total := dcUsers{name: cluster.Total}
	b := body{text: []byte{'{'}}
	for _, dc := range dcs {
		total.authenticated += dc.authenticated
		total.anonymous += dc.anonymous
		dc.appendTo(&b)
		b.text = append(b.text, ',')
	}
	total.appendTo(&b)
	b.text = append(b.text, '}')
	return b.end()
}

func (dc dcUsers) appendTo(b *body) {
	b.text = wire.AppendString(b.text, dc.name)
	b.text = append(b.text, `:{"authenticated":`...)
	if dc.users != nil || dc.encoded != nil {
		switch {
		case dc.array != nil:
			b.text = append(b.text, dc.array...)
		case dc.encoded != nil:
			b.text = append(b.text, '[')
			b.list(dc.encoded)
			b.text = append(b.text, ']')
		default:
			b.text = wire.AppendUsers(b.text, dc.users)
		}
		b.text = append(b.text, `,"authenticatedCount":`...)
	}
	b.text = strconv.AppendInt(b.text, int64(dc.authenticated), 10)
	b.text = append(b.text, `,"anonymous":`...)
	b.text = strconv.AppendInt(b.text, int64(dc.anonymous), 10)
	b.text = append(b.text, '}')
}
