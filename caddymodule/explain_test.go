package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// offerAlone loads a site of a pod without a cluster, and takes it into use.
func offerAlone(t *testing.T) configured {
	t.Helper()
	c := mustLoad(t, aloneFile)
	stage(t, c.app.hub, c.app.hub.StartPods)
	c.app.hub.Offer(c.snapshot())
	return c
}

func TestAdminClusterOfOnePod(t *testing.T) {
	c := offerAlone(t)
	arrive(t, c.handler(t), "portal.example.com", "ada", "ada@example.com", "room")
	var r cluster.Report
	decode(t, getAdmin(t, "/rollcall/cluster"), &r)
	if !r.Ready || len(r.Pods) != 1 {
		t.Fatalf("report %+v", r)
	}
	p := r.Pods[0]
	started, err := time.Parse(time.RFC3339, p.Started)
	if p.DataCenter != "us-east-1" || p.Pod != "web-1" || p.State != "self" || p.Hosts != 1 || err != nil || started.IsZero() {
		t.Errorf("pod %+v, %v", p, err)
	}
}

func TestAdminExplain(t *testing.T) {
	c := offerAlone(t)
	conn := arrive(t, c.handler(t), "portal.example.com", "ada", "ada@example.com", "room", "attic")
	arrive(t, c.handler(t), "portal.example.com", "grace", "", "room")
	var e cluster.Explanation
	decode(t, getAdmin(t, "/rollcall/explain?host=PORTAL.example.com:80&user=ada"), &e)
	if e.Host != "portal.example.com" || e.User != "ada" || !e.Complete || e.Missing == nil || len(e.Connections) != 1 {
		t.Fatalf("explanation %+v", e)
	}
	got := e.Connections[0]
	if got.DataCenter != "us-east-1" || got.Pod != "web-1" || got.Connection != conn.ID().String() ||
		got.Email != "ada@example.com" || strings.Join(got.Channels, " ") != "attic room" {
		t.Errorf("connection %+v", got)
	}
	if w := getAdmin(t, "/rollcall/explain?host=portal.example.com&user=nobody"); !strings.Contains(w.Body.String(), `"missing":[],"connections":[]`) {
		t.Errorf("of an unknown user: %s", w.Body)
	}
	for _, query := range []string{"", "?host=portal.example.com", "?user=ada", "?host=no%20host&user=ada", "?host=a.example&user=%00"} {
		r := httptest.NewRequest(http.MethodGet, "/rollcall/explain"+query, http.NoBody)
		err := adminGet(adminExplain)(httptest.NewRecorder(), r)
		var api caddy.APIError
		if !errors.As(err, &api) || api.HTTPStatus != http.StatusBadRequest || !strings.Contains(api.Err.Error(), "explain?host=HOST&user=ID") {
			t.Errorf("%q: error %v", query, err)
		}
	}
}

// A session knows its start and the last sign of life of its client.
func TestExplainKnowsTheSession(t *testing.T) {
	before := time.Now().UnixMilli()
	h := loadHandler(t, "user {http.request.header.Test-User}")
	conn := mustDial(t, listen(t, h), "portal.example.com", "Test-User", "ada")
	welcome(t, conn)
	found := h.app.hub.Explain(testkit.MustHost(t, "portal.example.com"), "ada")
	if len(found) != 1 || found[0].Since < before || found[0].LastSign < before {
		t.Errorf("got %+v, and it is %d", found, before)
	}
}

