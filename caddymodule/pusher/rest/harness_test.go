package rest

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/api"
	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

const (
	testKey    = "278d425bdf160c739803"
	testSecret = "7ad3773142a6692b25b8"
	portal     = "portal.example.com"
	tenant     = "tenant-b.example.com"
)

// door leads to the sites of some hosts.
type door struct {
	sites   map[string]*site.Site
	refused *problem.Problem // for every address
	client  netip.Prefix
}

func (d *door) Owner(host presence.HostName) (*site.Site, *problem.Problem) {
	if s := d.sites[host.String()]; s != nil {
		return s, nil
	}
	return nil, problem.Misdirected()
}

func (d *door) Other(_ *http.Request, _ *site.Site, host presence.HostName) (*site.Site, *problem.Problem) {
	return d.Owner(host)
}
func (d *door) Client(*http.Request) netip.Prefix           { return d.client }
func (d *door) CheckAddress(*http.Request) *problem.Problem { return d.refused }

// pod is a pod with the API, and with others if it has a cluster.
type pod struct {
	*Server
	registry *presence.Registry
	others   *cluster.Cluster
	door     *door
	site     *site.Site
	sent     []error
	mu       sync.Mutex
	calls    []string // disconnects; guarded by mu
	draining bool
	observed []string
}

// newPod returns a pod that is alone, with a site of two hosts and three apps: 3 and 4 of a tenant,
// and 5.
func newPod(t testing.TB) *pod {
	t.Helper()
	c := app.Defaults()
	key := func(name, secret string) []app.Key { return []app.Key{{Key: name, Secret: []byte(secret)}} }
	c.Apps = []app.App{
		{ID: "3", Keys: append(key(testKey, testSecret), key("second", "second-secret-of-3")...)},
		{ID: "4", Keys: key("key-4", "secret-of-app-four"), Host: testkit.MustHost(t, tenant)},
		{ID: "a b", Keys: key("key-5", "secret-of-app-five")},
	}
	p := &pod{registry: presence.NewRegistry(wire.Encoder{})}
	p.site = &site.Site{Pusher: &c, DataCenter: "x", Logger: zap.NewNop()}
	p.site.Patterns = presence.Patterns{Signed: true, Default: presence.Anonymous}
	p.site.MakeRules()
	p.door = &door{sites: map[string]*site.Site{portal: p.site, tenant: p.site}, client: netip.MustParsePrefix("192.0.2.1/32")}
	p.Server = New(Config{
		Registry: p.registry, Local: p,
		PodsToAsk: func(*site.Site) (Pods, cluster.Truth) {
			if p.others == nil {
				return nil, cluster.Truth{Complete: true}
			}
			return p.others, cluster.Truth{}
		},
		CheckSend: func(*site.Site) error { return nil },
		Sent:      func(_ presence.HostName, err error) { p.sent = append(p.sent, err) },
		Draining:  func() bool { return p.draining },
		BadKey:    api.NewBadKeys().Try,
		Observe: func(endpoint string, status int, _ time.Time) {
			p.observed = append(p.observed, endpoint+" "+strconv.Itoa(status))
		},
		Received: func(r *http.Request) *url.URL { return r.URL },
	})
	return p
}

// called returns the disconnects so far.
func (p *pod) called() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

// Disconnect implements Local.
func (p *pod) Disconnect(host presence.HostName, channel string, call *cluster.Call) int {
	text := fmt.Sprintf("%s %q %v signed in: %v", host, channel, call.Users, call.SignedIn)
	if call.Members {
		text += " members"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, text)
	return 1
}

// query is a request that is not signed yet.
type query struct {
	method, path string // path is what is signed
	sent         string // path that is sent; "": path
	params       string // beside those of the signature
	body         string
	key, secret  string              // default: those of app 3
	time         time.Duration       // of the signature, from now
	change       func(url.Values)    // before it is signed
	after        func(*http.Request) // after it is signed
}

