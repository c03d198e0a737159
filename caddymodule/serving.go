package caddymodule

import (
	"net"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
)

// prepare makes a handshake cheap for the server that the handler is about to be a part of.
func (a *App) prepare(ctx caddy.Context) {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || !a.firstOf(server) {
		return
	}
	if believesClients(server) {
		a.logger.Warn("trusted_proxies without trusted_proxies_strict: clients choose the address that wrong API keys are counted by",
			zap.Strings("listen", server.Listen))
	}
	server.RegisterConnContext(socket.WithConn)
	server.RegisterConnState(func(_ net.Conn, state http.ConnState) {
		if state == http.StateActive {
			growStack(new(int))
		}
	})
}

// firstOf reports whether no handler of the server was here before.
func (a *App) firstOf(server *caddyhttp.Server) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.prepared == nil {
		a.prepared = make(map[*caddyhttp.Server]bool)
	}
	first := !a.prepared[server]
	a.prepared[server] = true
	return first
}

// handshakeStack is how many bytes of stack a handshake takes at most, from where net/http tells that a request has come:
// 9.5 KB, most of it by net/http and Caddy.
const handshakeStack = 9 << 10

// growStack makes the stack of the calling goroutine large enough for a handshake. The runtime would double it three times
// on the way, each time when more calls are open, whose frames it has to adjust.
//
//go:noinline
func growStack(n *int) {
	var frame [handshakeStack]byte
	*n = int(frame[*n&1])
}
