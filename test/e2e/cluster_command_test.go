package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/model"
	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// TestOperatorsSeeTheCluster asks an operator's questions: which pods are there, where is a user,
// is a pod ready.
func TestOperatorsSeeTheCluster(t *testing.T) {
	pods := deploy(t, podNames(2, "eu-west", "us-east"), "")
	asked, home := pods[0], pods[3]
	for range 3 {
		home.connect(t, userOf("ada"))
	}
	c := pods[1].connect(t, userOf("bob"))
	if err := c.Join("salesRoom"); err != nil {
		t.Fatal(err)
	}

	t.Run("caddy rollcall cluster", func(t *testing.T) {
		ws.Poll(t, ws.Patience, func() error { // the connections come with the next heartbeat
			out, err := caddy(t, "rollcall", "cluster", "--address", strings.TrimPrefix(asked.admin, "http://"))
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			return hasLines(out, map[string][]string{
				"eu-west pod-1": {"self"}, "eu-west pod-2": {"alive", "ago", "ms"}, "us-east pod-1": {"alive", "ago", "ms"},
				"us-east pod-2": {"alive", " 3 ", " 1"},
			})
		})
		out, err := caddy(t, "rollcall", "cluster", "--json", "--address", strings.TrimPrefix(asked.admin, "http://"))
		var r report
		if err != nil || json.Unmarshal([]byte(out), &r) != nil || len(r.Pods) != len(pods) || !r.Ready || !r.NATS.Connected {
			t.Errorf("caddy rollcall cluster --json: %v\n%s", err, out)
		}
	})
	t.Run("caddy rollcall explain", func(t *testing.T) {
		out, err := caddy(t, "rollcall", "explain", "--host", "portal.example.com", "--user", "bob",
			"--address", strings.TrimPrefix(asked.admin, "http://"))
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if err := hasLines(out, map[string][]string{"eu-west pod-2": {c.ID, "bob@example.com", "salesRoom"}}); err != nil {
			t.Error(err)
		}
	})
	t.Run("report", func(t *testing.T) {
		for _, p := range pods {
			r, err := p.cluster()
			if err != nil {
				t.Fatal(err)
			}
			if r.Name != "rollcall" || !r.NATS.Embedded || len(r.NATS.Routes) != len(pods)-1 {
				t.Errorf("%s: %+v", p.Pod, r)
			}
			for _, other := range r.Pods {
				if other.Incarnation == "" || other.Conflict || other.Heartbeat > 2 || (other.State == "alive" && other.RoundTrip <= 0) {
					t.Errorf("%s of %s: %+v", other.Pod, p.Pod, other)
				}
			}
		}
	})
	t.Run("explain", func(t *testing.T) { explain(t, pods, asked, home) })
}

// hasLines checks that the line that starts with two words has further words.
func hasLines(out string, want map[string][]string) error {
	for begin, words := range want {
		found := false
		for line := range strings.Lines(out) {
			if fields := strings.Fields(line); len(fields) < 2 || fields[0]+" "+fields[1] != begin {
				continue
			}
			found = true
			for _, word := range words {
				if !strings.Contains(line, word) {
					return fmt.Errorf("the line of %s has no %q:\n%s", begin, word, out)
				}
			}
		}
		if !found {
			return fmt.Errorf("no line begins with %s:\n%s", begin, out)
		}
	}
	return nil
}

// explain finds the connections of ada.
func explain(t *testing.T, pods deployment, asked, home *pod) {
	for _, p := range pods {
		a := p.api.Request(t, http.MethodGet, "/rollcall/explain?"+url.Values{"host": {"portal.example.com"}, "user": {"ada"}}.Encode(), "")
		var e struct {
			Host, User  string
			Complete    bool
			Missing     []string
			Connections []struct {
				DataCenter string `json:"data_center"`
				Pod        string
				Connection string
				Email      string
				Since      time.Time
				LastSign   time.Time `json:"last_sign_of_life"`
				Channels   []string
			}
		}
		if err := json.Unmarshal([]byte(a.Body), &e); err != nil || !e.Complete || len(e.Missing) > 0 || len(e.Connections) != 3 {
			t.Fatalf("%s: %v: %s", p.Pod, err, a.Body)
		}
		for _, c := range e.Connections {
			if c.DataCenter != home.DC || c.Pod != home.Name || c.Email != "ada@example.com" ||
				len(c.Channels) > 0 || time.Since(c.Since) > time.Minute || c.LastSign.Before(c.Since.Add(-time.Second)) {
				t.Errorf("%s: %+v", p.Pod, c)
			}
		}
	}
	for query, want := range map[string]int{
		"host=portal.example.com&user=nobody": http.StatusOK, "host=portal.example.com": http.StatusBadRequest, "user=ada": http.StatusBadRequest,
	} {
		if a := asked.api.Request(t, http.MethodGet, "/rollcall/explain?"+query, ""); a.Status != want {
			t.Errorf("%s: status %d, want %d: %s", query, a.Status, want, a.Body)
		}
	}
}

