package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// fakeCluster stands for a cluster, and logs its calls.
type fakeCluster struct {
	name       string
	clusterLog *clusterLog
	ready      bool
	truth      cluster.Truth
	fails      error // of Change
	dcs        []cluster.DataCenter
	list       []presence.Listing
	forget     error // result of Forget
}

// clusterLog has the calls of all fake clusters, in order.
type clusterLog struct {
	mu    sync.Mutex
	lines []string
	sites []message.Site // last sites set
}

func (d *clusterLog) note(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

// expect compares the calls since the last time.
func (d *clusterLog) expect(t *testing.T, want ...string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.lines, want) {
		t.Errorf("it happened: %q, want %q", d.lines, want)
	}
	d.lines = nil
}

func (c *fakeCluster) SetSites(sites []message.Site) {
	c.clusterLog.mu.Lock()
	defer c.clusterLog.mu.Unlock()
	c.clusterLog.sites = sites
}
func (c *fakeCluster) Ready() bool { return c.ready }

func (*fakeCluster) Begins(presence.HostName) bool { return false }
func (c *fakeCluster) Drain()                      { c.clusterLog.note("drain " + c.name) }

func (c *fakeCluster) Activate() { c.clusterLog.note("activate " + c.name) }

func (c *fakeCluster) Leave(back bool) error {
	c.clusterLog.note(fmt.Sprintf("leave %s %v", c.name, back))
	return nil
}

func (c *fakeCluster) Change(context.Context, cluster.Config) error {
	c.clusterLog.note("change " + c.name)
	return c.fails
}

func (c *fakeCluster) Close() error { c.clusterLog.note("close " + c.name); return nil }

func (c *fakeCluster) AllUsers(_ context.Context, host presence.HostName, members bool, per presence.Per) ([]cluster.DataCenter, cluster.Truth) {
	c.clusterLog.note(fmt.Sprintf("allusers %s %v %v", host, members, per.Raw()))
	dcs := slices.Clone(c.dcs)
	for i := range dcs {
		if !members {
			dcs[i].Users = nil
		}
	}
	return dcs, c.truth
}

func (c *fakeCluster) Users(
	_ context.Context, host presence.HostName, scope cluster.Scope, per presence.Per, page presence.Page,
) ([]presence.Listing, string, cluster.Truth) {
	c.clusterLog.note(fmt.Sprintf("users %s %d %v", host, scope, per.Raw()))
	return c.list, page.After, c.truth
}

func (c *fakeCluster) ChannelUsers(
	_ context.Context, host presence.HostName, scope cluster.Scope, channel string, per presence.Per,
) ([]presence.Listing, cluster.Truth) {
	c.clusterLog.note(fmt.Sprintf("channel %s %d %q %v", host, scope, channel, per.Raw()))
	return c.list, c.truth
}

func (c *fakeCluster) Channels(
	_ context.Context, host presence.HostName, scope cluster.Scope,
) ([]presence.Listing, cluster.Truth) {
	c.clusterLog.note(fmt.Sprintf("channels %s %d", host, scope))
	return c.list, c.truth
}

func (c *fakeCluster) Explain(_ context.Context, host presence.HostName, user string) ([]cluster.PodConnection, cluster.Truth) {
	c.clusterLog.note(fmt.Sprintf("explain %s %s", host, user))
	return []cluster.PodConnection{{
		DataCenter: "eu-west-1", Pod: "web-2",
		Connection: message.Connection{ID: "abc", Email: "a@example.com", Since: 1_700_000_000_000, LastSign: 1_700_000_001_500},
	}}, c.truth
}

func (c *fakeCluster) Hosts(context.Context, presence.HostName) ([]cluster.PodHost, cluster.Truth) {
	return []cluster.PodHost{}, c.truth
}

func (c *fakeCluster) Listeners(
	context.Context, presence.HostName, presence.Listeners,
) (of []presence.Listing, list []cluster.PodListener, next string, truth cluster.Truth) {
	return nil, nil, "", c.truth
}

func (*fakeCluster) LastEvent(context.Context, presence.HostName, string) (none presence.LastEvent, found bool, truth cluster.Truth) {
	return none, false, truth
}

