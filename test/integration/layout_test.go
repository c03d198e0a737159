package integration

import (
	"net/http"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// A handler finds the hosts that it serves in the routes, wherever it is in them. If it did not, a
// reload would treat its host as removed.
func TestReloadFindsTheSiteInAnyLayout(t *testing.T) {
	t.Setenv("ROLLCALL_TEST_HOST", "portal.example.com")
	const block = "rollcall {\n api_key " + apiKey + "\n }\n"
	tests := map[string]struct {
		before, sites string // global options are before sites
		host          string
	}{
		"plain":          {"", "http://portal.example.com:9080 {\n" + block + "}\n", "portal.example.com"},
		"any host":       {"", "http://:9080 {\n" + block + "}\n", "anything.example.net"},
		"several hosts":  {"", "http://a.example.com:9080, http://portal.example.com:9080 {\n" + block + "}\n", "portal.example.com"},
		"wildcard":       {"", "http://*.example.com:9080 {\n" + block + "}\n", "portal.example.com"},
		"capitals":       {"", "http://Portal.EXAMPLE.com:9080 {\n" + block + "}\n", "portal.example.com"},
		"another script": {"", "http://bücher.example:9080 {\n" + block + "}\n", "xn--bcher-kva.example"},
		"IPv4 address":   {"", "http://127.0.0.1:9080 {\n" + block + "}\n", "127.0.0.1:9080"},
		"IPv6 address":   {"", "http://[::1]:9080 {\n" + block + "}\n", "[::1]:9080"},
		"placeholder":    {"", "http://{env.ROLLCALL_TEST_HOST}:9080 {\n" + block + "}\n", "portal.example.com"},
		"path matcher": {
			"", "http://portal.example.com:9080 {\n rollcall /message/* {\n api_key " + apiKey + "\n }\n}\n", "portal.example.com",
		},
		"named matcher": {
			"", "http://:9080 {\n @portal host portal.example.com\n rollcall @portal {\n api_key " + apiKey + "\n }\n}\n",
			"portal.example.com",
		},
		"handle": {"", "http://portal.example.com:9080 {\n handle /message/* {\n" + block + "}\n}\n", "portal.example.com"},
		"handles in a wildcard": {
			"", "http://*.example.com:9080 {\n @portal host portal.example.com\n handle @portal {\n" + block +
				"}\n handle {\n respond 204\n }\n}\n", "portal.example.com",
		},
		"route": {"", "http://portal.example.com:9080 {\n route {\n route {\n" + block + "}\n}\n}\n", "portal.example.com"},
		"snippet": {
			"(presence) {\n" + block + "}\n", "http://portal.example.com:9080 {\n import presence\n}\n", "portal.example.com",
		},
		"named route": {
			"&(presence) {\n" + block + "}\n", "http://portal.example.com:9080 {\n invoke presence\n}\n", "portal.example.com",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			text := caddyfile("", tt.before+tt.sites)
			load(t, text)
			site := ws.Site{URL: siteURL, Host: tt.host, Key: apiKey}
			c := site.Dial(t)
			c.Join(t, "anonymousChat")
			reload(t, text)
			c.ExpectNothing(t)
			site.Expect(t, "users", `{"channel":"anonymousChat"}`, `{"anonymousChat":1}`)
			reload(t, caddyfile("", "http://removed.example.org:9080 {\n"+block+"}\n"))
			ws.ExpectClose(t, c.Conn, websocket.CloseGoingAway)
		})
	}
}

// A host that moves to another site is not removed.
func TestReloadMovesAHostToAnotherSite(t *testing.T) {
	load(t, caddyfile("", "http://*.example.com:9080 {\n rollcall {\n api_key "+apiKey+"\n }\n}\n"))
	c := portalHost.Dial(t)
	c.Join(t, "anonymousChat")
	reload(t, portal("limits {\n channels_per_connection 1\n }"))
	c.Send(t, `{"type":"join","channel":"anonymousOther"}`)
	c.ExpectError(t, "", "too_many_channels")
	portalHost.Expect(t, "users", `{"channel":"anonymousChat"}`, `{"anonymousChat":1}`)
	expectMetric(t, `caddy_rollcall_connections{host="portal.example.com",user="no"}`, 1)
}

func TestFirstLoadThatFails(t *testing.T) {
	load(t, caddyfile("", ""))
	reloadFails(t, portal("origins nonsense"), "nonsense")
	reloadFails(t, portal("")+"http://203.0.113.1:9080 {\n bind 203.0.113.1\n respond 204\n}\n", "203.0.113.1")
	if got := admin(t, http.MethodGet, "/rollcall/health"); got.Status != http.StatusServiceUnavailable {
		t.Errorf("health after nothing was loaded: %d %s", got.Status, got.Body)
	}
	reload(t, portal(""))
	portalHost.Dial(t).ExpectNothing(t)
	if got := admin(t, http.MethodGet, "/rollcall/health"); got.Status != http.StatusOK {
		t.Errorf("health: %d %s", got.Status, got.Body)
	}
}
