package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// leave answers /message/leave: it ends memberships in channels of the host on all pods.
func (s *Server) leave(ctx context.Context, q request) (response, *problem.Problem) {
	call, p := readLeave(q)
	if p != nil {
		return response{}, p
	}
	others, truth := s.PodsToAsk(q.site, cluster.ScopeAll)
	var n int
	if others != nil {
		n, truth = others.LeaveChannels(ctx, q.host, call)
	} else {
		n = s.Local.Leave(q.host, call)
	}
	return counted("left", n, truth), nil
}

func readLeave(q request) (call *cluster.Call, p *problem.Problem) {
	if p := q.body.oneOf("send exactly one of users and connections", "users", "connections"); p != nil {
		return nil, p
	}
	call = new(cluster.Call)
	if call.Users, call.Conns, p = q.body.targets(); p != nil {
		return nil, p
	}
	want := fmt.Sprintf("an array of 1 to %d names", presence.MaxTargets)
	if call.Channels, p = q.body.list("channels", presence.MaxTargets, want); p != nil {
		return nil, p
	}
	size := 0
	for _, name := range call.Channels {
		if strings.HasPrefix(name, presence.PrivatePrefix) {
			return nil, &problem.Problem{
				Status: http.StatusBadRequest, Code: "bad_channel", Channel: name,
				Detail: "a connection cannot leave its private channel: disconnect it instead",
			}
		}
		if p := q.checkTarget("channels", name); p != nil {
			return nil, p
		}
		size += len(name)
	}
	if size > presence.MaxMessage {
		return nil, &problem.Problem{
			Status: http.StatusRequestEntityTooLarge, Code: "too_large",
			Detail: fmt.Sprintf("the names of the channels have over %d KiB together: send several requests", presence.MaxMessage>>10),
		}
	}
	return call, nil
}
