package integration

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// A model of host ownership, written from the documentation alone, is compared with Caddy and
// Rollcall in random configurations. It knows how Caddy chooses a route, and only the rule of
// ownership of Rollcall.

const (
	tenantCases   = 10_000
	tenantPerLoad = 25 // requests to one configuration
	tenantNames   = 7
	tenantWrong   = 8 // wrong keys for one site; more would be rate limited
)

// tenantSettings are settings that the handlers of one site share.
type tenantSettings struct {
	key, secret string
	anonymous   bool   // anonymous connections may join the channel "news"
	log         string // file of the configuration
}

// tenantSite is a route with a handler.
type tenantSite struct {
	*tenantSettings
	site   int // handlers with equal numbers are one site, see unite
	server int
	hosts  []string // patterns; nil: every host
	extra  string   // another matcher
	about  string   // host of an extra that matches by host, see lets; other extras always match here
	prefix string
}

// tenantConfig is a configuration, in the order of its routes.
type tenantConfig []*tenantSite

// tenantSerial is the header that names the configuration of an answer. Caddy serves a new
// configuration while it closes the listeners of the previous one, so an answer can come from the
// latter.
const tenantSerial = "X-Serial"

var (
	tenantServers  = []string{"127.0.0.1:9080", "127.0.0.1:9081"}
	tenantPrefixes = []string{"/message", "/chat"}
	tenantPatterns = []string{ // the first tenantNames are exact
		"a.example.com", "b.example.com", "deep.a.example.com", "xn--bcher-kva.example", "localhost", "127.0.0.1", "::1",
		"*.example.com", "*.a.example.com", "*.*.example.com", "*.example",
	}
	// Spellings of a host by clients, and its canonical form.
	tenantSpellings = []struct{ raw, host string }{
		{"a.example.com", "a.example.com"},
		{"A.Example.COM", "a.example.com"},
		{"a.example.com:9080", "a.example.com"},
		{"a.example.com.", "a.example.com"},
		{"a.example.com.:9081", "a.example.com"},
		{"b.example.com", "b.example.com"},
		{"b.example.com.", "b.example.com"},
		{"B.EXAMPLE.com:1", "b.example.com"},
		{"deep.a.example.com", "deep.a.example.com"},
		{"deep.a.example.com.", "deep.a.example.com"},
		{"other.a.example.com", "other.a.example.com"},
		{"other.example.com", "other.example.com"},
		{"other.example.com.", "other.example.com"},
		{"elsewhere.test", "elsewhere.test"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"XN--BCHER-KVA.example", "xn--bcher-kva.example"},
		{"xn--bcher-kva.example.", "xn--bcher-kva.example"},
		{"localhost", "localhost"},
		{"localhost.", "localhost"},
		{"LOCALHOST:9080", "localhost"},
		{"127.0.0.1", "127.0.0.1"},
		{"127.0.0.1.", "127.0.0.1"},
		{"127.0.0.1:9080", "127.0.0.1"},
		{"[::1]", "::1"},
		{"[::1]:9080", "::1"},
		{"[0:0:0:0:0:0:0:1]", "::1"},
		{"[::ffff:127.0.0.1]", "127.0.0.1"},
	}
)

// matches reports whether a pattern matches a host: "*" is one label.
func (s *tenantSite) matches(host string) bool {
	return s.hosts == nil || slices.ContainsFunc(s.hosts, func(p string) bool { return tenantOverlap(p, host) })
}

// tenantOverlap reports whether two patterns share a host. A host is a pattern without "*".
func tenantOverlap(p, q string) bool {
	a, b := strings.Split(p, "."), strings.Split(q, ".")
	return slices.EqualFunc(a, b, func(x, y string) bool { return x == "*" || y == "*" || x == y })
}

// tenantRank returns how specific a pattern is.
func tenantRank(p string) int {
	if !strings.Contains(p, "*") {
		return 1000
	}
	labels := strings.Split(p, ".")
	return 1 + len(labels) - strings.Count(p, "*")
}

