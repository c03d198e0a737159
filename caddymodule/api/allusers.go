package api

import (
	"context"
	"slices"

	"github.com/rollcall-gateway/rollcall/caddymodule/answer"
	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// allUsers answers /message/allusers: the number of users and anonymous connections of the host by
// data center, and the users if requested.
func (s *Server) allUsers(ctx context.Context, q request) (response, *problem.Problem) {
	include, p := q.body.flag("includeUsers", false)
	if p != nil {
		return response{}, p
	}
	per, p := q.body.per()
	if p != nil {
		return response{}, p
	}
	if !include {
		per &^= presence.WithInfo
	}
	complete, p := q.body.flag("requireComplete", false)
	if p != nil {
		return response{}, p
	}

	// A plugin that is loaded after this check has no part in the answer.
	encoded := include && per == presence.PerUser && answer.Bare(q.site.Chain)
	dcs, truth := s.dataCenters(ctx, q, include, per, encoded)
	if complete && !truth.Complete {
		return response{}, problem.Incomplete(truth)
	}
	var a *answer.Plugins
	if !encoded {
		a = answer.NewPlugins(ctx, q.site.Chain, plugins.EndpointAllUsers, q.host.String(), q.body.withoutKey)
	}
	if a == nil {
		return response{pieces: answer.AllUsers(dcs), truth: &truth}, nil
	}
	if include && a.HasMembers() {
		a.PassDataCenters(dcs)
	}
	return shaped(a, slices.Concat(answer.AllUsers(dcs)...), truth, 0)
}

// dataCenters asks every pod that serves the host. members selects the users, per how they are
// counted. encoded selects JSON for the users if this pod is the only one.
func (s *Server) dataCenters(ctx context.Context, q request, members bool, per presence.Per, encoded bool) ([]answer.DataCenter, cluster.Truth) {
	others, truth := s.PodsToAsk(q.site, cluster.ScopeAll)
	if others == nil {
		return []answer.DataCenter{s.ownDataCenter(q, members, per, encoded)}, truth
	}
	found, truth := others.AllUsers(ctx, q.host, members, per)
	dcs := make([]answer.DataCenter, len(found))
	for i, dc := range found {
		dcs[i] = answer.DataCenter{Name: dc.Name, Authenticated: dc.Authenticated, Anonymous: dc.Anonymous, Users: dc.Users}
	}
	return dcs, truth
}

// ownDataCenter returns the part of this pod.
func (s *Server) ownDataCenter(q request, members bool, per presence.Per, encoded bool) answer.DataCenter {
	dc := answer.DataCenter{Name: q.site.DataCenter}
	switch {
	case encoded:
		dc.Encoded = [][]byte{}
	case members:
		dc.Users = []presence.User{}
	}
	host := s.Registry.Host(q.host)
	if host == nil {
		return dc
	}
	var stats presence.Stats
	switch {
	case encoded:
		dc.Encoded, stats = host.EncodedUsers()
	case members:
		dc.Users, stats = host.Users(per)
	default:
		stats = host.Stats()
	}
	dc.Anonymous = stats.Anonymous
	dc.Authenticated = stats.Users
	if per.Raw() {
		dc.Authenticated = stats.LoggedIn
	}
	return dc
}
