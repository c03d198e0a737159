package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

func decode(t *testing.T, text string, to any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), to); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
}

// scrape returns the metrics of the admin endpoint.
func scrape(t *testing.T) string {
	t.Helper()
	a := admin(t, http.MethodGet, "/metrics")
	if a.Status != http.StatusOK {
		t.Fatalf("metrics: status %d: %s", a.Status, a.Body)
	}
	return a.Body
}

// metric returns the value of one series; -1 if it is missing.
func metric(t *testing.T, series string) float64 {
	t.Helper()
	for line := range strings.Lines(scrape(t)) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	return -1
}

func expectMetric(t *testing.T, series string, want float64) {
	t.Helper()
	if got := metric(t, series); got != want {
		t.Errorf("%s is %v, want %v", series, got, want)
	}
}

func TestMetrics(t *testing.T) {
	load(t, portal(jwtOptions))
	joins := metric(t, `caddy_rollcall_joins_total{host="portal.example.com",result="ok"}`)
	refused := metric(t, `caddy_rollcall_joins_total{host="portal.example.com",result="login_required"}`)
	s := arrive(t)
	s.anonymous[0].Send(t, `{"type":"join","channel":"salesRoom"}`)
	s.anonymous[0].ExpectError(t, "", "login_required")
	portalHost.Answer(t, "users", `{}`)

	check := func(t *testing.T) {
		t.Helper()
		expectMetric(t, `caddy_rollcall_connections{host="portal.example.com",user="yes"}`, 3)
		expectMetric(t, `caddy_rollcall_connections{host="portal.example.com",user="no"}`, 3)
		expectMetric(t, `caddy_rollcall_users{host="portal.example.com"}`, 2)
		expectMetric(t, `caddy_rollcall_channels{host="portal.example.com"}`, 2)
		expectMetric(t, `caddy_rollcall_joins_total{host="portal.example.com",result="ok"}`, max(joins, 0)+6)
		expectMetric(t, `caddy_rollcall_joins_total{host="portal.example.com",result="login_required"}`, max(refused, 0)+1)
		if metric(t, `caddy_rollcall_request_duration_seconds_count{code="200",endpoint="users"}`) < 1 {
			t.Error("no request was measured")
		}
		for _, direction := range []string{"in", "out"} {
			if metric(t, fmt.Sprintf(`caddy_rollcall_frames_total{direction=%q,host="portal.example.com"}`, direction)) < 7 {
				t.Errorf("frames %s were not counted", direction)
			}
		}
	}
	check(t)
	t.Run("after a reload", func(t *testing.T) {
		reload(t, portal(jwtOptions+"ping 20s"))
		check(t)
	})
	t.Run("no label holds a user or a channel", func(t *testing.T) {
		text := scrape(t)
		for _, private := range []string{"USER_1", "a@example.com", "salesRoom", "anonymousChat", s.tab1.Welcome.Connection} {
			if strings.Contains(text, private) {
				t.Errorf("the metrics hold %q", private)
			}
		}
	})
}

// On a site for any host, the client chooses the name: it must not become a label.
func TestUnknownHostsAreOneLabel(t *testing.T) {
	load(t, caddyfile("", "http:// {\n rollcall {\n api_key "+apiKey+"\n }\n}\n"))
	const hosts = 50
	for i := range hosts {
		site := portalHost
		site.Host = fmt.Sprintf("made-up-%d.example.net", i)
		site.Dial(t).Join(t, "anonymousChat")
		site.Expect(t, "users", `{"channel":"anonymousChat"}`, `{"anonymousChat":1}`)
	}
	expectMetric(t, `caddy_rollcall_connections{host="_other",user="no"}`, hosts)
	if text := scrape(t); strings.Contains(text, "made-up") {
		t.Error("a host that the configuration does not name is in the metrics")
	}
}

func TestHostThatIsNotServed(t *testing.T) {
	load(t, portal(""))
	for _, host := range []string{"nobody.example.com", "", "..", "portal.example.com.evil.example", "[::1]:9080"} {
		r := portalHost.Socket()
		r.Host = host
		if conn, resp := ws.Open(t, r); conn != nil {
			t.Errorf("%q was served: %s", host, resp.Status)
		}
	}
	if got := admin(t, http.MethodGet, "/rollcall/hosts").Body; ws.Diff(got, `[]`) != "" {
		t.Errorf("hosts with connections: %s", got)
	}
}

func TestAdminEndpoints(t *testing.T) {
	load(t, portal(jwtOptions))
	if got := admin(t, http.MethodGet, "/rollcall/hosts"); got.Status != 200 || ws.Diff(got.Body, `[]`) != "" {
		t.Errorf("hosts without connections: %d %s", got.Status, got.Body)
	}
	s := arrive(t)
	const hosts = `[{"host":"portal.example.com","connections":6,"authenticated":3,"anonymous":3,"users":2,"channels":2}]`
	if got := admin(t, http.MethodGet, "/rollcall/hosts"); got.Status != 200 || ws.Diff(got.Body, hosts) != "" {
		t.Errorf("hosts: %d %s", got.Status, got.Body)
	}
	const health = `{"status":"ok","data_center":"us-east-1","pod":"web-1","connections":6}`
	if got := admin(t, http.MethodGet, "/rollcall/health"); got.Status != 200 || ws.Diff(got.Body, health) != "" {
		t.Errorf("health: %d %s", got.Status, got.Body)
	}
	for _, path := range []string{"/rollcall/hosts", "/rollcall/health"} {
		if got := admin(t, http.MethodPost, path); got.Status != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: status %d", path, got.Status)
		}
	}
	s.tab1.ExpectNothing(t)
}

func TestAdminEndpointsWithoutRollcall(t *testing.T) {
	load(t, caddyfile("", "http://portal.example.com:9080 {\n respond 204\n}\n"))
	if got := admin(t, http.MethodGet, "/rollcall/hosts"); got.Status != 200 || ws.Diff(got.Body, `[]`) != "" {
		t.Errorf("hosts: %d %s", got.Status, got.Body)
	}
	got := admin(t, http.MethodGet, "/rollcall/health")
	if got.Status != 503 || ws.Diff(got.Body, `{"status":"not_configured","connections":0}`) != "" {
		t.Errorf("health: %d %s", got.Status, got.Body)
	}
}
