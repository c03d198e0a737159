package rest

import (
	"context"
	"strconv"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// connections answers GET /connections: how many there are on the host of the app.
func (s *Server) connections(ctx context.Context, q *request) (response, *failure) {
	n := 0
	others, truth := s.PodsToAsk(q.site)
	if others != nil {
		var dcs []cluster.DataCenter
		dcs, truth = others.AllUsers(ctx, q.host, false, presence.PerConnection)
		for _, dc := range dcs {
			n += dc.Authenticated + dc.Anonymous
		}
	} else if host := s.Registry.Host(q.host); host != nil {
		stats := host.Stats()
		n = stats.LoggedIn + stats.Anonymous
	}
	return response{append(strconv.AppendInt([]byte(`{"connections":`), int64(n), 10), '}'), truth}, nil
}

// terminated is the reason of the close of connections that a backend has ended.
const terminated = "the app has ended the connections of this user"

// terminate answers POST /users/ID/terminate_connections: it closes the connections of a user on
// all pods.
func (s *Server) terminate(ctx context.Context, q *request) (response, *failure) {
	user := q.args[0]
	if err := presence.CheckUserID(user); err != nil {
		return response{}, badRequest("the ID of a user has 1 to %d bytes of UTF-8 without control characters", presence.MaxUserID)
	}
	call := &cluster.Call{Users: []string{user}, SignedIn: true, Members: q.config.TerminateMembers, Reason: terminated}
	others, truth := s.PodsToAsk(q.site)
	if others != nil {
		_, truth = others.Disconnect(ctx, q.host, "", call)
	} else {
		s.Local.Disconnect(q.host, "", call)
	}
	return response{[]byte(`{}`), truth}, nil
}
