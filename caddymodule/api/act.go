package api

import (
	"context"
	"net/http"

	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// MaxAction is the maximum size of the body of [Server.Act], in bytes.
const MaxAction = maxUsersBody

// Acted is the answer to an action.
type Acted struct {
	Body  []byte // that of the endpoint
	Truth cluster.Truth
}

// ActError is the answer to an action that was refused.
type ActError struct{ Problem *problem.Problem }

// Error returns the detail.
func (e *ActError) Error() string { return e.Problem.Detail }

// Act answers an operator as the named endpoint answers a backend, with the same body, but without
// a key: the caller has checked who asks. The names are sendmessage, disconnect and leave. It
// returns an *ActError.
func (s *Server) Act(ctx context.Context, name string, of *site.Site, host presence.HostName, raw []byte) (Acted, error) {
	a, p := s.act(ctx, name, of, host, raw)
	if p != nil {
		return Acted{}, &ActError{p}
	}
	acted := Acted{Body: a.body, Truth: cluster.Truth{Complete: true}}
	if a.truth != nil {
		acted.Truth = *a.truth
	}
	return acted, nil
}

func (s *Server) act(ctx context.Context, name string, of *site.Site, host presence.HostName, raw []byte) (response, *problem.Problem) {
	switch name {
	case "sendmessage", "disconnect", "leave":
	default:
		return response{}, &problem.Problem{Status: http.StatusNotFound, Code: "not_found", Detail: "there is no such action: use sendmessage, disconnect or leave"}
	}
	if s.Draining() {
		return response{}, problem.Draining()
	}
	if len(raw) > MaxAction {
		return response{}, tooLarge(MaxAction)
	}
	body, p := parseRequest(raw)
	if p == nil {
		p = checkSize(name, raw, body)
	}
	if p != nil {
		return response{}, p
	}
	return s.answers[name](ctx, request{of, host, body, raw})
}