// serveAdmin serves the admin endpoints, and returns the address.
func serveAdmin(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	for _, route := range new(AdminAPI).Routes() {
		mux.HandleFunc(route.Pattern, func(w http.ResponseWriter, r *http.Request) {
			err := route.Handler.ServeHTTP(w, r)
			if refused, ok := errors.AsType[caddy.APIError](err); ok { // as Caddy answers it
				w.WriteHeader(refused.HTTPStatus)
				_ = json.NewEncoder(w).Encode(map[string]string{"error": refused.Err.Error()})
			} else if err != nil {
				t.Errorf("%s %s: %v", r.Method, r.URL, err)
			}
		})
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// rollcall runs caddy rollcall with the arguments.
func rollcall(args ...string) (string, error) {
	cmd := &cobra.Command{SilenceUsage: true}
	caddycmd.Commands()["rollcall"].CobraFunc(cmd)
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	err := cmd.Execute()
	return out.String(), err
}

func TestClusterCommand(t *testing.T) {
	d := &clusterLog{}
	c := mustLoad(t, clustered(overNATS))
	stand := &fakeCluster{name: "portals", clusterLog: d, ready: true, truth: cluster.Truth{Complete: true}}
	stage(t, c.app.hub, func(cluster.Config) (gateway.Pods, error) { return stand, nil })
	c.app.hub.Offer(c.snapshot())
	address := serveAdmin(t)
	out, err := rollcall("cluster", "--address", address)
	if err != nil {
		t.Error(err)
	}
	for _, want := range []string{"DATA CENTER  POD  STATE  HEARTBEAT", "a            c    alive  0.0s ago", "nats: not connected", "forged 3"} {
		if !strings.Contains(out, want) {
			t.Errorf("there is no %q in\n%s", want, out)
		}
	}
	if out, err = rollcall("cluster", "--json", "--address", address); err != nil || !strings.Contains(out, `"state": "alive"`) {
		t.Errorf("error %v\n%s", err, out)
	}
	stand.ready = false
	if out, err = rollcall("cluster", "--address", address); err == nil || !strings.Contains(err.Error(), "this pod is not ready") {
		t.Errorf("error %v\n%s", err, out)
	}
	out, err = rollcall("explain", "--host", "portal.example.com", "--user", "ada", "--address", address)
	if err != nil || !strings.Contains(out, "2023-11-14T22:13:20.000Z  2023-11-14T22:13:21.500Z") {
		t.Errorf("error %v\n%s", err, out)
	}
	stand.truth = cluster.Truth{Missing: []string{"eu-west-1/web-9"}}
	out, err = rollcall("explain", "--host", "portal.example.com", "--user", "ada", "--address", address)
	if err == nil || !strings.Contains(out, "no answer from eu-west-1/web-9") {
		t.Errorf("error %v\n%s", err, out)
	}
	if _, err = rollcall("explain", "--host", "portal.example.com"); err == nil || !strings.Contains(err.Error(), "write --host and --user") {
		t.Errorf("error %v", err)
	}
	if _, err = rollcall("cluster", "--address", "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "asking the admin endpoint at 127.0.0.1:1 (start Caddy there, or write --address)") {
		t.Errorf("error %v", err)
	}
}

func TestClusterMetrics(t *testing.T) {
	d := &clusterLog{}
	c := mustLoad(t, clustered(overNATS))
	var observe func(string, bool, time.Duration)
	stage(t, c.app.hub, func(cfg cluster.Config) (gateway.Pods, error) {
		observe = cfg.Observe
		return &fakeCluster{name: "it", clusterLog: d, ready: true}, nil
	})
	if got := scrape(t, c.ctx.GetMetricsRegistry()); strings.Contains(got, "cluster_pods") {
		t.Errorf("without a cluster, there is\n%s", got)
	}
	c.app.hub.Offer(c.snapshot())
	observe("count", false, time.Millisecond)
	got := scrape(t, c.ctx.GetMetricsRegistry())
	for _, want := range []string{
		"cluster_pods{state=alive} 1", "cluster_pods{state=self} 1", "cluster_pods{state=unreachable} 0", "cluster_connected{} 0",
		"cluster_ignored_total{reason=forged} 3", "cluster_resyncs_total{} 7", "cluster_dropped_total{} 0", "cluster_queries_dropped_total{} 8", "cluster_unsent_total{} 9",
		"cluster_queries_total{complete=false,kind=count} 1", "cluster_query_duration_seconds{kind=count} 1",
	} {
		if !strings.Contains(got, want+"\n") && !strings.HasSuffix(got, want) {
			t.Errorf("there is no %q in\n%s", want, got)
		}
	}
}

// A script that asks why a user is listed must see that the user is not.
func TestExplainCommandFailsForAUserWithoutConnections(t *testing.T) {
	c := offerAlone(t)
	address := serveAdmin(t)
	arrive(t, c.handler(t), "portal.example.com", "ada", "")
	for _, asJSON := range []string{"--json=false", "--json=true"} {
		ask := func(user string) (string, error) {
			return rollcall("explain", "--host", "portal.example.com", "--user", user, "--address", address, asJSON)
		}
		if out, err := ask("ada"); err != nil || !strings.Contains(out, "T") {
			t.Errorf("error %v\n%s", err, out)
		}
		if out, err := ask("nobody"); err == nil || err.Error() != "nobody has no connection to portal.example.com" {
			t.Errorf("error %v\n%s", err, out)
		}
	}
}
