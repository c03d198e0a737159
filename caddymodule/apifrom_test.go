package caddymodule

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// server returns the only server of a configuration.
func (c configured) server(t testing.TB) *caddyhttp.Server {
	t.Helper()
	if len(c.http.Servers) != 1 {
		t.Fatalf("%d servers, want 1", len(c.http.Servers))
	}
	for _, s := range c.http.Servers {
		return s
	}
	return nil
}

// portalWith is a Caddyfile with options of its server and of its rollcall block.
func portalWith(server, options string) string {
	return "{\n\tservers {\n" + server + "\n\t}\n}\nhttp://portal.example.com {\n\trollcall {\n" + options + "\n\t}\n}"
}

const strictProxies = "trusted_proxies static 10.0.0.0/8 fd00::/8\ntrusted_proxies_strict"

func TestAPIFrom(t *testing.T) {
	unix := &net.UnixAddr{Name: "/run/caddy.sock", Net: "unix"}
	for _, test := range []struct {
		name, server, ranges, remote string
		local                        net.Addr
		header                       []string
		ok                           bool
		reason                       string // part of the warning
	}{
		{name: "address", ranges: "192.0.2.1", remote: "192.0.2.1:5000", ok: true},
		{name: "another address", ranges: "192.0.2.1", remote: "192.0.2.2:5000"},
		{name: "range", ranges: "203.0.113.7 192.0.2.77/24", remote: "192.0.2.1:5000", ok: true},
		{name: "IPv6", ranges: "2001:db8::/32", remote: "[2001:db8::1]:5000", ok: true},
		{name: "other IPv6", ranges: "2001:db8::/32", remote: "[2001:db9::1]:5000"},
		{name: "IPv6 with a zone", ranges: "fe80::/10", remote: "[fe80::1%eth0]:5000", ok: true},
		{name: "mapped client", ranges: "192.0.2.0/24", remote: "[::ffff:192.0.2.1]:5000", ok: true},
		{name: "mapped range", ranges: "::ffff:192.0.2.0/120", remote: "192.0.2.1:5000", ok: true},
		{name: "mapped address", ranges: "::ffff:192.0.2.1", remote: "[::ffff:192.0.2.1]:5000", ok: true},
		{name: "IPv4 is not in ::/0", ranges: "::/0", remote: "192.0.2.1:5000"},
		{name: "private", ranges: "private_ranges", remote: "172.16.0.1:5000", ok: true},
		{name: "private IPv6", ranges: "192.0.2.1 private_ranges", remote: "[fd00::1]:5000", ok: true},
		{name: "public", ranges: "private_ranges", remote: "192.0.2.1:5000"},
		{name: "no address", ranges: "0.0.0.0/0 ::/0", remote: "pipe"},

		{name: "unix socket", ranges: "private_ranges", remote: "@", local: unix, ok: true},
		{name: "unix socket by IPv6 loopback", ranges: "::1", remote: "@", local: unix, ok: true},
		{name: "unix socket of a client with a name", ranges: "127.0.0.1", remote: "/run/client.sock", local: unix, ok: true},
		{name: "unix socket without loopback", ranges: "10.0.0.0/8", remote: "@", local: unix},
		{name: "header by a unix socket", ranges: "private_ranges", remote: "@", local: unix, header: []string{"X-Forwarded-For", "127.0.0.1"}, reason: "X-Forwarded-For"},
		{name: "header by a trusted unix socket", server: "trusted_proxies_unix\ntrusted_proxies_strict", ranges: "192.0.2.1", remote: "@", local: unix, header: []string{"X-Forwarded-For", "192.0.2.1"}, ok: true},
		{name: "public header by a trusted unix socket", server: "trusted_proxies_unix\ntrusted_proxies_strict", ranges: "private_ranges", remote: "@", local: unix, header: []string{"X-Forwarded-For", "10.0.0.1, 192.0.2.1"}},
		{name: "trusted unix socket alone", server: "trusted_proxies_unix\ntrusted_proxies_strict", ranges: "private_ranges", remote: "@", local: unix, ok: true},

		{name: "proxy that is not named", ranges: "private_ranges", remote: "10.0.0.1:5000", header: []string{"X-Forwarded-For", "192.0.2.1"}, reason: "X-Forwarded-For"},
		{name: "claim of a client", ranges: "private_ranges", remote: "192.0.2.1:5000", header: []string{"X-Forwarded-For", "10.0.0.1"}, reason: "X-Forwarded-For"},
		{name: "empty claim", ranges: "private_ranges", remote: "10.0.0.1:5000", header: []string{"X-Forwarded-For", ""}, reason: "X-Forwarded-For"},
		{name: "claim beside trusted proxies", server: strictProxies, ranges: "192.0.2.0/24", remote: "192.0.2.1:5000", header: []string{"X-Forwarded-For", "192.0.2.2"}, reason: "X-Forwarded-For"},
		{name: "claim by another header", server: strictProxies + "\nclient_ip_headers Cf-Connecting-Ip X-Real-Ip", ranges: "192.0.2.0/24", remote: "192.0.2.1:5000", header: []string{"X-Real-Ip", "192.0.2.2"}, reason: "X-Real-Ip"},
		{name: "a header that does not matter", server: "client_ip_headers X-Real-Ip", ranges: "192.0.2.0/24", remote: "192.0.2.1:5000", header: []string{"X-Forwarded-For", "192.0.2.2"}, ok: true},
		{name: "trusted proxy", server: strictProxies, ranges: "192.0.2.0/24", remote: "10.0.0.1:5000", header: []string{"X-Forwarded-For", "192.0.2.2"}, ok: true},
		{name: "other client of a trusted proxy", server: strictProxies, ranges: "192.0.2.0/24", remote: "[fd00::1]:5000", header: []string{"X-Forwarded-For", "192.0.2.2, 203.0.113.1"}},
		{name: "client that a trusted proxy does not believe", server: strictProxies, ranges: "private_ranges", remote: "10.0.0.1:5000", header: []string{"X-Forwarded-For", "172.16.0.1, 203.0.113.1, 10.0.0.2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := mustLoad(t, portalWith(test.server, "api_key k\napi_from "+test.ranges))
			h := c.handler(t)
			core, logs := observer.New(zapcore.WarnLevel)
			h.rollcall.Site.Logger = zap.New(core)
			ask := func(path, key string) *httptest.ResponseRecorder {
				r := httptest.NewRequest(http.MethodPost, "http://portal.example.com/message/"+path, nil)
				r.Header.Set("X-Api-Key", key)
				for i := 0; i < len(test.header); i += 2 {
					r.Header.Set(test.header[i], test.header[i+1])
				}
				r.RemoteAddr = test.remote
				if test.local != nil {
					r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, test.local))
				}
				w := httptest.NewRecorder()
				if err := h.ServeHTTP(w, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, c.server(t)), notFound); err != nil {
					t.Fatal(err)
				}
				return w
			}
			for range 3 {
				if w := ask("users", "k"); test.ok {
					if w.Code != http.StatusOK {
						t.Errorf("status %d with %s", w.Code, w.Body)
					}
				} else {
					checkProblem(t, w, http.StatusForbidden, "bad_address")
				}
			}
			if !test.ok { // the key is not checked
				for range maxGuesses + 1 {
					checkProblem(t, ask("adduser", "wrong"), http.StatusForbidden, "bad_address")
				}
			}
			entries := logs.All()
			switch {
			case test.reason == "" && len(entries) > 0:
				t.Errorf("the log has %q", entries[0].Message)
			case test.reason != "" && len(entries) != 1:
				t.Errorf("%d lines in the log, want 1", len(entries))
			case test.reason != "" && (!strings.Contains(entries[0].Message, "trusted_proxies") ||
				!strings.Contains(fmt.Sprint(entries[0].ContextMap()["reason"]), test.reason)):
				t.Errorf("the log has %q with %v", entries[0].Message, entries[0].ContextMap())
			}
		})
	}
}

