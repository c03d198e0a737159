package caddymodule

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/internal/oftenlog"
)

// apiFrom restricts the endpoints to the addresses of backends.
type apiFrom struct {
	ranges []netip.Prefix
	warned oftenlog.Limit
}

// apiFromPause is the shortest time between two warnings of a site: any client can cause one.
const apiFromPause = time.Minute

// privateRanges stands for Caddy's list of private ranges.
const privateRanges = "private_ranges"

// provisionAPIFrom parses api_from. It refuses a server on which clients choose their own address.
func (h *Handler) provisionAPIFrom(ctx caddy.Context) error {
	if h.APIFrom == nil {
		return nil
	}
	ranges, err := parseAPIFrom(h.APIFrom)
	if err != nil {
		return err
	}
	server, _ := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if trustsClients(server) {
		return errors.New("api_from: with trusted_proxies alone a client can claim any address: " +
			"add trusted_proxies_strict to the servers option")
	}
	h.apiFrom = &apiFrom{ranges: ranges}
	return nil
}

func parseAPIFrom(texts []string) ([]netip.Prefix, error) {
	var ranges []netip.Prefix
	for _, text := range texts {
		for expr := range strings.FieldsSeq(text) { // one variable can have several
			exprs := []string{expr}
			if expr == privateRanges {
				exprs = caddyhttp.PrivateRangesCIDR()
			}
			for _, expr := range exprs {
				p, err := parseRange(expr)
				if err != nil {
					return nil, err
				}
				ranges = append(ranges, p)
			}
		}
	}
	if len(ranges) == 0 {
		return nil, errors.New("api_from has no address: write those of the backends, or remove it")
	}
	return ranges, nil
}

// parseRange parses an address or a range. An IPv4 address is never in its IPv6 form.
func parseRange(expr string) (netip.Prefix, error) {
	p, err := caddyhttp.CIDRExpressionToPrefix(expr)
	if addr := p.Addr(); err == nil && addr.Is4In6() {
		p, err = addr.Unmap().Prefix(p.Bits() - 96)
	}
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("api_from: %q is not an address: write one like 192.0.2.1, a range like 10.0.0.0/8, or %s",
			expr, privateRanges)
	}
	return p, nil
}

// checkAddress refuses a request from an address that is not in api_from, or that may be forged.
func (h *Handler) checkAddress(r *http.Request) *problem.Problem {
	if h.apiFrom == nil {
		return nil
	}
	if why := distrust(r); why != "" {
		h.warnOfProxy(r, why)
		return problemBadAddress("the client's address is unknown: the server does not trust the proxy in front")
	}
	if !h.apiFrom.contains(r) {
		if c := h.rollcall.Site.Logger.Check(zap.DebugLevel, "request refused: api_from does not have its address"); c != nil {
			c.Write(zap.Stringer("client_ip", clientAddr(r)), zap.String("host", gateway.ShownHost(r)))
		}
		return problemBadAddress("requests from this address are not accepted: add it to api_from")
	}
	return nil
}

// acceptsFrom reports whether the address of a request is in api_from, and is not forged.
func (h *Handler) acceptsFrom(r *http.Request) bool {
	return h.apiFrom == nil || distrust(r) == "" && h.apiFrom.contains(r)
}

// distrust returns why the address of a request may be forged, or "".
func distrust(r *http.Request) string {
	headers := []string{"X-Forwarded-For"} // Caddy's default
	server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if server != nil {
		headers = server.ClientIPHeaders
	}
	if trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool); trusted {
		if server == nil || server.TrustedProxiesStrict <= 0 { // already refused at load
			return "trusted_proxies_strict is missing"
		}
		return ""
	}
	for _, name := range headers {
		if len(r.Header.Values(name)) > 0 {
			return name + " came from an address that is not in trusted_proxies"
		}
	}
	return ""
}

func (h *Handler) warnOfProxy(r *http.Request, why string) {
	if _, ok := h.apiFrom.warned.Allow(apiFromPause); !ok {
		return
	}
	h.rollcall.Site.Logger.Warn("request refused: api_from needs the proxy in front to be in trusted_proxies",
		zap.String("reason", why), zap.String("remote_addr", r.RemoteAddr), zap.String("host", gateway.ShownHost(r)))
}

var loopbacks = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// contains reports whether the client's address is in one of the ranges. A unix socket counts as
// loopback.
func (f *apiFrom) contains(r *http.Request) bool {
	addrs := []netip.Addr{clientAddr(r)}
	if !addrs[0].IsValid() && onUnixSocket(r) {
		addrs = loopbacks
	}
	return slices.ContainsFunc(f.ranges, func(p netip.Prefix) bool { return slices.ContainsFunc(addrs, p.Contains) })
}

func onUnixSocket(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && strings.HasPrefix(local.Network(), "unix")
}

func problemBadAddress(detail string) *problem.Problem {
	return &problem.Problem{Status: http.StatusForbidden, Code: "bad_address", Detail: detail}
}