func (c *fakeCluster) Online(_ context.Context, host presence.HostName, users []string) ([]cluster.OnlineUser, cluster.Truth) {
	c.clusterLog.note(fmt.Sprintf("online %s %q", host, users))
	return []cluster.OnlineUser{{User: presence.User{ID: "ada"}, Connections: 3, DataCenters: []string{"eu-west-1", "us-east-1"}}}, c.truth
}

func (c *fakeCluster) Disconnect(_ context.Context, host presence.HostName, channel string, call *cluster.Call) (int, cluster.Truth) {
	c.clusterLog.note(fmt.Sprintf("disconnect %s %q %+v", host, channel, *call))
	return 7, c.truth
}

func (c *fakeCluster) LeaveChannels(_ context.Context, host presence.HostName, call *cluster.Call) (int, cluster.Truth) {
	c.clusterLog.note(fmt.Sprintf("leave %s %+v", host, *call))
	return 7, c.truth
}

func (c *fakeCluster) Spread(_ context.Context, host presence.HostName, records []assignment.Record) cluster.Truth {
	c.clusterLog.note(fmt.Sprintf("spread %s %d", host, len(records)))
	return c.truth
}

func (c *fakeCluster) Forget(dataCenter, pod string) error {
	c.clusterLog.note("forget " + dataCenter + "/" + pod)
	return c.forget
}

func (c *fakeCluster) Report(context.Context) cluster.Report {
	return cluster.Report{
		Name: c.name, Ready: c.ready, Resyncs: 7, QueriesDropped: 8, Unsent: 9, Ignored: cluster.Ignored{Forged: 3},
		Pods: []cluster.PodReport{{DataCenter: "a", Pod: "b", State: "self"}, {DataCenter: "a", Pod: "c", State: "alive"}},
	}
}

// stage makes the hub start fake clusters until the test ends.
func stage(t *testing.T, h *gateway.Hub, start func(cluster.Config) (gateway.Pods, error)) {
	t.Helper()
	h.StartPods = start
}

const clusterSite = "http://portal.example.com, http://*.Example.org {\n\trollcall {\n\t\tapi_key k\n\t}\n}\n"

// clustered is a Caddyfile with a site and a cluster.
func clustered(options string) string {
	return "{\n\trollcall {\n\t\tdata_center us-east-1\n\t\tpod web-1\n\t\tcluster {\n" + options + "\n\t\t}\n\t}\n}\n" + clusterSite
}

const aloneFile = "{\n\trollcall {\n\t\tdata_center us-east-1\n\t\tpod web-1\n\t}\n}\n" + clusterSite

const overNATS = "nats nats://127.0.0.1:4222"

func TestClusterGoesOnThroughReloads(t *testing.T) {
	d := &clusterLog{}
	first := mustLoad(t, clustered(overNATS))
	h := first.app.hub
	stage(t, h, func(cfg cluster.Config) (gateway.Pods, error) {
		d.note("start " + cfg.Name)
		return &fakeCluster{name: cfg.Name, clusterLog: d, ready: true}, nil
	})
	a := first.snapshot()
	h.Offer(a)
	d.expect(t, "start rollcall")
	want := []message.Site{{Sets: [][]string{{"portal.example.com", "*.example.org"}}}}
	if !reflect.DeepEqual(d.sites, want) {
		t.Errorf("sites %v, want %v", d.sites, want)
	}

	// With the same settings, the same cluster continues. It learns of a host before a client can
	// connect to it.
	second := mustLoad(t, clustered(overNATS)+"http://new.example.com {\n\trollcall\n}\n")
	b := second.snapshot()
	h.Offer(b)
	if !h.Serves(testkit.MustHost(t, "new.example.com")) || !h.Serves(testkit.MustHost(t, "portal.example.com")) || len(d.sites) != 3 {
		t.Errorf("with a configuration on offer, the sites are %v", d.sites)
	}
	h.TakeBack(a)
	d.expect(t)
	if len(d.sites) != 2 || h.Serves(testkit.MustHost(t, "other.example.com")) {
		t.Errorf("sites %v", d.sites)
	}

	// The same pod of the same deployment takes over other settings when they take effect.
	running := h.Joined()
	slower := mustLoad(t, clustered(overNATS+"\nquery_timeout 1s")).snapshot()
	h.Offer(slower)
	d.expect(t)
	h.TakeBack(b)
	d.expect(t, "change rollcall")
	if h.Joined() != running || len(d.sites) != 1 {
		t.Errorf("the cluster is %v with sites %v", h.Joined(), d.sites)
	}

	// Another deployment replaces it.
	third := mustLoad(t, clustered(overNATS+"\nname other"))
	c := third.snapshot()
	h.Offer(c)
	d.expect(t)
	h.TakeBack(slower)
	d.expect(t, "start other", "activate other", "leave rollcall false")

	// A discarded configuration changes nothing.
	fourth := mustLoad(t, clustered(overNATS))
	given := fourth.snapshot()
	h.Offer(given)
	h.TakeBack(given)
	d.expect(t)

	alone := mustLoad(t, aloneFile).snapshot()
	h.Offer(alone)
	h.TakeBack(c)
	d.expect(t, "close other")
	if h.Joined() != nil {
		t.Error("there is still a cluster")
	}
	h.TakeBack(alone)
	d.expect(t)
}

