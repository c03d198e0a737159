package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// routes returns the addresses at which pods accept routes.
func (d deployment) routes(t *testing.T) []string {
	t.Helper()
	var list []string
	for _, p := range d {
		_, rest, _ := strings.Cut(p.setup.globals, "listen ")
		address, _, ok := strings.Cut(rest, "\n")
		if !ok {
			t.Fatalf("%s has no address for routes", p.Pod)
		}
		list = append(list, address)
	}
	return list
}

// TestNobodyJoinsWithoutTheSecret connects to the port for routes with garbage, as a client of
// NATS, with servers that have no password or a wrong one, and with a pod that has another secret.
func TestNobodyJoinsWithoutTheSecret(t *testing.T) {
	pods := deploy(t, podNames(2, "eu-west"), "")
	pods[1].connect(t, userOf("ada"))
	routes := pods.routes(t)

	intruders := map[string]*natsServer{
		"no password":    intruder(t, routes, nil),
		"wrong password": intruder(t, routes, url.UserPassword("rollcall", clusterSecret)),
		"wrong user":     intruder(t, routes, url.UserPassword("admin", "")),
	}
	stranger := newPod(t, cluster.Pod{DC: "eu-west", Name: "stranger"}, "",
		strings.Replace(routed(fmt.Sprintf("127.0.0.1:%d", podPort(t)), routes), clusterSecret, "another-secret-of-many-letters", 1))
	stranger.run(t)
	for name, said := range map[string]string{
		"garbage":           strings.Repeat("\x00\xff\x80garbage", 100) + "\r\n",
		"a long line":       strings.Repeat("A", 1<<20),
		"HTTP":              "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
		"nothing":           "",
		"a client":          "CONNECT {\"verbose\":false}\r\nSUB rollcall.> 1\r\nPING\r\n",
		"a client of route": "CONNECT {\"user\":\"rollcall\",\"pass\":\"" + clusterSecret + "\"}\r\nRS+ $G rollcall.>\r\nPING\r\n",
	} {
		t.Run(name, func(t *testing.T) { hearNothing(t, routes[0], said) })
	}

	for name, n := range intruders {
		ws.Poll(t, ws.Patience, func() error {
			if log := n.log.String(); !strings.Contains(log, "Authorization Violation") {
				return fmt.Errorf("%s was not refused yet:\n%s", name, log)
			}
			return nil
		})
		e := eavesdrop(t, n.client(t))
		t.Cleanup(func() {
			if heard := e.heard(); len(heard) > 0 {
				t.Errorf("%s: received %d payloads of pods", name, len(heard))
			}
		})
	}
	ws.Poll(t, ws.Patience, stranger.ready)
	// A server with the password is admitted last: the others had at least as much time.
	known := intruder(t, routes, overheard(t))
	ws.Poll(t, ws.Patience, func() error {
		if n := known.NumRoutes(); n != len(pods) {
			return fmt.Errorf("%d routes:\n%s", n, known.log.Tail(2<<10))
		}
		return nil
	})
	for name, n := range intruders {
		if routes := n.NumRoutes(); routes > 0 {
			t.Errorf("%s: %d routes", name, routes)
		}
	}
	if err := stranger.sees(deployment{stranger}); err != nil {
		t.Error(err)
	}
	for _, p := range pods {
		if err := p.sees(pods); err != nil {
			t.Error(err)
		}
		a, err := cluster.AllUsers(p.site, cluster.Shape{})
		if err != nil || !a.Complete || a.DCs["eu-west"].Authenticated != 1 {
			t.Errorf("%s answers %+v (%v)", p.Pod, a, err)
		}
	}
}

// hearNothing writes to a port and reads until the connection is closed: no payload of a pod may
// come.
func hearNothing(t *testing.T, address, said string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, ws.Patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(ws.Patience))
	go func() { _, _ = io.WriteString(conn, said) }() // ends with the connection, which the other side may close
	heard, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection is open after %s; received %q", ws.Patience, heard)
	}
	for _, word := range []string{"RMSG", "MSG", "RS+", "PONG"} {
		if bytes.Contains(heard, []byte(word)) {
			t.Errorf("received %q", heard)
		}
	}
}

// TestPayloadsThatWereNotMadeWithTheSecret attacks from a server on a real route, with the
// overheard password. It sends malformed, oversized and forged payloads, some of another version,
// and replays old ones. They are counted and ignored, and answers and presence stay right. Then a
// pod dies, and its replayed heartbeats do not keep it alive.
func TestPayloadsThatWereNotMadeWithTheSecret(t *testing.T) {
	t.Parallel()
	pods := deploy(t, podNames(3, "eu-west"), "grace 1s")
	n := intruder(t, pods.routes(t), overheard(t))
	nc := n.client(t)
	e := eavesdrop(t, nc)
	s := newScene(t, pods)
	s.awaitViews(pods, s.members())
	begin := time.Now()
	for _, p := range pods[:2] {
		s.ask(p, s.outlook, 0)
	}
	e.awaitAll(t)
	s.awaitAnswers(begin, someAnswers)

	before := pods.ignores(t)
	sent := attack(t, nc, e)
	pods.awaitIgnored(t, before, sent)
	t.Logf("sent and ignored: %+v", sent)
	heard := e.heard()
	for range 3 {
		replay(t, nc, heard)
	}
	pods.expectMetrics(t)
	s.awaitAnswers(time.Now(), someAnswers)

	// Replay the dead pod's heartbeats, until the other pods would have forgotten that it is dead.
	victim, others := pods[2], pods[:2]
	killed := time.Now()
	s.outlook.Begin(killed, victim.Pod, cluster.Unsure, cluster.MayMiss)
	s.outlook.End(killed.Add(lateness), victim.Pod, cluster.MayMiss)
	victim.signal(t, syscall.SIGKILL)
	victim.await(t, ws.Patience)
	s.outlook.Begin(time.Now(), victim.Pod, cluster.Absent)
	last := slices.DeleteFunc(e.heard(), func(c capture) bool {
		_, is := c.message.(*message.Heartbeat)
		return !is || c.from.Pod != victim.Name
	})
	if len(last) == 0 {
		t.Fatal("no heartbeat of the pod was received")
	}
	const long = 18 * time.Second
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for range int(long / (200 * time.Millisecond)) {
		<-tick.C
		replay(t, nc, last[max(0, len(last)-5):])
	}
	s.stopAsking("attacked", begin)
	s.awaitViews(others, s.members(victim))
	for _, p := range others {
		s.expectEvents(p, begin, 0, alone(victim), 0, 1)
		s.expectEvents(p, begin, 0, s.members(victim), 0, 0)
		if err := p.sees(others); err != nil {
			t.Error(err)
		}
	}
}

// expectMetrics compares the metrics with the report.
func (d deployment) expectMetrics(t *testing.T) {
	t.Helper()
	for i, want := range d.ignores(t) {
		text := d[i].get(t, "/metrics")
		for reason, n := range map[string]int{
			"malformed": want.Malformed, "oversized": want.Oversized, "forged": want.Forged, "version": want.Version,
		} {
			line := fmt.Sprintf("caddy_rollcall_cluster_ignored_total{reason=%q} %d\n", reason, n)
			if n == 0 || !strings.Contains(text, line) {
				t.Errorf("the metrics of %s have no %s", d[i].Pod, line)
			}
		}
	}
}
