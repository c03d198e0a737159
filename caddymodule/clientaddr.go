package caddymodule

import (
	"net/http"
	"net/netip"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// clientAddr returns the address of the client, which the server has determined by its trusted_proxies.
// It returns the zero Addr if there is none, as on a unix socket.
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

// clientNet returns the addresses that count as one client: one IPv4 address, translated or not, or the
// /64 of an IPv6 address. All clients without an address are one, with the zero Prefix.
func clientNet(addr netip.Addr) netip.Prefix {
	bits := addr.BitLen()
	if nat64.Contains(addr) {
		b := addr.As16()
		addr, bits = netip.AddrFrom4([4]byte(b[12:])), 32
	} else if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // fails for the zero Addr, with the zero Prefix
	return p
}
