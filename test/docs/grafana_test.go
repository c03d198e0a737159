package docs

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/loopback"
)

// panel is a panel of the dashboard.
type panel struct {
	Title   string `json:"title"`
	Targets []struct {
		Expr string `json:"expr"`
	} `json:"targets"`
}

func dashboard(t *testing.T) []panel {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, "docs", "grafana", "rollcall.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []panel `json:"panels"`
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	return d.Panels
}

// The forms of the expressions that evaluate knows.
var (
	plainForm    = regexp.MustCompile(`^(?:sum|max)(?: by \(([a-z, ]+)\))? ?\((caddy_rollcall_[a-z_]+)\)$`)
	rateForm     = regexp.MustCompile(`^sum(?: by \(([a-z, ]+)\))? ?\((?:rate|increase)\((caddy_rollcall_[a-z_]+)\[5m\]\)\)( or vector\(0\))?$`)
	quantileForm = regexp.MustCompile(`^histogram_quantile\(0\.99, sum by \((le, [a-z]+)\) \(rate\((caddy_rollcall_[a-z_]+_bucket)\[5m\]\)\)\)$`)
)

// metrics are the values of a scrape by name and labels, as in the exporter's text.
type metrics map[string]map[string]float64

var sample = regexp.MustCompile(`(?m)^(caddy_rollcall_[a-z_]+)(\{[^\n]*\})? ([^ \n]+)$`)