// request signs a query.
func (q query) request() *http.Request {
	if q.key == "" {
		q.key, q.secret = testKey, testSecret
	}
	values, err := url.ParseQuery(q.params)
	if err != nil {
		panic(err)
	}
	values.Set("auth_key", q.key)
	values.Set("auth_version", "1.0")
	values.Set("auth_timestamp", strconv.FormatInt(time.Now().Add(q.time).Unix(), 10))
	if q.body != "" {
		sum := md5.Sum([]byte(q.body))
		values.Set("body_md5", hex.EncodeToString(sum[:]))
	}
	if q.change != nil {
		q.change(values)
	}
	if !values.Has("auth_signature") {
		values.Set("auth_signature", sign(q.secret, q.method, q.path, values))
	}
	if q.sent == "" {
		q.sent = q.path
	}
	r := httptest.NewRequest(q.method, "http://"+portal+q.sent+"?"+values.Encode(), strings.NewReader(q.body))
	r.Header.Set("Content-Type", "application/json")
	if q.after != nil {
		q.after(r)
	}
	return r
}

// sign is the signature of the protocol, as a library makes it.
func sign(secret, method, path string, values url.Values) string {
	var pairs []string
	for name, list := range values {
		if name != "auth_signature" {
			pairs = append(pairs, strings.ToLower(strings.TrimSuffix(name, "[]"))+"="+strings.Join(list, ","))
		}
	}
	slices.Sort(pairs)
	k := app.Key{Secret: []byte(secret)}
	return k.Sign([]byte(method + "\n" + path + "\n" + strings.Join(pairs, "&")))
}

// do answers a request below /apps/.
func (p *pod) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	rest := strings.TrimPrefix(r.URL.EscapedPath(), "/apps/")
	id, tail, _ := strings.Cut(rest, "/")
	p.Serve(w, r, id, tail, p.door)
	return w
}

func (p *pod) get(pathAndParams string) *httptest.ResponseRecorder {
	path, params, _ := strings.Cut(pathAndParams, "?")
	return p.do(query{method: "GET", path: "/apps/3/" + path, params: params}.request())
}

func (p *pod) post(path, body string) *httptest.ResponseRecorder {
	return p.do(query{method: "POST", path: "/apps/3/" + path, body: body}.request())
}

// arrive connects a user, "" for nobody, who joins channels by proof. Its ID is that of the socket.
func (p *pod) arrive(t testing.TB, user, socket string, channels ...string) (*presence.Conn, *testkit.Ear) {
	t.Helper()
	return p.arriveAt(t, portal, user, socket, channels...)
}

func (p *pod) arriveAt(t testing.TB, host, user, socket string, channels ...string) (*presence.Conn, *testkit.Ear) {
	t.Helper()
	id, err := app.ParseSocketID(socket)
	if err != nil {
		t.Fatal(err)
	}
	var as *presence.User
	if user != "" {
		as = &presence.User{ID: user}
	}
	ear := new(testkit.Ear)
	c, err := p.registry.ConnectAs(app.ConnID(id), testkit.MustHost(t, host), p.site, as, ear)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for _, name := range channels {
		if err := c.Enter(name, presence.Entry{Proof: true}); err != nil {
			t.Fatalf("%s: %s", name, err)
		}
	}
	return c, ear
}

// want checks an answer.
func want(t testing.TB, w *httptest.ResponseRecorder, status int, body string) {
	t.Helper()
	if w.Code != status || w.Body.String() != body {
		t.Errorf("status %d: %s\nwant %d: %s", w.Code, w.Body, status, body)
	}
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	if status == http.StatusOK && w.Header().Get("Rollcall-Complete") != "true" {
		t.Errorf("Rollcall-Complete %q", w.Header().Get("Rollcall-Complete"))
	}
}

// wantError checks an answer that is an error whose text has a part.
func wantError(t testing.TB, w *httptest.ResponseRecorder, status int, part string) {
	t.Helper()
	body := w.Body.String()
	if w.Code != status || !strings.HasPrefix(body, `{"error":"`) || !strings.HasSuffix(body, fmt.Sprintf(`","code":%d}`, status)) || !strings.Contains(body, part) {
		t.Errorf("status %d: %s\nwant %d with %q", w.Code, body, status, part)
	}
}
