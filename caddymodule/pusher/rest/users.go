package rest

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/rollcall-gateway/rollcall/caddymodule/answer"
	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// users answers GET /channels/NAME/users: the members of a presence channel, each once.
func (s *Server) users(ctx context.Context, q *request) (response, *failure) {
	name, traits, e := q.channelName()
	if e != nil {
		return response{}, e
	}
	if !traits.Has(app.Presence) {
		return response{}, badRequest("only presence channels have members: their names begin with presence-")
	}
	per, info := presence.PerUser, q.params.Get("with_user_info") == "1"
	if info {
		per |= presence.WithInfo
	}
	l, truth := s.listing(ctx, q, name, per)
	users := l.Users
	if a := answer.NewPlugins(ctx, q.site.Chain, plugins.EndpointUsers, q.host.String(), asked(name, info)); a != nil && a.HasMembers() {
		objects := a.Members(users)
		if a.Err() != nil {
			return response{}, fail(http.StatusServiceUnavailable, "a plugin of this site failed, so the answer is withheld: see the server's log")
		}
		users = visible(objects)
	}
	body := []byte(`{"users":[`)
	for i := range users {
		if i > 0 {
			body = append(body, ',')
		}
		body = wire.AppendString(append(body, `{"id":`...), users[i].ID)
		if info && users[i].Info != "" {
			body = append(append(body, `,"user_info":`...), users[i].Info...)
		}
		body = append(body, '}')
	}
	return response{append(body, ']', '}'), truth}, nil
}

// asked returns the request as plugins see it: in the form of the endpoint that they know.
func asked(channel string, info bool) func() []byte {
	return func() []byte {
		b := wire.AppendString([]byte(`{"channel":`), channel)
		if info {
			b = append(b, `,"includeInfo":true`...)
		}
		return append(b, '}')
	}
}

// visible returns the users in the objects that plugins have made. Without an ID, there is nothing
// to list.
func visible(objects [][]byte) []presence.User {
	users := make([]presence.User, 0, len(objects))
	for _, object := range objects {
		var u struct {
			ID   string          `json:"id"`
			Info json.RawMessage `json:"info"`
		}
		if object != nil && json.Unmarshal(object, &u) == nil && u.ID != "" {
			users = append(users, presence.User{ID: u.ID, Info: string(u.Info)})
		}
	}
	return users
}