func TestAPIFromConcernsEveryEndpoint(t *testing.T) {
	h := loadHandler(t, "api_key off\napi_from 192.0.2.1")
	for _, endpoint := range []string{"users", "allusers", "channels", "sendmessage", "adduser", "removeuser", "online", "disconnect", "leave"} {
		for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodOptions} {
			r := httptest.NewRequest(method, "http://portal.example.com/message/"+endpoint, nil)
			checkProblem(t, serve(t, h, r), http.StatusForbidden, "bad_address")
		}
	}
	if w := serve(t, h, httptest.NewRequest(http.MethodGet, "http://portal.example.com/message/client.js", nil)); w.Code != http.StatusOK {
		t.Errorf("client.js: status %d", w.Code)
	}
	r := httptest.NewRequest(http.MethodGet, "http://portal.example.com/message/socket", nil)
	checkProblem(t, serve(t, h, r), http.StatusUpgradeRequired, "bad_handshake")
}

func TestAPIFromRefusesClientsThatChooseTheirAddress(t *testing.T) {
	t.Setenv("ROLLCALL_TEST_RANGES", "192.0.2.0/24\tprivate_ranges")
	t.Setenv("ROLLCALL_TEST_BLANK", " ")
	const chosen = "add trusted_proxies_strict"
	for _, test := range []struct{ name, server, options, want string }{
		{"trusted_proxies", "trusted_proxies static private_ranges", "api_from private_ranges", chosen},
		{"trusted_proxies of no range", "trusted_proxies static", "api_from private_ranges", chosen},
		{"trusted_proxies_unix", "trusted_proxies_unix", "api_from private_ranges", chosen},
		{"strict", "trusted_proxies static private_ranges\ntrusted_proxies_strict", "api_from private_ranges", ""},
		{"not strict, without api_from", "trusted_proxies static private_ranges", "", ""},
		{"from the environment", "", "api_from {env.ROLLCALL_TEST_RANGES}", ""},
		{"a variable that is not set", "", "api_from 192.0.2.1 {env.ROLLCALL_TEST_UNSET}", "is empty: is its environment variable set?"},
		{"a variable that is blank", "", "api_from {env.ROLLCALL_TEST_BLANK}", "api_from has no address"},
		{"an unknown placeholder", "", "api_from {client_ip}", "which only a request has"},
		{"a host name", "", "api_from localhost", `"localhost" is not an address`},
		{"a misspelt word", "", "api_from private_range", `"private_range" is not an address`},
		{"a word too long", "", "api_from private_ranges2", `"private_ranges2" is not an address`},
		{"a port", "", "api_from 192.0.2.1:80", `"192.0.2.1:80" is not an address`},
		{"too many bits", "", "api_from 192.0.2.1/33", `"192.0.2.1/33" is not an address`},
		{"a mapped range of IPv6", "", "api_from ::ffff:0:0/90", `"::ffff:0:0/90" is not an address`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(t, portalWith(test.server, "api_key k\n"+test.options))
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("the error is %v, want one with %q", err, test.want)
			}
		})
	}
}