// lets reports whether the matcher, which is not a host matcher, matches a name as written, without
// its port.
func (s *tenantSite) lets(name string) bool {
	switch s.extra {
	case "not host":
		return name != s.about
	case "expression host":
		return name == s.about
	}
	return true
}

// rankFor returns how specific the site is for a host; -1 if it does not serve it.
func (s *tenantSite) rankFor(host string) int {
	if s.hosts == nil {
		return 0
	}
	best := -1
	for _, p := range s.hosts {
		if tenantOverlap(p, host) {
			best = max(best, tenantRank(p))
		}
	}
	return best
}

// owner returns a handler of the site that owns a host; nil if no site serves it.
func (c tenantConfig) owner(host string) *tenantSite {
	var owner *tenantSite
	best := -1
	for _, s := range c {
		if rank := s.rankFor(host); rank > best {
			best, owner = rank, s
		}
	}
	return owner
}

// unite numbers the sites: handlers with equal settings are one site if they are equally specific
// for a host.
func (c tenantConfig) unite() {
	for i, s := range c {
		s.site = i
	}
	for i, s := range c {
		for _, other := range c[i+1:] {
			if equal, _ := tenantShare(s, other); equal && s.tenantSettings == other.tenantSettings {
				from, to := other.site, s.site
				for _, member := range c {
					if member.site == from {
						member.site = to
					}
				}
			}
		}
	}
}

// door returns the site that Caddy passes a request to; nil if no route handles it.
func (c tenantConfig) door(server int, raw, prefix string) *tenantSite {
	name := strings.ToLower(tenantPlain(raw))
	for _, s := range c {
		if s.server == server && s.prefix == prefix && s.matches(name) && s.lets(name) {
			return s
		}
	}
	return nil
}

// fails reports whether a configuration must not load: it has two sites for one host, a less
// specific site that gets the owner's requests on a listener, or a site that no request reaches.
func (c tenantConfig) fails() bool {
	for i, s := range c {
		for _, other := range c[i+1:] {
			equal, _ := tenantShare(s, other)
			same, together := s.tenantSettings == other.tenantSettings, s.server == other.server && s.prefix == other.prefix
			switch {
			case equal && !same, together && !same && s.takes(other), together && equal && same && s.hides(other):
				return true
			}
		}
	}
	return false
}

// takes reports whether s gets requests for a host for which the other site is more specific.
func (s *tenantSite) takes(owner *tenantSite) bool {
	for _, q := range owner.hosts {
		for _, p := range s.patterns() {
			if p != "" && (!tenantOverlap(p, q) || tenantRank(p) >= tenantRank(q)) {
				continue
			}
			if s.extra != "not host" || tenantBoth(p, q) != s.about {
				return true
			}
		}
	}
	return false
}

// hides reports whether s gets all requests that the other site could get.
func (s *tenantSite) hides(other *tenantSite) bool {
	if s.extra != "" && s.extra != "path" {
		return false
	}
	return !slices.ContainsFunc(other.patterns(), func(q string) bool {
		return s.hosts != nil && !slices.ContainsFunc(s.hosts, func(p string) bool { return q != "" && tenantOverlap(p, q) && tenantBoth(p, q) == q })
	})
}

// patterns returns the patterns of the hosts; "" for every host.
func (s *tenantSite) patterns() []string {
	if s.hosts == nil {
		return []string{""}
	}
	return s.hosts
}

// tenantBoth returns a pattern for the hosts that two patterns share.
func tenantBoth(p, q string) string {
	if p == "" {
		return q
	}
	labels, others := strings.Split(p, "."), strings.Split(q, ".")
	for i := range labels {
		if labels[i] == "*" {
			labels[i] = others[i]
		}
	}
	return strings.Join(labels, ".")
}

// tenantShare reports whether two sites share hosts by equally specific patterns, and whether by
// others.
func tenantShare(s, other *tenantSite) (equal, nested bool) {
	if s.hosts == nil && other.hosts == nil {
		return true, false
	}
	if s.hosts == nil || other.hosts == nil {
		return false, true
	}
	for _, p := range s.hosts {
		for _, q := range other.hosts {
			if tenantOverlap(p, q) {
				equal = equal || tenantRank(p) == tenantRank(q)
				nested = nested || tenantRank(p) != tenantRank(q)
			}
		}
	}
	return equal, nested
}