// failedChange makes a change of the cluster fail, and returns the configuration that it is of. It
// fails again until the error of the cluster is removed.
func failedChange(t *testing.T) (*clusterLog, *gateway.Hub, *fakeCluster, *gateway.Configuration) {
	t.Helper()
	d := &clusterLog{}
	c := mustLoad(t, clustered(overNATS))
	h := c.app.hub
	stand := &fakeCluster{name: "it", clusterLog: d, ready: true, fails: errors.New("not today")}
	stage(t, h, func(cluster.Config) (gateway.Pods, error) { return stand, nil })
	a, b := c.snapshot(), mustLoad(t, clustered(overNATS+"\nquery_timeout 1s")).snapshot()
	h.Offer(a)
	h.Offer(b)
	h.TakeBack(a)
	d.expect(t, "change it")
	return d, h, stand, b
}

// A change that fails leaves the cluster as it was, and is tried again.
func TestFailedChangeKeepsTheCluster(t *testing.T) {
	d, h, stand, _ := failedChange(t)
	if h.Joined() != gateway.Pods(stand) {
		t.Errorf("the cluster is %v", h.Joined())
	}
	stand.fails = nil
	h.RetryCluster()
	h.RetryCluster() // nothing to retry
	d.expect(t, "change it")
}

// A change that fails may have closed the bus, so that the settings of before are a change too.
func TestReloadAfterAFailedChange(t *testing.T) {
	d, h, stand, b := failedChange(t)
	again := mustLoad(t, clustered(overNATS)).snapshot()
	h.Offer(again)
	stand.fails = nil
	h.TakeBack(b)
	d.expect(t, "change it")
	if h.Joined() != gateway.Pods(stand) {
		t.Errorf("the cluster is %v", h.Joined())
	}
	h.RetryCluster() // nothing to retry
	d.expect(t)
}

