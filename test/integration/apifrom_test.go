package integration

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

func TestEndpointsOfTheAddressesOfBackends(t *testing.T) {
	load(t, portal("api_from 192.0.2.1 10.0.0.0/8"))
	expectProblem(t, portalHost.Request(t, "POST", "/message/users", "", "X-Api-Key", apiKey), http.StatusForbidden, "bad_address")
	portalHost.Dial(t).ExpectNothing(t) // api_from does not apply to browsers

	reload(t, portal("api_from private_ranges"))
	portalHost.Expect(t, "users", `{"channel":"none"}`, `{}`)
	claimed := portalHost.Request(t, "POST", "/message/users", "", "X-Api-Key", apiKey, "X-Forwarded-For", "127.0.0.1")
	expectProblem(t, claimed, http.StatusForbidden, "bad_address")

	site := portalSite("api_from 192.0.2.0/24")
	reloadFails(t, caddyfile("servers {\n trusted_proxies static private_ranges\n }", site), "trusted_proxies_strict")
	reload(t, caddyfile("servers {\n trusted_proxies static private_ranges\n trusted_proxies_strict\n }", site))
	for from, want := range map[string]int{
		"192.0.2.7": http.StatusOK, "192.0.2.7, 203.0.113.1": http.StatusForbidden, "203.0.113.1, 192.0.2.7, 10.0.0.1": http.StatusOK,
		"": http.StatusForbidden,
	} {
		a := portalHost.Request(t, "POST", "/message/users", "", "X-Api-Key", apiKey, "X-Forwarded-For", from)
		if a.Status != want {
			t.Errorf("%q: status %d, want %d", from, a.Status, want)
		}
	}
}

func TestAUnixSocketCountsAsLoopback(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "caddy.sock")
	site := func(options string) string {
		return caddyfile("", "http://portal.example.com {\n bind unix/"+socket+"\n rollcall {\n api_key "+apiKey+"\n "+options+"\n }\n}\n")
	}
	client := &http.Client{Timeout: ws.Patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	portal := ws.Site{URL: "http://portal.example.com", Key: apiKey, Client: client}
	load(t, site("api_from 127.0.0.1"))
	portal.Expect(t, "users", `{}`, `{}`)
	claimed := portal.Request(t, "POST", "/message/users", "", "X-Api-Key", apiKey, "X-Forwarded-For", "127.0.0.1")
	expectProblem(t, claimed, http.StatusForbidden, "bad_address")
	reload(t, site("api_from 10.0.0.0/8"))
	expectProblem(t, portal.Request(t, "POST", "/message/users", "", "X-Api-Key", apiKey), http.StatusForbidden, "bad_address")
}