// newTenantConfig returns a configuration of 1 to 4 handlers.
func newTenantConfig(r *rand.Rand, serial int) tenantConfig {
	var c tenantConfig
	for i := range 1 + r.IntN(4) {
		s := &tenantSite{
			tenantSettings: &tenantSettings{
				key:    fmt.Sprintf("key-%d-%d-%x", serial, i, r.Uint64()),
				secret: fmt.Sprintf("secret-of-a-site-%d-%d-%016x", serial, i, r.Uint64()), anonymous: r.IntN(2) == 0,
			},
			server: r.IntN(len(tenantServers)), prefix: tenantPrefixes[0],
			extra: []string{"", "", "", "", "path", "not", "expression", "remote_ip", "not host", "expression host"}[r.IntN(10)],
			about: tenantPatterns[r.IntN(tenantNames)],
		}
		if i > 0 && r.IntN(4) == 0 { // a snippet that is imported twice
			s.tenantSettings = c[r.IntN(len(c))].tenantSettings
			s.prefix = tenantPrefixes[r.IntN(2)]
		}
		if r.IntN(4) > 0 {
			for range 1 + r.IntN(2) {
				if p := tenantPatterns[r.IntN(len(tenantPatterns))]; !slices.Contains(s.hosts, p) {
					s.hosts = append(s.hosts, p)
				}
			}
		}
		c = append(c, s)
	}
	if r.IntN(5) > 0 { // sorted like in a Caddyfile
		slices.SortStableFunc(c, func(a, b *tenantSite) int { return tenantBest(b) - tenantBest(a) })
	}
	c.unite()
	return c
}

// tenantBest is the rank of the least specific pattern of a site.
func tenantBest(s *tenantSite) int {
	best := 0
	for i, p := range s.hosts {
		if rank := tenantRank(p); i == 0 || rank < best {
			best = rank
		}
	}
	return best
}