// The cluster of another deployment is joined before the old one is left, if both can be. A pod
// that stays in its deployment says that it is back soon.
func TestClusterIsReplaced(t *testing.T) {
	taken := fmt.Errorf("listening: %w", syscall.EADDRINUSE)
	renamed := strings.Replace(clustered(overNATS), "pod web-1", "pod web-2", 1)
	const secret = "\nsecret another-one-of-many-letters"
	tests := []struct {
		name  string
		file  string
		fails []error // of the next starts
		want  []string
	}{
		{"another secret", clustered(overNATS + secret), nil, []string{"start new standby", "activate new", "leave old true"}},
		{"another name", clustered(overNATS + "\nname new"), nil, []string{"start new standby", "activate new", "leave old false"}},
		{"another pod", renamed, nil, []string{"leave old true", "start new"}},
		{"same port", clustered(overNATS + secret), []error{taken}, []string{"start new standby", "leave old true", "start new"}},
		{
			"fails", clustered(overNATS + secret),
			[]error{errors.New("not today")},
			[]string{"start new standby", "start new standby", "activate new", "leave old true"},
		},
		{"fails after the old one was left", renamed, []error{errors.New("not today")}, []string{"leave old true", "start new", "start new"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := &clusterLog{}
			c := mustLoad(t, clustered(overNATS))
			h := c.app.hub
			old := &fakeCluster{name: "old", clusterLog: d, ready: true}
			stage(t, h, func(cluster.Config) (gateway.Pods, error) { return old, nil })
			before, after := c.snapshot(), mustLoad(t, tt.file).snapshot()
			h.Offer(before)
			fails := tt.fails
			stage(t, h, func(cfg cluster.Config) (gateway.Pods, error) {
				line := "start new"
				if cfg.Standby {
					line += " standby"
				}
				d.note(line)
				if len(fails) > 0 {
					err := fails[0]
					fails = fails[1:]
					return nil, err
				}
				return &fakeCluster{name: "new", clusterLog: d, ready: true}, nil
			})
			h.Offer(after)
			h.TakeBack(before)
			h.RetryCluster() // only after a failure
			d.expect(t, tt.want...)
			if now, ok := h.Joined().(*fakeCluster); !ok || now.name != "new" {
				t.Errorf("the cluster is %v", h.Joined())
			}
			h.TakeBack(after)
			d.expect(t, "drain new", "close new")
		})
	}
}

func TestClusterSaysGoodbyeAroundTheDrain(t *testing.T) {
	d := &clusterLog{}
	c := mustLoad(t, clustered(overNATS))
	stage(t, c.app.hub, func(cluster.Config) (gateway.Pods, error) { return &fakeCluster{name: "it", clusterLog: d}, nil })
	s := c.snapshot()
	c.app.hub.Offer(s)
	c.app.hub.TakeBack(s)
	d.expect(t, "drain it", "close it")
	if !c.app.hub.Serves(testkit.MustHost(t, "portal.example.com")) {
		t.Error("while it drains, a pod no longer serves its hosts: its connections would be left out")
	}
}

func TestClusterIsTriedAgain(t *testing.T) {
	d := &clusterLog{}
	c := mustLoad(t, clustered(overNATS))
	h := c.app.hub
	fail := true
	stage(t, h, func(cluster.Config) (gateway.Pods, error) {
		if fail {
			return nil, errors.New("no NATS today")
		}
		return &fakeCluster{name: "it", clusterLog: d, ready: true, truth: cluster.Truth{Complete: true}}, nil
	})
	h.Offer(c.snapshot())
	handler := c.handler(t)
	w := post(t, handler, "/message/allusers", `{"apiKey":"k"}`)
	checkTruth(t, w, "false", "")
	if want := `{"us-east-1":{"authenticated":0,"anonymous":0},"_total":{"authenticated":0,"anonymous":0}}`; w.Body.String() != want {
		t.Errorf("the pod's own part is %s", w.Body)
	}
	checkTruth(t, post(t, handler, "/message/users", `{"apiKey":"k","scope":"dc"}`), "false", "")
	checkTruth(t, post(t, handler, "/message/users", `{"apiKey":"k"}`), "true", "")
	if w := getAdmin(t, "/rollcall/health"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"status":"starting"`) {
		t.Errorf("health: %d %s", w.Code, w.Body)
	}
	if w := getAdmin(t, "/rollcall/cluster"); !strings.Contains(w.Body.String(), `"last_error":"no NATS today"`) || !strings.Contains(w.Body.String(), `"ready":false`) {
		t.Errorf("report: %s", w.Body)
	}
	fail = false
	h.RetryCluster()
	d.expect(t)
	w = post(t, handler, "/message/allusers", `{"apiKey":"k"}`)
	d.expect(t, "allusers portal.example.com false false")
	checkTruth(t, w, "true", "")
	if w := getAdmin(t, "/rollcall/health"); w.Code != http.StatusOK {
		t.Errorf("health: %d %s", w.Code, w.Body)
	}
	running := h.Joined()
	h.RetryCluster() // nothing to retry
	if h.Joined() != running {
		t.Error("a cluster that runs was started again")
	}
}

func TestPodIsStartingWhileItsClusterStarts(t *testing.T) {
	c := mustLoad(t, clustered(overNATS))
	h := c.app.hub
	asked := false
	stage(t, h, func(cluster.Config) (gateway.Pods, error) {
		asked = true
		if w := getAdmin(t, "/rollcall/health"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"status":"starting"`) {
			t.Errorf("health: %d %s", w.Code, w.Body)
		}
		if w := getAdmin(t, "/rollcall/cluster"); !strings.Contains(w.Body.String(), `"ready":false`) {
			t.Errorf("report: %s", w.Body)
		}
		if w := getAdmin(t, "/rollcall/explain?host=portal.example.com&user=a"); !strings.Contains(w.Body.String(), `"complete":false`) {
			t.Errorf("explain: %s", w.Body)
		}
		checkTruth(t, post(t, c.handler(t), "/message/allusers", `{"apiKey":"k"}`), "false", "")
		return &fakeCluster{name: "it", clusterLog: new(clusterLog), ready: true}, nil
	})
	h.Offer(c.snapshot())
	if w := getAdmin(t, "/rollcall/health"); w.Code != http.StatusOK || !asked {
		t.Errorf("health: %d %s", w.Code, w.Body)
	}
}

