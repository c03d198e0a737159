package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// continents has a machine for each pod, with its own address, and a switch for each data center. A
// cable joins the switches: without it, packets to the other side are dropped silently.
type continents struct {
	hub      string // the network namespace of the switches
	machines []string
}

// cable is the end of the cable at the first switch.
const cable = "cable0"

func newContinents(t *testing.T, pods []cluster.Pod, dcs ...string) *continents {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces: run it as root")
	}
	c := &continents{hub: namespace(t, "hub")}
	mustRun(t, "ip", "-n", c.hub, "link", "add", cable, "type", "veth", "peer", "name", "cable1")
	for i := range dcs {
		bridge := fmt.Sprintf("switch%d", i)
		mustRun(t, "ip", "-n", c.hub, "link", "add", bridge, "type", "bridge")
		mustRun(t, "ip", "-n", c.hub, "link", "set", bridge, "up")
		end := fmt.Sprintf("cable%d", i)
		mustRun(t, "ip", "-n", c.hub, "link", "set", end, "master", bridge)
		mustRun(t, "ip", "-n", c.hub, "link", "set", end, "up")
	}
	for i, p := range pods {
		machine, port := namespace(t, fmt.Sprintf("m%d", i)), fmt.Sprintf("port%d", i)
		mustRun(t, "ip", "-n", machine, "link", "add", "wire", "type", "veth", "peer", "name", port, "netns", c.hub)
		mustRun(t, "ip", "-n", c.hub, "link", "set", port, "master", fmt.Sprintf("switch%d", slices.Index(dcs, p.DC)))
		mustRun(t, "ip", "-n", c.hub, "link", "set", port, "up")
		mustRun(t, "ip", "-n", machine, "addr", "add", machineAddress(i)+"/24", "dev", "wire")
		mustRun(t, "ip", "-n", machine, "link", "set", "wire", "up")
		c.machines = append(c.machines, machine)
	}
	return c
}

// namespace creates a network namespace until the test ends.
func namespace(t *testing.T, what string) string {
	t.Helper()
	name := fmt.Sprintf("rollcall-%d-%s", os.Getpid(), what)
	mustRun(t, "ip", "netns", "add", name)
	t.Cleanup(func() { mustRun(t, "ip", "netns", "del", name) })
	mustRun(t, "ip", "-n", name, "link", "set", "lo", "up")
	return name
}

// machineAddress returns an address from RFC 5737.
func machineAddress(i int) string { return fmt.Sprintf("192.0.2.%d", 10+i) }

func (c *continents) setCable(t *testing.T, state string) {
	t.Helper()
	mustRun(t, "ip", "-n", c.hub, "link", "set", cable, state)
}

// deployApart runs each pod on its own machine. The test reaches them through Unix sockets.
func (c *continents) deployApart(t *testing.T, names []cluster.Pod, options string) deployment {
	t.Helper()
	const routePort = 6222
	addresses := make([]string, len(names))
	for i := range names {
		addresses[i] = fmt.Sprintf("%s:%d", machineAddress(i), routePort)
	}
	var d deployment
	for i, name := range names {
		p := newPod(t, name, options, routed(addresses[i], addresses))
		p.setup.prefix = []string{"ip", "netns", "exec", c.machines[i]}
		site, admin := filepath.Join(p.dir, "site.sock"), filepath.Join(p.dir, "admin.sock")
		p.setup.globals += fmt.Sprintf("\ndefault_bind %s unix/%s", machineAddress(i), site)
		p.admin = "unix/" + admin
		p.door.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", site)
		}
		p.site.Client = keepingClient(t, p.door.Dial)
		p.api = ws.Site{URL: "http://127.0.0.1", Client: unixClient(admin)}
		d = append(d, p)
	}
	d.run(t)
	return d
}

