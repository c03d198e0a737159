package api

import (
	"context"
	"fmt"
	"net/http"
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
	if p := s.checkListed(dcs); include && p != nil {
		return response{}, p
	}
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

// checkListed refuses an answer whose users are too many to be listed.
func (s *Server) checkListed(dcs []answer.DataCenter) *problem.Problem {
	users, listed := 0, true
	for _, dc := range dcs {
		users += dc.Authenticated
		listed = listed && (dc.Users != nil || dc.Encoded != nil)
	}
	if listed {
		return nil
	}
	return tooMany("the host has %d users, summed over its pods, and includeUsers lists at most %d: "+
		"leave it out for the number, or list the users of channels with /message/users and limit", users, s.MaxListed)
}

func tooMany(format string, args ...any) *problem.Problem {
	return &problem.Problem{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Detail: fmt.Sprintf(format, args...)}
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

// ownDataCenter returns the part of this pod, without users if they are too many to be listed.
func (s *Server) ownDataCenter(q request, members bool, per presence.Per, encoded bool) answer.DataCenter {
	dc := answer.DataCenter{Name: q.site.DataCenter}
	host := s.Registry.Host(q.host)
	var stats presence.Stats
	if host != nil {
		stats = host.Stats()
	}
	switch {
	case !members, authenticated(stats, per) > s.MaxListed:
	case host == nil && encoded:
		dc.Encoded = [][]byte{}
	case host == nil:
		dc.Users = []presence.User{}
	case encoded:
		dc.Encoded, stats = host.EncodedUsers()
	default:
		dc.Users, stats = host.Users(per)
	}
	dc.Anonymous, dc.Authenticated = stats.Anonymous, authenticated(stats, per)
	return dc
}

// authenticated returns the number of entries of a list of users.
func authenticated(stats presence.Stats, per presence.Per) int {
	if per.Raw() {
		return stats.LoggedIn
	}
	return stats.Users
}