// TestPodIsStartingThenReady starts a pod. Its health keeps a load balancer from sending it clients
// until it knows the other pods, and meanwhile no answer is complete.
func TestPodIsStartingThenReady(t *testing.T) {
	pods := deploy(t, podNames(2, "eu-west"), "")
	p := pods[1]
	p.connect(t, nil)
	pods[0].connect(t, userOf("ada"))
	p.stop(t)
	p.run(t)
	starting := false
	ws.Poll(t, ws.Patience, func() error {
		a, err := cluster.AllUsers(p.site, cluster.Shape{})
		if err != nil {
			t.Fatal(err)
		}
		status, word, err := p.health()
		if err != nil {
			t.Fatal(err)
		}
		if word == "starting" { // and it was when it answered
			starting = true
			if status != http.StatusServiceUnavailable || a.Complete {
				t.Fatalf("health is %d %s, and the answer %+v", status, word, a)
			}
			return fmt.Errorf("health is %s", word)
		}
		if status != http.StatusOK || word != "ok" {
			t.Fatalf("health is %d %s", status, word)
		}
		return nil
	})
	if !starting {
		t.Error("the pod was never starting")
	}
	a, err := cluster.AllUsers(p.site, cluster.Shape{Raw: true})
	if err != nil || !a.Complete || a.DCs["eu-west"].Authenticated != 1 {
		t.Errorf("the first answer when it is ready: %+v (%v)", a, err)
	}
}

// TestReloadOfAPodIsNoNewsToOthers reloads a pod with the same configuration and with another one:
// it keeps its incarnation, and no watcher receives a frame.
func TestReloadOfAPodIsNoNewsToOthers(t *testing.T) {
	pods := deploy(t, podNames(2, "eu-west"), "grace 0s")
	p, other := pods[0], pods[1]
	p.connect(t, userOf("ada"))
	for _, q := range pods {
		if err := q.connect(t, userOf("bob")).Join(room); err != nil {
			t.Fatal(err)
		}
	}
	view := new(cluster.View)
	watcher := other.connect(t, userOf("watcher"))
	if err := watcher.Watch(room, view); err != nil {
		t.Fatal(err)
	}
	before := incarnations(t, other)
	begin := time.Now()
	changed := p.setup
	changed.options = "grace 0s\nping 20s 30s"
	for i := range 10 {
		s := p.setup
		if i%2 == 1 {
			s = changed
		}
		if status, body, err := p.load(s); err != nil || status != http.StatusOK {
			t.Fatalf("reload: status %d: %s (%v)", status, body, err)
		}
		if err := p.ready(); err != nil {
			t.Fatal(err)
		}
		for _, q := range pods {
			a, err := cluster.AllUsers(q.site, model.Shapes[i%len(model.Shapes)])
			if err != nil || !a.Complete {
				t.Fatalf("%s: %+v (%v)", q.Pod, a, err)
			}
		}
	}
	// The pod's deltas come in order: when a new user is seen, all earlier ones were.
	if err := p.connect(t, userOf("last")).Join(room); err != nil {
		t.Fatal(err)
	}
	ws.Poll(t, ws.Patience, func() error {
		if joined, _, _ := view.Since(begin, "last"); joined != 1 {
			return fmt.Errorf("the last one joined %d times", joined)
		}
		return nil
	})
	events, err := view.Events()
	if err != nil || len(events) != 2 { // the snapshot, and the new user
		t.Errorf("%d events: %+v (%v)", len(events), events, err)
	}
	if after := incarnations(t, other); !slices.Equal(before, after) {
		t.Errorf("the pods were %q, and then %q", before, after)
	}
	for line := range strings.Lines(other.log.String()) {
		if strings.Contains(line, `"pod left"`) {
			t.Errorf("the other pod says: %s", line)
		}
	}
}

// incarnations returns the incarnations of pods that a pod knows.
func incarnations(t *testing.T, p *pod) []string {
	t.Helper()
	r, err := p.cluster()
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, other := range r.Pods {
		list = append(list, other.DataCenter+"/"+other.Pod+" "+other.Incarnation+" "+other.State)
	}
	slices.Sort(list)
	return list
}
