package caddymodule

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// siteWithKey is a Caddyfile with one site.
func siteWithKey(host, key string) string {
	return "http://" + host + " {\n\trollcall {\n\t\tapi_key " + key + "\n\t}\n}"
}

// replaced puts a configuration into effect and then replaces it, and returns the handler of the
// first.
func replaced(t *testing.T, before, after string) (old *Handler, swap func()) {
	t.Helper()
	first, second := mustLoad(t, before), mustLoad(t, after)
	h := first.app.hub
	a, b := first.snapshot(), second.snapshot()
	h.Offer(a)
	return first.handler(t), func() { h.Offer(b); h.TakeBack(a) }
}

// HTTP leaves a connection that came just before a reload to the old server. Its handler must use
// the new configuration.
func TestReplacedHandlerAnswersByTheConfigurationInEffect(t *testing.T) {
	old, swap := replaced(t, siteWithKey("portal.example.com", "before"), siteWithKey("portal.example.com", "after"))
	if w := post(t, old, "/message/users", `{"apiKey":"before"}`); w.Code != http.StatusOK || w.Header().Get("Connection") != "" {
		t.Errorf("before: status %d, Connection %q", w.Code, w.Header().Get("Connection"))
	}
	swap()
	checkProblem(t, post(t, old, "/message/users", `{"apiKey":"before"}`), http.StatusUnauthorized, "bad_key")
	for _, endpoint := range []string{"users", "allusers"} {
		w := post(t, old, "/message/"+endpoint, `{"apiKey":"after"}`)
		if w.Code != http.StatusOK || w.Header().Get("Connection") != "close" {
			t.Errorf("%s: status %d, Connection %q", endpoint, w.Code, w.Header().Get("Connection"))
		}
	}
	r := httptest.NewRequest(http.MethodPost, "http://portal.example.com/message/users", strings.NewReader(`{"apiKey":"after"}`))
	r.ProtoMajor, r.Proto = 3, "HTTP/3.0"
	if w := serve(t, old, r); w.Code != http.StatusOK || w.Header().Get("Connection") != "" {
		t.Errorf("by HTTP/3: status %d, Connection %q, which HTTP/3 does not allow", w.Code, w.Header().Get("Connection"))
	}
}

// A leaked key can be the reason for api_from. A request may wait in an earlier handler, or for its
// body.
func TestReplacedHandlerChecksTheAddressByTheConfigurationInEffect(t *testing.T) {
	at := func(address, options string) string {
		return "http://portal.example.com" + address + " {\n\trollcall {\n\t\tapi_key k\n" + options + "\n\t}\n}\n"
	}
	const its, others = "api_from 192.0.2.1", "api_from 192.0.2.2"
	for _, test := range []struct {
		name, before, after  string
		waiting, withItsBody int
	}{
		{"api_from is new", at("", ""), at("", others), http.StatusForbidden, http.StatusForbidden},
		{"api_from is another", at("", its), at("", others), http.StatusForbidden, http.StatusForbidden},
		{"api_from has the address", at("", ""), at("", its), http.StatusOK, http.StatusOK},
		{"api_from has the address now", at("", others), at("", its), http.StatusOK, http.StatusForbidden},
		{"api_from is gone", at("", its), at("", ""), http.StatusOK, http.StatusOK},
		{"another listener takes all", at("", ""), at("", others) + at(":8081", ""), http.StatusForbidden, http.StatusForbidden},
		{"another listener takes none", at("", ""), at("", "") + at(":8081", others), http.StatusOK, http.StatusOK},
		{"no such listener", at("", ""), at(":8081", others), http.StatusServiceUnavailable, http.StatusServiceUnavailable},
		{"no such listener and no api_from", at("", ""), at(":8081", ""), http.StatusOK, http.StatusOK},
		{
			"another prefix takes all", at("", ""), at("", others+"\n}\nrollcall {\napi_key k\nprefix /open"),
			http.StatusForbidden, http.StatusForbidden,
		},
		{
			"two doors", at("", ""), at("", others+"\n}\nhandle_path /in/* {\nrollcall {\napi_key k\n}\n"),
			http.StatusServiceUnavailable, http.StatusServiceUnavailable,
		},
	} {
		for wait, want := range map[string]int{"waiting": test.waiting, "with its body": test.withItsBody} {
			t.Run(test.name+", "+wait, func(t *testing.T) {
				old, swap := replaced(t, test.before, test.after)
				body := &slowReader{strings.NewReader(`{"apiKey":"k"}`), swap}
				if wait == "waiting" {
					body.before = nil
					swap()
				}
				if w := askFrom(t, old, "192.0.2.1", "portal.example.com", body); w.Code != want {
					t.Errorf("status %d, want %d: %s", w.Code, want, w.Body)
				}
			})
		}
	}
}