// An empty list in JSON is not an absent list, which opens the endpoints to every address.
func TestAPIFromRefusesAnEmptyList(t *testing.T) {
	ctx := newContext(t, "{\n}", "")
	_, err := ctx.LoadModuleByID("http.handlers.rollcall", json.RawMessage(`{"api_key":["k"],"api_from":[]}`))
	if err == nil || !strings.Contains(err.Error(), "api_from has no address") {
		t.Errorf("the error is %v", err)
	}
}

// If Caddy's server no longer reports whether it is strict, no address is trusted.
func TestAPIFromFailsClosed(t *testing.T) {
	c := mustLoad(t, portalWith(strictProxies, "api_key k\napi_from 192.0.2.1"))
	server := c.server(t)
	server.TrustedProxiesStrict = 0
	r := httptest.NewRequest(http.MethodPost, "http://portal.example.com/message/users", nil)
	r.RemoteAddr = "10.0.0.1:5000"
	r.Header.Set("X-Forwarded-For", "192.0.2.1")
	r.Header.Set("X-Api-Key", "k")
	w := httptest.NewRecorder()
	if err := c.handler(t).ServeHTTP(w, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, server), notFound); err != nil {
		t.Fatal(err)
	}
	checkProblem(t, w, http.StatusForbidden, "bad_address")
}

// A request by 0-RTT can come from any address, and be repeated. A proxy marks it with a header.
func TestEndpointWaitsForTheHandshake(t *testing.T) {
	for _, test := range []struct {
		options string
		here    bool // the handshake with this server is incomplete
		header  string
	}{
		{"api_key k", true, ""},
		{"api_key k\napi_from 192.0.2.1", true, ""},
		{"api_key k", false, "1"},
		{"api_key k\napi_from 192.0.2.1", false, "1"},
	} {
		h := loadHandler(t, test.options)
		r := httptest.NewRequest(http.MethodPost, "https://portal.example.com/message/users", nil)
		r.TLS = &tls.ConnectionState{HandshakeComplete: !test.here}
		r.Header.Set("X-Api-Key", "k")
		if test.header != "" {
			r.Header.Set("Early-Data", test.header)
		}
		w := httptest.NewRecorder()
		r = prepare(w, r)
		caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, "192.0.2.1")
		if err := h.ServeHTTP(w, r, notFound); err != nil {
			t.Fatal(err)
		}
		checkProblem(t, w, http.StatusTooEarly, "too_early")
	}
}

func TestTrustedProxiesWithoutStrictAreLogged(t *testing.T) {
	const message = "trusted_proxies without trusted_proxies_strict"
	for _, test := range []struct {
		name, server string
		lines        int
	}{
		{"none", "", 0},
		{"strict", "trusted_proxies static private_ranges\ntrusted_proxies_strict", 0},
		{"not strict", "trusted_proxies static private_ranges", 1},
		{"unix sockets", "trusted_proxies_unix", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			logFile := filepath.Join(t.TempDir(), "log")
			ctx := newContext(t, portalWith(test.server, "api_key k")+"\nhttp://other.example.com {\n\trollcall {\n\t\tapi_key k\n\t}\n}", logFile)
			if _, err := ctx.App("http"); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(logFile)
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if n := strings.Count(string(text), message); n != test.lines {
				t.Errorf("%d lines, want %d", n, test.lines)
			}
		})
	}
}

// FuzzAPIFrom checks that an accepted option is a list of ranges that can have Caddy's client
// addresses.
func FuzzAPIFrom(f *testing.F) {
	for _, text := range []string{"192.0.2.1", "10.0.0.0/8 private_ranges", "::ffff:10.0.0.0/104", "fe80::1%eth0", "::/0", "1/2", "private_ranges2"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ranges, err := parseAPIFrom([]string{text})
		if err != nil {
			return
		}
		for _, p := range ranges {
			if !p.IsValid() || p.Addr().Is4In6() || !p.Contains(p.Masked().Addr()) {
				t.Errorf("%q has the range %v", text, p)
			}
		}
	})
}
