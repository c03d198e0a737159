package caddymodule

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// forgetful offers a configuration whose cluster forgets pods with the result, and returns the
// address of the admin endpoint.
func forgetful(t *testing.T, d *clusterLog, result error) string {
	t.Helper()
	c := mustLoad(t, clustered(overNATS))
	stage(t, c.app.hub, func(cluster.Config) (gateway.Pods, error) {
		return &fakeCluster{name: "it", clusterLog: d, ready: true, forget: result}, nil
	})
	c.app.hub.Offer(c.snapshot())
	return serveAdmin(t)
}

func TestForgetCommand(t *testing.T) {
	const asked = "forget us-east-1/web-2"
	for _, test := range []struct {
		name   string
		args   []string
		result error // of the cluster
		asked  []string
		out    string
		err    string // "" for none
	}{
		{"a missing pod", []string{"us-east-1/web-2"}, nil, []string{asked}, "us-east-1/web-2 is forgotten: answers no longer name it\n", ""},
		{
			"a pod that is heard",
			[]string{"us-east-1/web-2"},
			fmt.Errorf("us-east-1/web-2: %w", cluster.ErrPodHeard),
			[]string{asked},
			"", "us-east-1/web-2: the pod was heard in the last 5 s: stop it first, or wait",
		},
		{
			"an unknown pod",
			[]string{"us-east-1/web-2"},
			fmt.Errorf("us-east-1/web-2: %w", cluster.ErrPodUnknown),
			[]string{asked},
			"", "us-east-1/web-2: no such pod is missing: see caddy rollcall cluster for those that are unreachable",
		},
		{"no pod", nil, nil, nil, "", "0 names are given: write DC/POD"},
		{"two pods", []string{"a/b", "a/c"}, nil, nil, "", "2 names are given: write DC/POD"},
		{"no data center", []string{"web-2"}, nil, nil, "", `"web-2" does not name a pod: write DC/POD`},
		{"an empty data center", []string{"/web-2"}, nil, nil, "", `"/web-2" does not name a pod`},
		{"an empty name", []string{"us-east-1/"}, nil, nil, "", `"us-east-1/" does not name a pod`},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := new(clusterLog)
			address := forgetful(t, d, test.result)
			out, err := rollcall(append([]string{"cluster", "forget", "--address", address}, test.args...)...)
			d.expect(t, test.asked...)
			if test.err == "" && (err != nil || out != test.out) {
				t.Errorf("error %v\n%s", err, out)
			}
			if test.err != "" && (err == nil || !strings.HasPrefix(err.Error(), test.err)) {
				t.Errorf("error %v, want %s", err, test.err)
			}
		})
	}
	t.Run("a pod that is alone", func(t *testing.T) {
		c := mustLoad(t, aloneFile)
		c.app.hub.Offer(c.snapshot())
		if out, err := rollcall("cluster", "forget", "a/b", "--address", serveAdmin(t)); err == nil || err.Error() != gateway.ErrNoCluster.Error() {
			t.Errorf("error %v\n%s", err, out)
		}
	})
	t.Run("help", func(t *testing.T) {
		for _, args := range [][]string{{"cluster", "--help"}, {"help", "cluster"}} {
			if out, err := rollcall(args...); err != nil || !strings.Contains(out, "forget") || !strings.Contains(out, "--json") {
				t.Errorf("%q: error %v\n%s", args, err, out)
			}
		}
		if out, err := rollcall("cluster", "forgot"); err == nil {
			t.Errorf("an unknown command prints\n%s", out)
		}
	})
}

// Only a POST that names a pod makes the cluster forget one.
func TestAdminForget(t *testing.T) {
	const pod = `{"data_center":"us-east-1","pod":"web-2"}`
	for _, test := range []struct {
		name, method, body string
		result             error // of the cluster
		status             int
		answer             string
	}{
		{"forgotten", http.MethodPost, pod, nil, http.StatusOK, pod},
		{"heard", http.MethodPost, pod, fmt.Errorf("a/b: %w", cluster.ErrPodHeard), http.StatusConflict, `a/b: the pod was heard`},
		{"unknown", http.MethodPost, pod, fmt.Errorf("a/b: %w", cluster.ErrPodUnknown), http.StatusNotFound, `a/b: no such pod is missing`},
		{"GET", http.MethodGet, pod, nil, http.StatusMethodNotAllowed, "method GET not allowed: use POST"},
		{"PUT", http.MethodPut, pod, nil, http.StatusMethodNotAllowed, "method PUT not allowed: use POST"},
		{"no body", http.MethodPost, "", nil, http.StatusBadRequest, "the body names no pod"},
		{"no JSON", http.MethodPost, "us-east-1/web-2", nil, http.StatusBadRequest, "the body names no pod"},
		{"no data center", http.MethodPost, `{"pod":"web-2"}`, nil, http.StatusBadRequest, "the body names no pod"},
		{"no name", http.MethodPost, `{"data_center":"us-east-1"}`, nil, http.StatusBadRequest, "the body names no pod"},
		{"a number", http.MethodPost, `{"data_center":"us-east-1","pod":2}`, nil, http.StatusBadRequest, "the body names no pod"},
		{"a long body", http.MethodPost, strings.Repeat(" ", 5000) + pod, nil, http.StatusBadRequest, "the body names no pod"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := new(clusterLog)
			address := forgetful(t, d, test.result)
			r, err := http.NewRequest(test.method, "http://"+address+"/rollcall/cluster/forget", strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			status, allow, answer := do(t, r)
			if status != test.status || !strings.Contains(answer, test.answer) {
				t.Errorf("status %d: %s, want %d: %s", status, answer, test.status, test.answer)
			}
			if want := map[bool]string{true: http.MethodPost}[status == http.StatusMethodNotAllowed]; allow != want {
				t.Errorf("Allow %q, want %q", allow, want)
			}
			if status == http.StatusOK || errors.Is(test.result, cluster.ErrPodHeard) || errors.Is(test.result, cluster.ErrPodUnknown) {
				d.expect(t, "forget us-east-1/web-2")
			} else {
				d.expect(t)
			}
		})
	}
	t.Run("other endpoints", func(t *testing.T) {
		for _, route := range new(AdminAPI).Routes() {
			if route.Pattern == "/rollcall/cluster/forget" {
				continue
			}
			if slices.ContainsFunc(operatorRoutes(), func(r caddy.AdminRoute) bool { return r.Pattern == route.Pattern }) {
				continue // see TestAdminActions
			}
			r, err := http.NewRequest(http.MethodPost, "http://"+serveAdmin(t)+route.Pattern, strings.NewReader(pod))
			if err != nil {
				t.Fatal(err)
			}
			if status, allow, answer := do(t, r); status != http.StatusMethodNotAllowed || allow != http.MethodGet {
				t.Errorf("POST %s: status %d, Allow %q: %s", route.Pattern, status, allow, answer)
			}
		}
	})
}

func do(t *testing.T, r *http.Request) (status int, allow, answer string) {
	t.Helper()
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	body, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.StatusCode, w.Header.Get("Allow"), string(body)
}