// TestDataCentersThatLoseEachOther cuts the cable between two data centers. During the cut, each
// side answers in time and names all pods of the other as missing. Within five seconds after its
// end, everything is as before, and no user is left over or lost.
func TestDataCentersThatLoseEachOther(t *testing.T) {
	const (
		grace      = time.Second
		deadline   = 1500 * time.Millisecond // of answers across data centers
		slack      = time.Second             // what a busy machine adds
		partition  = 10 * time.Second        // twice the time until a pod counts as gone
		healsAfter = 5 * time.Second
	)
	names := podNames(2, "eu-west", "us-east")
	c := newContinents(t, names, "eu-west", "us-east")
	pods := c.deployApart(t, names, "grace "+grace.String())
	s := newScene(t, pods)
	sides := [2]deployment{pods[:2], pods[2:]}
	outlooks := [2]*cluster.Outlook{cluster.NewOutlook(names), cluster.NewOutlook(names)}
	// each calls do for each pod on the other side of an outlook.
	each := func(do func(o *cluster.Outlook, other cluster.Pod)) {
		for i, o := range outlooks {
			for _, other := range sides[1-i] {
				do(o, other.Pod)
			}
		}
	}
	moves, moved := s.resident(pods[0], "moves")
	everybody := append(s.members(), "moves")
	slices.Sort(everybody)
	s.awaitViews(pods, everybody)
	for i, side := range sides {
		for _, p := range side {
			s.ask(p, outlooks[i], deadline+slack)
		}
	}
	s.startLoad(pods)
	s.awaitAnswers(time.Now(), someAnswers)

	cut := time.Now()
	each(func(o *cluster.Outlook, other cluster.Pod) { o.Begin(cut, other, cluster.Unsure, cluster.MayMiss) })
	c.setCable(t, "down")
	after := time.Now()
	each(func(o *cluster.Outlook, other cluster.Pod) { o.Begin(after, other, cluster.Absent, cluster.MustMiss) })
	moved.Leaving()
	moves.Close()
	moved.Left()
	s.resident(pods[2], "moves") // to the other side, which cannot know that the first connection has ended
	s.resident(pods[3], "new")
	for i, side := range sides {
		for _, other := range sides[1-i] {
			s.awaitLeaves(side, cut, alone(other))
		}
	}
	s.askers[0].Aside(func() { expectMissing(t, pods[0], sides[1]) })
	<-time.After(time.Until(cut.Add(partition)))
	s.awaitAnswers(cut.Add(partition), 2)

	healed := time.Now()
	each(func(o *cluster.Outlook, other cluster.Pod) {
		o.End(healed, other, cluster.Absent, cluster.MustMiss)
		o.End(healed.Add(healsAfter), other, cluster.Unsure, cluster.MayMiss)
	})
	c.setCable(t, "up")
	s.awaitAnswers(healed.Add(healsAfter), someAnswers)
	s.stopLoading()
	s.stopAsking("parted", cut)
	everybody = append(everybody, "new")
	slices.Sort(everybody)
	s.awaitViews(pods, everybody)
	for i, side := range sides {
		for _, p := range side {
			for _, other := range sides[1-i] {
				s.expectEvents(p, cut, grace, alone(other), 1, 1)
			}
			for _, near := range side {
				s.expectEvents(p, cut, grace, alone(near), 0, 0)
			}
		}
	}
}

// expectMissing checks a pod's answers, beyond the counts, while pods of another data center are
// missing.
func expectMissing(t *testing.T, p *pod, missing deployment) {
	t.Helper()
	names := make([]string, len(missing))
	for i, other := range missing {
		names[i] = other.String()
	}
	list := strings.Join(names, ", ")
	tests := []struct {
		endpoint, body string
		status         int
		missing        string
	}{
		{"allusers", `{"requireComplete":true}`, http.StatusServiceUnavailable, list},
		{"users", `{"scope":"all","channel":"room","requireComplete":true}`, http.StatusServiceUnavailable, list},
		{"users", `{"scope":"all","channel":"room"}`, http.StatusOK, list},
		{"users", `{"scope":"dc","channel":"room","requireComplete":true}`, http.StatusOK, ""},
		{"users", `{"channel":"room","requireComplete":true}`, http.StatusOK, ""},
	}
	for _, tt := range tests {
		a := p.site.Request(t, http.MethodPost, "/message/"+tt.endpoint, tt.body, "X-Api-Key", apiKey)
		if a.Status != tt.status || a.Header.Get("Rollcall-Missing") != tt.missing ||
			a.Header.Get("Rollcall-Complete") != strconv.FormatBool(tt.missing == "") {
			t.Errorf("%s %s of %s: status %d, headers %v", tt.endpoint, tt.body, p.Pod, a.Status, a.Header)
		}
		if tt.status != http.StatusOK && (a.Header.Get("Retry-After") == "" || !strings.Contains(a.Body, `"code":"incomplete"`)) {
			t.Errorf("%s %s of %s: Retry-After %q, %s", tt.endpoint, tt.body, p.Pod, a.Header.Get("Retry-After"), a.Body)
		}
	}
}