func TestEndpointsAskTheCluster(t *testing.T) {
	d := &clusterLog{}
	c := mustLoad(t, clustered(overNATS))
	stand := &fakeCluster{name: "it", clusterLog: d, ready: true, truth: cluster.Truth{Missing: []string{"eu-west-1/web-3", "us-east-1/web-2"}}}
	stand.dcs = []cluster.DataCenter{
		{Name: "eu-west-1", Users: []presence.User{}},
		{Name: "us-east-1", Authenticated: 1, Anonymous: 2, Users: []presence.User{{ID: "ada", Email: "ada@example.com"}}},
	}
	stand.list = []presence.Listing{{Channel: "lobby", Kind: presence.Anonymous, Count: 5}}
	stage(t, c.app.hub, func(cluster.Config) (gateway.Pods, error) { return stand, nil })
	c.app.hub.Offer(c.snapshot())
	h := c.handler(t)
	const missing = "eu-west-1/web-3, us-east-1/web-2"
	for _, test := range []struct {
		name, endpoint, body, asked, want string
	}{
		{"counts", "allusers", ``, "allusers portal.example.com false false", `{"eu-west-1":{"authenticated":0,"anonymous":0},` +
			`"us-east-1":{"authenticated":1,"anonymous":2},"_total":{"authenticated":1,"anonymous":2}}`},
		{
			"users of each connection", "allusers", `,"includeUsers":true,"dedupeUsers":false`, "allusers portal.example.com true true",
			`{"eu-west-1":{"authenticated":[],"authenticatedCount":0,"anonymous":0},` +
				`"us-east-1":{"authenticated":[{"id":"ada","email":"ada@example.com"}],"authenticatedCount":1,"anonymous":2},"_total":{"authenticated":1,"anonymous":2}}`,
		},
		{"dc", "users", `,"scope":"dc"`, `users portal.example.com 1 false`, `{"lobby":5}`},
		{"all, one channel", "users", `,"scope":"all","channel":"lobby","dedupeUsers":false`, `channel portal.example.com 2 "lobby" true`, `{"lobby":5}`},
		{"channels of all", "channels", `,"scope":"all"`, "channels portal.example.com 2", `{"authenticated":[],"anonymous":["lobby"]}`},
		{"channels of dc", "channels", `,"scope":"dc"`, "channels portal.example.com 1", `{"authenticated":[],"anonymous":["lobby"]}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			status := http.StatusOK
			if test.endpoint == "channels" {
				status = http.StatusCreated
			}
			w := post(t, h, "/message/"+test.endpoint, `{"apiKey":"k"`+test.body+`}`)
			d.expect(t, test.asked)
			checkTruth(t, w, "false", missing)
			if w.Code != status || w.Body.String() != test.want {
				t.Errorf("status %d: %s, want %s", w.Code, w.Body, test.want)
			}
			w = post(t, h, "/message/"+test.endpoint, `{"apiKey":"k","requireComplete":true`+test.body+`}`)
			d.expect(t, test.asked)
			checkProblem(t, w, http.StatusServiceUnavailable, "incomplete")
			checkTruth(t, w, "false", missing)
			if w.Header().Get("Retry-After") != "1" {
				t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
			}
		})
	}
	for _, body := range []string{``, `,"scope":"pod"`} { // needs no other pod
		w := post(t, h, "/message/users", `{"apiKey":"k","requireComplete":true`+body+`}`)
		checkTruth(t, w, "true", "")
	}
	for _, body := range []string{``, `,"scope":"pod"`} {
		w := post(t, h, "/message/channels", `{"apiKey":"k","requireComplete":true`+body+`}`)
		checkTruth(t, w, "true", "")
	}
	d.expect(t)
	for body, endpoint := range map[string]string{
		`{"apiKey":"k","scope":"pods"}`:                        "users",
		`{"apiKey":"k","scope":"all","requireComplete":1}`:     "users",
		`{"apiKey":"k","scope":1}`:                             "users",
		`{"apiKey":"k","scope":"all","dedupeUsers":"yes"}`:     "users",
		`{"apiKey":"k","requireComplete":"yes"}`:               "allusers",
		`{"apiKey":"k","scope":"every"}`:                       "channels",
		`{"apiKey":"k","requireComplete":"no"}`:                "channels",
		`{"apiKey":"k","includeUsers":"yes","dedupeUsers":[]}`: "allusers",
	} {
		checkProblem(t, post(t, h, "/message/"+endpoint, body), http.StatusBadRequest, "bad_value")
	}
	checkProblem(t, post(t, h, "/message/allusers", `{"apiKey":"wrong"}`), http.StatusUnauthorized, "bad_key")
	d.expect(t) // no query was sent
	stand.truth = cluster.Truth{Complete: true}
	w := post(t, h, "/message/allusers", `{"apiKey":"k","requireComplete":true}`)
	checkTruth(t, w, "true", "")
}

func checkTruth(t *testing.T, w *httptest.ResponseRecorder, complete, missing string) {
	t.Helper()
	if c, m := w.Header().Get("Rollcall-Complete"), w.Header().Get("Rollcall-Missing"); c != complete || m != missing {
		t.Errorf("complete %q and missing %q, want %q and %q", c, m, complete, missing)
	}
	if _, there := w.Header()["Rollcall-Missing"]; there && missing == "" {
		t.Error("there is an empty Rollcall-Missing")
	}
}

// A configuration whose address is taken is refused, and the running cluster continues.
func TestClusterAddressIsTriedBefore(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	d := &clusterLog{}
	c := mustLoad(t, clustered(overNATS))
	h := c.app.hub
	stage(t, h, func(cluster.Config) (gateway.Pods, error) { return &fakeCluster{name: "it", clusterLog: d}, nil })
	h.Offer(c.snapshot())
	next := mustLoad(t, clustered("listen "+taken.Addr().String()+"\nsecret "+clusterSecret))
	if err := next.app.Start(); err == nil || !strings.Contains(err.Error(), "cluster: trying to listen") {
		t.Errorf("error %v", err)
	}
	d.expect(t)
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.CheckCluster(next.app.cluster); err != nil {
		t.Errorf("the address is free, and yet: %v", err)
	}
}

// getAdmin asks the admin endpoint.
func getAdmin(t *testing.T, uri string) *httptest.ResponseRecorder {
	t.Helper()
	w, err := serveAdminRoute(t, http.MethodGet, uri, "")
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// serveAdminRoute passes a request to the admin endpoint of its path.
func serveAdminRoute(t *testing.T, method, uri, body string) (*httptest.ResponseRecorder, error) {
	t.Helper()
	path, _, _ := strings.Cut(uri, "?")
	for _, route := range new(AdminAPI).Routes() {
		if route.Pattern == path {
			w := httptest.NewRecorder()
			return w, route.Handler.ServeHTTP(w, httptest.NewRequest(method, uri, strings.NewReader(body)))
		}
	}
	t.Fatalf("no route for %s", path)
	return nil, nil
}

func decode(t *testing.T, w *httptest.ResponseRecorder, to any) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), to); err != nil {
		t.Fatalf("%s: %v", w.Body, err)
	}
}
