package caddymodule

import (
	"net"
	"net/http"
	"net/netip"
	"reflect"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
)

// prepare sets up the server of a handler so that handshakes are cheap.
func (a *App) prepare(ctx caddy.Context) {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || !a.firstOf(server) {
		return
	}
	if trustsClients(server) {
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

// firstOf reports whether this handler is the first of the server.
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

// handshakeStack is the stack that a handshake needs at most, in bytes, from where net/http reports
// a request: 9.5 KB, most of it for net/http and Caddy.
const handshakeStack = 9 << 10

// growStack grows the stack of the calling goroutine enough for a handshake. Otherwise the runtime
// doubles it three times during the handshake, each time with more frames to adjust.
//
//go:noinline
func growStack(n *int) {
	var frame [handshakeStack]byte
	*n = int(frame[*n&1])
}

// clientAddr returns the address of the client, as the server has determined it by its
// trusted_proxies. It returns the zero Addr if there is none, as on a unix socket.
func clientAddr(r *http.Request) netip.Addr {
	ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

// nat64 is the well-known prefix for IPv4 clients behind a translator (RFC 6052 section 2.1).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// clientNet returns the addresses that count as one client: one IPv4 address, translated or not, or
// the /64 of an IPv6 address. All clients without an address are one, the zero Prefix.
func clientNet(addr netip.Addr) netip.Prefix {
	bits := addr.BitLen()
	if nat64.Contains(addr) {
		b := addr.As16()
		addr, bits = netip.AddrFrom4([4]byte(b[12:])), 32
	} else if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // for the zero Addr: an error and the zero Prefix
	return p
}

// trustsClients reports whether clients of a server can choose their address, because the server
// uses the first address of a header that clients send.
func trustsClients(server *caddyhttp.Server) bool {
	if server == nil || server.TrustedProxiesStrict > 0 {
		return false
	}
	// Caddy keeps the loaded module in an unexported field only.
	loaded := reflect.ValueOf(server).Elem().FieldByName("trustedProxies")
	return server.TrustedProxiesUnix || loaded.IsValid() && !loaded.IsNil()
}
