package api

import (
	"context"
	"strconv"

	"github.com/rollcall-gateway/rollcall/caddymodule/answer"
	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// online answers /message/online: which of the users have a connection, on all pods.
func (s *Server) online(ctx context.Context, q request) (response, *problem.Problem) {
	users, p := q.body.requiredUsers()
	if p != nil {
		return response{}, p
	}
	complete, p := q.body.flag("requireComplete", false)
	if p != nil {
		return response{}, p
	}
	found, truth := s.onlineUsers(ctx, q, users)
	if complete && !truth.Complete {
		return response{}, problem.Incomplete(truth)
	}
	a := answer.NewPlugins(ctx, q.site.Chain, plugins.EndpointUsers, q.host.String(), q.body.withoutKey)
	if a != nil && a.HasMembers() {
		if found = a.Visible(found); a.Err() != nil {
			return response{}, problem.PluginFailed()
		}
	}
	return response{body: appendOnline(nil, users, found), truth: &truth}, nil
}

// onlineUsers returns the users among the given ones that have a connection.
func (s *Server) onlineUsers(ctx context.Context, q request, users []string) ([]cluster.OnlineUser, cluster.Truth) {
	others, truth := s.PodsToAsk(q.site, cluster.ScopeAll)
	if others != nil {
		return others.Online(ctx, q.host, users)
	}
	members := s.Registry.Pods().Online(q.host, users)
	conns := make(map[string]int)
	for i := range members {
		conns[members[i].ID]++
	}
	var found []cluster.OnlineUser
	for _, u := range presence.MergeMembers(presence.PerUser, members) {
		found = append(found, cluster.OnlineUser{User: u, Connections: conns[u.ID], DataCenters: []string{q.site.DataCenter}})
	}
	return found, truth
}

// appendOnline appends the answer, with the users in the order of the request, each once.
func appendOnline(b []byte, users []string, found []cluster.OnlineUser) []byte {
	online := make(map[string]*cluster.OnlineUser, len(found))
	for i := range found {
		online[found[i].ID] = &found[i]
	}
	done := make(map[string]bool, len(users))
	b = append(b, '{')
	for _, id := range users {
		if done[id] {
			continue
		}
		if len(done) > 0 {
			b = append(b, ',')
		}
		done[id] = true
		b = append(wire.AppendString(b, id), ':')
		u := online[id]
		if u == nil {
			b = append(b, `{"online":false}`...)
			continue
		}
		b = append(b, `{"online":true,"connections":`...)
		b = strconv.AppendInt(b, int64(u.Connections), 10)
		b = append(b, `,"dataCenters":[`...)
		for i, dc := range u.DataCenters {
			if i > 0 {
				b = append(b, ',')
			}
			b = wire.AppendString(b, dc)
		}
		b = append(b, "]}"...)
	}
	return append(b, '}')
}
