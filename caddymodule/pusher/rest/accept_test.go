package rest

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
)

const hello = `{"name":"hello","channels":["news"],"data":"{}"}`

// TestSignedRequests is T13 and T27: whose requests are accepted.
func TestSignedRequests(t *testing.T) {
	set := func(name, value string) func(url.Values) { return func(v url.Values) { v.Set(name, value) } }
	unset := func(name string) func(url.Values) { return func(v url.Values) { v.Del(name) } }
	for name, test := range map[string]struct {
		query
		status int
		part   string // of the error
	}{
		"good":                    {query: query{}},
		"second key":              {query: query{key: "second", secret: "second-secret-of-3"}},
		"almost too old":          {query: query{time: -599 * time.Second}},
		"too old":                 {query: query{time: -602 * time.Second}, status: 401, part: "compare the clocks"},
		"almost too new":          {query: query{time: 599 * time.Second}},
		"too new":                 {query: query{time: 602 * time.Second}, status: 401, part: "compare the clocks"},
		"no time":                 {query: query{change: unset("auth_timestamp")}, status: 401, part: "auth_timestamp"},
		"time with a fraction":    {query: query{change: set("auth_timestamp", "1.5")}, status: 401, part: "auth_timestamp"},
		"no MD5":                  {query: query{change: unset("body_md5")}, status: 401, part: "body_md5 is missing"},
		"wrong MD5":               {query: query{change: set("body_md5", strings.Repeat("0", 32))}, status: 401, part: "body_md5 is not"},
		"another version":         {query: query{change: set("auth_version", "2.0")}, status: 401, part: "auth_version must be 1.0"},
		"no key":                  {query: query{change: unset("auth_key")}, status: 401, part: "auth_key is missing"},
		"unknown key":             {query: query{key: "x", secret: testSecret}, status: 401, part: "not a key of this app"},
		"key of another app":      {query: query{key: "key-4", secret: "secret-of-app-four"}, status: 401, part: "not a key of this app"},
		"wrong secret":            {query: query{key: testKey, secret: "second-secret-of-3"}, status: 401, part: `POST\n/apps/3/events\nauth_key=` + testKey},
		"no signature":            {query: query{change: set("auth_signature", "")}, status: 401, part: "wrong auth_signature"},
		"changed after signing":   {query: query{after: func(r *http.Request) { r.URL.RawQuery += "&info=user_count" }}, status: 401, part: "wrong auth_signature"},
		"other parameters":        {query: query{params: "q=a+b%2Cc"}},
		"a parameter twice":       {query: query{params: "a[]=1&a[]=2"}},
		"a name in capitals":      {query: query{params: "Info=1"}},
		"a query without meaning": {query: query{after: func(r *http.Request) { r.URL.RawQuery = "%zz" }}, status: 401, part: "URL-encoded"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPod(t)
			test.method, test.path, test.body = "POST", "/apps/3/events", hello
			w := p.do(test.request())
			if test.status == 0 {
				want(t, w, 200, `{}`)
				return
			}
			wantError(t, w, test.status, test.part)
			if w.Header().Get("WWW-Authenticate") == "" || len(p.sent) > 0 {
				t.Errorf("headers %v, %d events", w.Header(), len(p.sent))
			}
		})
	}
}

// Libraries sign paths that HTTP clients escape, and the MD5 of nothing.
func TestSignedPaths(t *testing.T) {
	p := newPod(t)
	p.site.Pusher.Path = "/pusher"
	for name, test := range map[string]struct{ signed, sent, received string }{
		"as sent":                {"/apps/3/users/a%20b/terminate_connections", "/apps/3/users/a%20b/terminate_connections", ""},
		"unescaped":              {"/apps/3/users/a b/terminate_connections", "/apps/3/users/a%20b/terminate_connections", ""},
		"without the prefix":     {"/apps/3/connections", "/apps/3/connections", "/pusher/apps/3/connections"},
		"with the prefix":        {"/pusher/apps/3/connections", "/apps/3/connections", "/pusher/apps/3/connections"},
		"before another handler": {"/other/apps/3/connections", "/apps/3/connections", "/other/apps/3/connections"},
		"behind another handler": {"/apps/3/connections", "/apps/3/connections", "/other/apps/3/connections"},
	} {
		t.Run(name, func(t *testing.T) {
			method := "GET"
			if strings.Contains(test.sent, "terminate") {
				method = "POST"
			}
			p.Received = func(r *http.Request) *url.URL {
				u := *r.URL
				if test.received != "" {
					u.Path = test.received
				}
				return &u
			}
			if w := p.do(query{method: method, path: test.signed, sent: test.sent}.request()); w.Code != 200 {
				t.Errorf("status %d: %s", w.Code, w.Body)
			}
		})
	}
	if calls := p.called(); len(calls) != 2 || calls[0] != portal+` "" [a b] signed in: true` {
		t.Errorf("calls %q", calls)
	}
}