// json returns Caddy's configuration.
func (c tenantConfig) json(t *testing.T) string {
	servers := map[string]any{}
	for i, address := range tenantServers {
		routes := []any{map[string]any{"handle": []any{map[string]any{
			"handler": "headers", "response": map[string]any{"set": map[string]any{tenantSerial: []string{c[0].key}}},
		}}}}
		for _, s := range c {
			if s.server == i {
				routes = append(routes, s.route())
			}
		}
		routes = append(routes, map[string]any{"handle": []any{map[string]any{"handler": "static_response", "status_code": 404}}})
		servers[fmt.Sprint("s", i)] = map[string]any{
			"listen": []string{address}, "routes": routes, "protocols": []string{"h1", "h2c"},
			"automatic_https": map[string]any{"disable": true},
		}
	}
	b, err := json.Marshal(map[string]any{
		"admin": map[string]any{"listen": "localhost:2999", "config": map[string]any{"persist": false}},
		"logging": map[string]any{"logs": map[string]any{"default": map[string]any{
			"level": "WARN", "writer": map[string]any{"output": "file", "filename": c[0].log, "roll": false},
		}}},
		"apps": map[string]any{"http": map[string]any{"servers": servers, "grace_period": "1s"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (s *tenantSite) route() map[string]any {
	match := map[string]any{}
	if s.hosts != nil {
		match["host"] = s.hosts
	}
	switch s.extra {
	case "path":
		match["path"] = []string{s.prefix + "/*"}
	case "not":
		match["not"] = []any{map[string]any{"path": []string{"/nothing"}}}
	case "expression":
		match["expression"] = "{http.request.method} != 'BREW'"
	case "not host":
		match["not"] = []any{map[string]any{"host": []string{s.about}}}
	case "expression host":
		match["expression"] = fmt.Sprintf("host(%q)", s.about)
	case "remote_ip":
		match["remote_ip"] = map[string]any{"ranges": []string{"127.0.0.0/8"}}
	}
	kind := "authenticated"
	if s.anonymous {
		kind = "anonymous"
	}
	route := map[string]any{"handle": []any{map[string]any{
		"handler": "rollcall", "api_key": []string{s.key}, "prefix": s.prefix,
		"jwt": map[string]any{"key": s.secret}, "channels": map[string]any{"default": kind},
	}}}
	if len(match) > 0 {
		route["match"] = []any{match}
	}
	return route
}

// tenantRun counts the observations.
type tenantRun struct {
	r                      *rand.Rand
	h2                     *http.Client
	config                 tenantConfig
	wrong                  map[*tenantSettings]int
	warned                 []tenantWarning // since the configuration was loaded
	loaded, refused, cases int
	seen                   map[int]int // statuses
}

func TestNoTenantIsAnotherTenant(t *testing.T) {
	startCaddy(t)
	logs := t.TempDir()
	run := &tenantRun{r: rand.New(rand.NewPCG(1, 2)), h2: h2cClient(), seen: map[int]int{}}
	for serial := 0; run.cases < tenantCases && !t.Failed(); serial++ {
		c := newTenantConfig(run.r, serial)
		c[0].log = filepath.Join(logs, fmt.Sprint(serial))
		fails := c.fails()
		var held *heldRequest
		if run.config != nil && run.r.IntN(4) == 0 {
			held = run.hold(t, c)
		}
		status, body := postJSON(t, c.json(t))
		switch {
		case status == http.StatusOK && fails:
			t.Fatalf("loads, although a host would have two sites or a handler no request: %s", c.json(t))
		case status != http.StatusOK && !fails:
			t.Fatalf("does not load: %s\n%s", body, c.json(t))
		case status == http.StatusOK:
			run.config, run.wrong, run.warned = c, map[*tenantSettings]int{}, warnedOf(t, c[0].log)
			run.loaded++
		default:
			run.refused++
			run.cases++
		}
		if held != nil {
			run.release(t, held)
		}
		if status == http.StatusOK {
			for range tenantPerLoad {
				run.one(t)
			}
		}
	}
	t.Logf("%d cases: %d configurations loaded, %d refused, answers %v", run.cases, run.loaded, run.refused, run.seen)
	for _, status := range []int{200, 401, 404, 421, http.StatusSwitchingProtocols} {
		if run.seen[status] < 100 {
			t.Errorf("only %d answers were %d: the cases do not reach what they are about", run.seen[status], status)
		}
	}
	reload(t, caddyfile("", ""))
}

// one sends a request and checks the answer.
func (run *tenantRun) one(t *testing.T) {
	run.cases++
	server, prefix := run.r.IntN(len(tenantServers)), tenantPrefixes[run.r.IntN(2)]
	spelling := tenantSpellings[run.r.IntN(len(tenantSpellings))]
	if run.r.IntN(4) > 0 { // a host that a handler serves
		to := run.config[run.r.IntN(len(run.config))]
		server, prefix = to.server, to.prefix
		for to.rankFor(spelling.host) < 0 {
			spelling = tenantSpellings[run.r.IntN(len(tenantSpellings))]
		}
	}
	if name, err := presence.ParseHostName(spelling.raw); err != nil || name.String() != spelling.host {
		t.Fatalf("%s is %v (%v), want %s", spelling.raw, name, err, spelling.host)
	}
	of := run.config[run.r.IntN(len(run.config))] // its key and token are tried
	owner, door := run.config.owner(spelling.host), run.config.door(server, spelling.raw, prefix)
	what := func() string {
		return fmt.Sprintf("Host %q on %s%s with the secrets of %+v\n%s", spelling.raw, tenantServers[server], prefix,
			*of.tenantSettings, run.config.json(t))
	}
	if run.r.IntN(3) == 0 {
		run.socket(t, server, spelling.raw, prefix, of, owner, door, what)
		return
	}
	want := http.StatusOK
	switch {
	case door == nil:
		want = http.StatusNotFound
	case door.site != owner.site:
		want = http.StatusMisdirectedRequest
	case of.key != owner.key:
		if run.wrong[owner.tenantSettings]++; run.wrong[owner.tenantSettings] > tenantWrong {
			return
		}
		want = http.StatusUnauthorized
	}
	endpoint := []string{"users", "allusers", "channels"}[run.r.IntN(3)]
	status := run.current(t, func() (int, http.Header) {
		return run.ask(t, server, spelling.raw, prefix+"/"+endpoint, of.key)
	})
	if want == http.StatusOK && endpoint == "channels" {
		want = http.StatusCreated
		run.seen[http.StatusOK]++
	}
	run.seen[status]++
	if status != want {
		t.Errorf("status %d, want %d: %s", status, want, what())
	}
	// A client that spells the host as usual must not be the first to learn that its site is
	// elsewhere.
	if status == http.StatusMisdirectedRequest && tenantPlain(spelling.raw) == spelling.host && !run.isWarned(server, spelling.host) {
		t.Errorf("421 without a warning at load, which had %+v: %s", run.warned, what())
	}
}

// tenantWarning is a log line about a host that one handler gets and another owns.
type tenantWarning struct{ Msg, Host, At, Owner, Write string }

func warnedOf(t *testing.T, file string) []tenantWarning {
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var all []tenantWarning
	for line := range bytes.Lines(text) {
		var w tenantWarning
		if json.Unmarshal(line, &w) == nil && strings.Contains(w.Msg, "421 misdirected") {
			all = append(all, w)
		}
	}
	return all
}

// isWarned reports whether a warning names the host, or a pattern for it, the listener, and the
// remedy.
func (run *tenantRun) isWarned(server int, host string) bool {
	return slices.ContainsFunc(run.warned, func(w tenantWarning) bool {
		return tenantOverlap(w.Host, host) && strings.Contains(w.At, "(listener "+tenantServers[server]+",") &&
			strings.Contains(w.Owner, "rollcall for ") && strings.HasSuffix(w.Write, " {")
	})
}

// tenantPlain returns a name without its port.
func tenantPlain(raw string) string {
	if host, _, err := net.SplitHostPort(raw); err == nil {
		return host
	}
	return strings.Trim(raw, "[]")
}

// current repeats a request until the configuration in effect answers it, and returns the status.
func (run *tenantRun) current(t *testing.T, send func() (int, http.Header)) int {
	status := 0
	ws.Poll(t, ws.Patience, func() error {
		var header http.Header
		if status, header = send(); header.Get(tenantSerial) != run.config[0].key {
			return errors.New("an old configuration still answers")
		}
		return nil
	})
	return status
}

// ask posts to an endpoint by HTTP/1.1, with an absolute target, or by HTTP/2.
func (run *tenantRun) ask(t *testing.T, server int, host, path, key string) (int, http.Header) {
	body := fmt.Sprintf(`{"apiKey":%q}`, key)
	how := run.r.IntN(3)
	if how == 2 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+tenantServers[server]+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := run.h2.Do(req)
		if err != nil {
			return 0, nil // as below
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return resp.StatusCode, resp.Header
	}
	target, header := path, host
	if how == 1 {
		target, header = "http://"+host+path, "ignored.test" // RFC 9112 section 3.2.2
	}
	conn := dialTenant(t, server)
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		target, header, len(body), body)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, nil // the listener of an old configuration has closed
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode, resp.Header
}

// socket logs in with a token, or joins a channel without one.
func (run *tenantRun) socket(
	t *testing.T, server int, host, prefix string, of, owner, door *tenantSite, what func() string,
) {
	request := ws.Request{URL: "ws://" + tenantServers[server] + prefix + "/socket", Host: host}
	anonymous := run.r.IntN(2) == 0
	if !anonymous {
		raw, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
			"sub": "ada", "exp": time.Now().Add(time.Hour).Unix(),
		}).SignedString([]byte(of.secret))
		if err != nil {
			t.Fatal(err)
		}
		request.Header = ws.Header("Authorization", "Bearer "+raw)
	}
	want := http.StatusSwitchingProtocols
	switch {
	case door == nil:
		want = http.StatusNotFound
	case door.site != owner.site:
		want = http.StatusMisdirectedRequest
	case !anonymous && of.secret != owner.secret:
		want = http.StatusUnauthorized
	}
	var conn *websocket.Conn
	status := run.current(t, func() (int, http.Header) {
		var resp *http.Response
		conn, resp = ws.Open(t, request)
		return resp.StatusCode, resp.Header
	})
	run.seen[status]++
	if status != want {
		t.Errorf("socket: status %d, want %d: %s", status, want, what())
	}
	if conn == nil {
		return
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(ws.Patience))
	if _, welcome, err := conn.ReadMessage(); err != nil || bytes.Contains(welcome, []byte(`"id":"ada"`)) == anonymous {
		t.Errorf("welcome %s (%v): %s", welcome, err, what())
	}
	if !anonymous {
		return
	}
	_ = conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"join","channel":"news"}`))
	_, answer, err := conn.ReadMessage()
	if err != nil || owner != nil && bytes.Contains(answer, []byte(`"joined"`)) != owner.anonymous {
		t.Errorf("join: %s (%v), anonymous %v: %s", answer, err, owner.anonymous, what())
	}
}

// heldRequest is a request that is pending while the configuration is replaced.
type heldRequest struct {
	conn       net.Conn
	host, rest string
	key        string
	old, next  tenantConfig
}

// hold sends the first half of a request, with a key of the configuration in effect or of the next
// one.
func (run *tenantRun) hold(t *testing.T, next tenantConfig) *heldRequest {
	spelling := tenantSpellings[run.r.IntN(len(tenantSpellings))]
	from := run.config
	if run.r.IntN(2) == 0 {
		from = next
	}
	h := &heldRequest{host: spelling.host, key: from[run.r.IntN(len(from))].key, old: run.config, next: next}
	h.conn = dialTenant(t, run.r.IntN(len(tenantServers)))
	body := fmt.Sprintf(`{"apiKey":%q}`, h.key)
	fmt.Fprintf(h.conn, "POST /message/users HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		spelling.raw, len(body), body[:5])
	h.rest = body[5:]
	return h
}

// release sends the rest. Only the key of the site that owns the host now may succeed.
func (run *tenantRun) release(t *testing.T, h *heldRequest) {
	run.cases++
	defer h.conn.Close()
	if _, err := io.WriteString(h.conn, h.rest); err != nil {
		return // the server has closed the connection with its old configuration
	}
	_ = h.conn.SetReadDeadline(time.Now().Add(ws.Patience))
	resp, err := http.ReadResponse(bufio.NewReader(h.conn), nil)
	if err != nil {
		return
	}
	_ = resp.Body.Close()
	run.seen[resp.StatusCode]++
	if owner := run.config.owner(h.host); resp.StatusCode == http.StatusOK && (owner == nil || owner.key != h.key) {
		t.Errorf("Host %s: %s opened it after a reload\nold %s\nnow %s", h.host, h.key, h.old.json(t), run.config.json(t))
	}
}

// dialTenant connects again if a reload closes the listener with the connection in its queue.
func dialTenant(t *testing.T, server int) net.Conn {
	var conn net.Conn
	testkit.Eventually(t, "a connection", func() (ok bool) {
		var err error
		conn, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", tenantServers[server])
		if err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Fatal(err)
		}
		return err == nil
	})
	_ = conn.SetDeadline(time.Now().Add(ws.Patience))
	return conn
}

// h2cClient speaks HTTP/2 without TLS, with a new connection for each request: a reload closes
// existing ones.
func h2cClient() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: &http.Transport{
		Protocols: protocols, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
	}}
}

// postJSON loads a configuration as JSON.
func postJSON(t *testing.T, config string) (int, string) {
	a, err := ws.Site{URL: adminURL}.Do(http.MethodPost, "/load", config,
		"Content-Type", "application/json", "Cache-Control", "must-revalidate")
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return a.Status, a.Body
}