// A configuration can get requests before it is in effect. For hosts that the one in effect does
// not have, its own api_from applies.
func TestNewHandlerChecksTheAddressBeforeItIsInEffect(t *testing.T) {
	for _, host := range []string{"portal.example.com", "other.example.com"} {
		t.Run(host, func(t *testing.T) {
			first := mustLoad(t, siteWithKey("other.example.com", "k"))
			second := mustLoad(t, "http://"+host+" {\n\trollcall {\n\t\tapi_key k\n\t\tapi_from 192.0.2.2\n\t}\n}")
			first.app.hub.Offer(first.snapshot())
			second.app.hub.Offer(second.snapshot())
			w := askFrom(t, second.handler(t), "192.0.2.1", host, strings.NewReader(`{"apiKey":"k"}`))
			checkProblem(t, w, http.StatusForbidden, "bad_address")
		})
	}
}

func TestReplacedHandlerWithoutASiteSendsClientsAway(t *testing.T) {
	old, swap := replaced(t, siteWithKey("portal.example.com", "k"), siteWithKey("other.example.com", "k"))
	swap()
	w := post(t, old, "/message/users", `{"apiKey":"k"}`)
	checkProblem(t, w, http.StatusServiceUnavailable, "reloaded")
	if w.Header().Get("Connection") != "close" || w.Header().Get("Retry-After") != "1" {
		t.Errorf("Connection %q, Retry-After %q", w.Header().Get("Connection"), w.Header().Get("Retry-After"))
	}
}

func TestReplacedHandlerEndsHTTP2Connections(t *testing.T) {
	old, swap := replaced(t, siteWithKey("127.0.0.1", "before"), siteWithKey("127.0.0.1", "after"))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil)
		if err := old.ServeHTTP(w, r, notFound); err != nil {
			t.Error(err)
		}
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	client := server.Client()
	client.Transport.(*http.Transport).TLSClientConfig.ServerName = "example.com"
	client.Transport.(*http.Transport).TLSClientConfig.MinVersion = tls.VersionTLS12
	ask := func(key string) (status int, reused bool) {
		t.Helper()
		r, err := http.NewRequest(http.MethodPost, server.URL+"/message/users", strings.NewReader(`{"apiKey":"`+key+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused }}
		resp, err := client.Do(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.ProtoMajor != 2 {
			t.Fatalf("%s, error %v", resp.Proto, err)
		}
		return resp.StatusCode, reused
	}
	if status, _ := ask("before"); status != http.StatusOK {
		t.Fatalf("before: status %d", status)
	}
	if status, reused := ask("before"); status != http.StatusOK || !reused {
		t.Fatalf("before: status %d, the connection reused %v", status, reused)
	}
	swap()
	if status, reused := ask("after"); status != http.StatusOK || !reused {
		t.Errorf("by the old connection: status %d, reused %v", status, reused)
	}
	testkit.Eventually(t, "the client comes by a new connection", func() bool {
		status, reused := ask("after")
		if status != http.StatusOK {
			t.Errorf("status %d", status)
		}
		return !reused
	})
}