// TestOrderOfChecks takes the reasons of a refusal away one by one.
func TestOrderOfChecks(t *testing.T) {
	p := newPod(t)
	r := query{method: "GET", path: "/apps/9/event", body: strings.Repeat("x", maxBody+1), change: func(v url.Values) { v.Set("body_md5", "0") }}
	for _, step := range []struct {
		change func(*query)
		status int
		part   string
	}{
		{func(*query) {}, 404, "no such endpoint"},
		{func(q *query) { q.path = "/apps/9/events" }, 405, "use POST"},
		{func(q *query) { q.method = "POST" }, 413, "over 264 KiB"},
		{func(q *query) { q.body = "{}" }, 404, "no app with this id"},
		{func(q *query) { q.path = "/apps/3/events"; q.key, q.time = "key-4", time.Hour }, 401, "auth_key"},
		{func(q *query) { q.key, q.secret = testKey, "wrong" }, 401, "auth_timestamp"},
		{func(q *query) { q.time = 0 }, 401, "auth_signature"},
		{func(q *query) { q.secret = testSecret }, 401, "body_md5"},
		{func(q *query) { q.change = nil }, 400, "name is missing"},
	} {
		step.change(&r)
		w := p.do(r.request())
		wantError(t, w, step.status, step.part)
		if allow := w.Header().Get("Allow"); (allow == "POST") != (step.status == 405) {
			t.Errorf("Allow %q with status %d", allow, step.status)
		}
	}
}

func TestRefusedRequests(t *testing.T) {
	for name, test := range map[string]struct {
		pod    func(*pod)
		after  func(*http.Request)
		status int
		part   string
		retry  string
	}{
		"address":      {pod: func(p *pod) { p.door.refused = &problem.Problem{Status: 403, Detail: "not from here"} }, status: 403, part: "not from here"},
		"draining":     {pod: func(p *pod) { p.draining = true }, status: 503, part: "stopping", retry: "1"},
		"early data":   {after: func(r *http.Request) { r.TLS = new(tls.ConnectionState) }, status: 425, part: "handshake"},
		"early proxy":  {after: func(r *http.Request) { r.Header.Set("Early-Data", "1") }, status: 425, part: "handshake"},
		"compressed":   {after: func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, status: 415, part: "uncompressed"},
		"no host":      {after: func(r *http.Request) { r.Host = "a b" }, status: 400, part: "Host"},
		"another host": {after: func(r *http.Request) { r.Host = "x.example.com" }, status: 421, part: "not served here"},
		"no apps":      {pod: func(p *pod) { p.site.Pusher = nil }, status: 404, part: "no app"},
		"no length": {after: func(r *http.Request) {
			r.ContentLength, r.Body = -1, http.NoBody
		}, status: 401, part: "body_md5 is not"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPod(t)
			if test.pod != nil {
				test.pod(p)
			}
			w := p.do(query{method: "POST", path: "/apps/3/events", body: hello, after: test.after}.request())
			wantError(t, w, test.status, test.part)
			if got := w.Header().Get("Retry-After"); got != test.retry {
				t.Errorf("Retry-After %q", got)
			}
			if len(p.sent) > 0 {
				t.Error("the event was sent")
			}
		})
	}
}

// Ten wrong signatures from an address in a minute are enough, for each app.
func TestBadSignaturesAreCounted(t *testing.T) {
	p := newPod(t)
	ask := func(q query) *httptest.ResponseRecorder {
		q.method, q.body = "POST", hello
		return p.do(q.request())
	}
	for range 20 { // no attempts to guess
		wantError(t, ask(query{path: "/apps/3/events", time: time.Hour}), 401, "auth_timestamp")
		wantError(t, ask(query{path: "/apps/3/events", change: func(v url.Values) { v.Del("auth_key") }}), 401, "auth_key is missing")
		wantError(t, ask(query{path: "/apps/8/events"}), 404, "no app")
	}
	for i := range 10 {
		if i%2 == 0 {
			wantError(t, ask(query{path: "/apps/3/events", key: "guess", secret: "x"}), 401, "auth_key")
		} else {
			wantError(t, ask(query{path: "/apps/3/events", key: testKey, secret: "x"}), 401, "auth_signature")
		}
	}
	w := ask(query{path: "/apps/3/events"})
	wantError(t, w, 429, "too many wrong keys")
	if w.Header().Get("Retry-After") != "60" {
		t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
	}
	want(t, ask(query{path: "/apps/4/events", key: "key-4", secret: "secret-of-app-four"}), 200, `{}`)
	p.door.client = p.door.client.Masked()
	if got := p.observed[len(p.observed)-1]; got != "apps/events 200" {
		t.Errorf("observed %q", got)
	}
}

func TestRoutes(t *testing.T) {
	for tail, want := range map[string]string{
		"events": "events", "batch_events": "batch_events", "channels": "channels", "channels/a": "channel a", "channels/a/users": "users a",
		"users/a%2Fb/terminate_connections": "terminate_connections a/b", "connections": "connections", "channels/users": "channel users",
		"": "", "events/": "", "channels/": "", "channels//users": "", "channels/%zz": "", "users/a": "", "users/a/b/terminate_connections": "", "Events": "",
	} {
		e, args := route(tail)
		got := ""
		if e != nil {
			got = strings.Join(append([]string{e.name}, args...), " ")
		}
		if got != want {
			t.Errorf("%q leads to %q, want %q", tail, got, want)
		}
	}
}
