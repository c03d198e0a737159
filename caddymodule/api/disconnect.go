package api

import (
	"context"
	"strconv"
	"unicode"

	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// disconnect answers /message/disconnect: it closes connections of the host on all pods, and
// revokes the tokens of their users if the request says so.
func (s *Server) disconnect(ctx context.Context, q request) (response, *problem.Problem) {
	channel, call, p := readDisconnect(q)
	if p != nil {
		return response{}, p
	}
	tokens, p := s.readRevocation(q, call.Users != nil)
	if p != nil {
		return response{}, p
	}
	revoked := cluster.Truth{Complete: true}
	if tokens.wanted { // first, so that a client that comes back at once is refused
		if revoked, p = s.revoke(ctx, q, call.Users, tokens); p != nil {
			return response{}, p
		}
	}
	others, truth := s.PodsToAsk(q.site, cluster.ScopeAll)
	var n int
	if others != nil {
		n, truth = others.Disconnect(ctx, q.host, channel, call)
	} else {
		n = s.Local.Disconnect(q.host, channel, call)
	}
	return counted("disconnected", n, revoked.And(truth)), nil
}

// readDisconnect reads which connections to close, and how. channel is "" for none.
func readDisconnect(q request) (channel string, call *cluster.Call, p *problem.Problem) {
	const which = "send exactly one of users, connections and channel"
	if p := q.body.oneOf(which, "users", "connections", "channel"); p != nil {
		return "", nil, p
	}
	call = new(cluster.Call)
	if call.Users, call.Conns, p = q.body.targets(); p != nil {
		return "", nil, p
	}
	if _, present := q.body["channel"]; present {
		if channel, p = q.body.text("channel"); p != nil {
			return "", nil, p
		}
		if p := q.checkTarget("channel", channel); p != nil {
			return "", nil, p
		}
	}
	if call.Reconnect, p = q.body.flag("reconnect", false); p != nil {
		return "", nil, p
	}
	if call.Reason, p = q.body.text("reason"); p != nil {
		return "", nil, p
	}
	if len(call.Reason) > cluster.MaxReason {
		return "", nil, problem.BadValue("reason has over %d bytes: shorten it", cluster.MaxReason)
	}
	if isReplaced(call.Reason) {
		return "", nil, problem.BadValue("reason has U+FFFD or half a surrogate pair: leave it out")
	}
	for _, r := range call.Reason {
		if unicode.IsControl(r) {
			return "", nil, problem.BadValue("reason has a control character: leave it out")
		}
	}
	return channel, call, nil
}

// counted returns an answer with a number.
func counted(what string, n int, truth cluster.Truth) response {
	return response{body: append(strconv.AppendInt([]byte(`{"`+what+`":`), int64(n), 10), '}'), truth: &truth}
}