// scrape reads the metrics of a server.
func (s *server) scrape(t *testing.T) metrics {
	t.Helper()
	resp, err := http.Get("http://" + s.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	m := make(metrics)
	for _, line := range sample.FindAllStringSubmatch(string(text), -1) {
		value, err := strconv.ParseFloat(line[3], 64)
		if err != nil {
			t.Fatalf("%s: %v", line[0], err)
		}
		if m[line[1]] == nil {
			m[line[1]] = make(map[string]float64)
		}
		m[line[1]][line[2]] = value
	}
	return m
}

// evaluate returns the number of series that Prometheus would show for an expression of a known
// form, after two scrapes. A rate needs a series in both scrapes, and a quantile an observation
// between them.
func evaluate(expr string, before, after metrics) (series int, err error) {
	if m := plainForm.FindStringSubmatch(expr); m != nil {
		return len(groups(after[m[2]], m[1])), nil
	}
	if m := rateForm.FindStringSubmatch(expr); m != nil {
		if n := len(groups(both(m[2], before, after), m[1])); n > 0 || m[3] == "" {
			return n, nil
		}
		return 1, nil
	}
	if m := quantileForm.FindStringSubmatch(expr); m != nil {
		grown := both(m[2], before, after)
		for labels := range grown {
			if after[m[2]][labels] == before[m[2]][labels] {
				delete(grown, labels)
			}
		}
		return len(groups(grown, strings.TrimPrefix(m[1], "le, "))), nil
	}
	return 0, fmt.Errorf("the form of %q is not known", expr)
}

// both returns the series that both scrapes have.
func both(name string, before, after metrics) map[string]float64 {
	found := make(map[string]float64)
	for labels, value := range after[name] {
		if _, there := before[name][labels]; there {
			found[labels] = value
		}
	}
	return found
}

// groups groups series by the named labels. A series without a label has it empty, as in
// Prometheus.
func groups(series map[string]float64, by string) map[string]bool {
	found := make(map[string]bool)
	for labels := range series {
		group := ""
		for label := range strings.SplitSeq(by, ", ") {
			if m := regexp.MustCompile(`[{,]` + label + `="([^"]*)"`).FindStringSubmatch(labels); label != "" && m != nil {
				group += label + "=" + m[1] + " "
			}
		}
		found[group] = true
	}
	return found
}

// metricNames are the names of metrics in a text.
var metricNames = regexp.MustCompile(`caddy_rollcall_[a-z_]+`)

// Each panel of the dashboard has data while the demo is under load, in a cluster and with a backend, and each
// metric that an alert uses is on it.
func TestDashboardHasData(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer backend.Close()
	text, err := os.ReadFile(filepath.Join(root, "Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	demo := string(text)
	for _, change := range [][2]string{
		{"data_center us-east-1\n", "data_center us-east-1\n\t\tcluster {\n\t\t\tlisten " + loopback.AddressFor(t) + "\n\t\t\tsecret " + backendSecret + "\n\t\t}\n"},
		{"\t\t\tchannels {\n", "\t\t\tbackend " + backend.URL + " {\n\t\t\t\tsecret " + backendSecret + "\n\t\t\t}\n\t\t\tchannels {\n"},
	} {
		if !strings.Contains(demo, change[0]) {
			t.Fatalf("the demo has no %q", change[0])
		}
		demo = strings.Replace(demo, change[0], change[1], 1)
	}
	s := serve(t, demo, root)
	s.enter(t, []string{"ada:salesRoom", "grace:salesRoom", ":lobby"})
	s.load(t)
	before := s.scrape(t)
	s.load(t)
	after := s.scrape(t)

	shown := make(map[string]bool)
	for _, p := range dashboard(t) {
		if len(p.Targets) == 0 {
			t.Errorf("%s has no expression", p.Title)
		}
		for _, target := range p.Targets {
			series, err := evaluate(target.Expr, before, after)
			switch {
			case err != nil:
				t.Errorf("%s: %v", p.Title, err)
			case series == 0:
				t.Errorf("%s: there is no data for %s", p.Title, target.Expr)
			}
			for _, name := range metricNames.FindAllString(target.Expr, -1) {
				shown[name] = true
				if after[name] == nil && !strings.HasSuffix(target.Expr, "or vector(0)") {
					t.Errorf("%s: the server exports no %s", p.Title, name)
				}
			}
		}
	}
	_, alerts, _ := strings.Cut(readPage(t, "docs/operations.md").text, "\ngroups:\n")
	alerts, _, _ = strings.Cut(alerts, "\n```")
	names := metricNames.FindAllString(alerts, -1)
	if len(names) < 15 {
		t.Fatalf("only the metrics %q are in alerts", names)
	}
	for _, name := range names {
		if !shown[name] {
			t.Errorf("an alert uses %s, which is on no panel", name)
		}
	}
}

// load makes requests of backends and browsers, good ones and bad ones.
func (s *server) load(t *testing.T) {
	t.Helper()
	post := func(endpoint, body string, want int) {
		t.Helper()
		resp, err := http.Post("http://"+s.addr+"/message/"+endpoint, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %s", endpoint, resp.Status)
		}
	}
	key := `{"apiKey":"` + apiKey + `"`
	for range 5 {
		post("users", key+"}", http.StatusOK)
		post("sendmessage", key+`,"channels":["salesRoom"],"message":{}}`, http.StatusCreated)
		c := s.connect(t, "visitor")
		c.expect(t, "welcome")
		c.send(t, `{"type":"join","channel":"lobby"}`)
		c.expect(t, "joined")
		c.send(t, `{"type":"send","id":"1","channels":["lobby"],"message":{}}`)
		for !strings.Contains(c.receive(t), `"message":{}`) {
			continue // until the message is there, which the backend has got, too
		}
		_ = c.ws.Close()
	}
	post("users", `{"apiKey":"a wrong key"}`, http.StatusUnauthorized)
	post("adduser", key+`,"users":[{"id":"ada","channels":[{"name":"salesRoom","mode":"listen"}]}]}`, http.StatusCreated)
	ada := s.connect(t, "ada")
	ada.expect(t, "welcome")
	ada.send(t, `{"type":"authenticate","token":"`+sign(t, "ada")+`"}`)
	ada.expect(t, "authenticated")
	ada.send(t, `{"type":"send","id":"copied","channels":["salesRoom"],"message":{}}`)
	for !strings.Contains(ada.receive(t), `"copied"`) {
		continue // until the copy for the backend is on disk
	}
	r, err := http.NewRequest(http.MethodGet, "http://"+s.addr+"/message/socket", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r) // no websocket
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	deadline := time.Now().Add(patience)
	for len(s.scrape(t)["caddy_rollcall_disconnects_total"]) == 0 && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
}

// The evaluation finds what is missing.
func TestDashboardEvaluation(t *testing.T) {
	before := metrics{"caddy_rollcall_a": {`{host="x"}`: 1}, "caddy_rollcall_b_bucket": {`{endpoint="u",le="1"}`: 1}}
	after := metrics{"caddy_rollcall_a": {`{host="x"}`: 1, `{host="y"}`: 1}, "caddy_rollcall_b_bucket": {`{endpoint="u",le="1"}`: 1}}
	for _, tt := range []struct {
		expr   string
		series int
	}{
		{"sum by (host) (caddy_rollcall_a)", 2},
		{"sum(caddy_rollcall_a)", 1},
		{"sum by (host) (rate(caddy_rollcall_a[5m]))", 1},
		{"sum(rate(caddy_rollcall_c[5m]))", 0},
		{"sum(rate(caddy_rollcall_c[5m])) or vector(0)", 1},
		{"max(caddy_rollcall_c)", 0},
		{"histogram_quantile(0.99, sum by (le, endpoint) (rate(caddy_rollcall_b_bucket[5m])))", 0},
	} {
		if series, err := evaluate(tt.expr, before, after); err != nil || series != tt.series {
			t.Errorf("%s: %d series, %v", tt.expr, series, err)
		}
	}
	for _, expr := range []string{"caddy_rollcall_a", "avg(caddy_rollcall_a)", "sum(caddy_rollcall_a) / 2"} {
		if _, err := evaluate(expr, before, after); err == nil {
			t.Errorf("%s was evaluated", expr)
		}
	}
	if !slices.Contains(metricNames.FindAllString("sum(caddy_rollcall_a)", -1), "caddy_rollcall_a") {
		t.Error("no name is found")
	}
}
