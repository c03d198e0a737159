package e2e

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
	proc "github.com/rollcall-gateway/rollcall/test/internal/process"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// clusterSecret differs in each run, so that pods of another run cannot take part.
var clusterSecret = rand.Text() + rand.Text()

// pod is a Caddy in a deployment.
type pod struct {
	*process
	cluster.Pod
	setup setup
	dir   string
	door  cluster.Door
	api   ws.Site // the admin endpoint
}

// token returns a token of a user.
func token(t testing.TB, user ws.User) string {
	t.Helper()
	claims := jwt.MapClaims{"sub": user.ID, "email": user.Email}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// userOf returns the user with the ID and its address; nil for "".
func userOf(id string) *ws.User {
	if id == "" {
		return nil
	}
	return &ws.User{ID: id, Email: id + "@example.com"}
}

// lastPort is the last result of podPort.
var lastPort atomic.Int32

// podPort returns a port that no client connection gets by chance, because a restarted pod needs it
// again. Linux uses ports from 32768 for clients (ip(7), ip_local_port_range).
func podPort(t *testing.T) int {
	t.Helper()
	const first, last = 20_000, 32_000
	for range last - first {
		port := first + int(lastPort.Add(1))%(last-first)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatalf("no port is free between %d and %d", first, last)
	return 0
}

// newPod prepares a pod on its own ports without starting it. The cluster is the content of the
// cluster block.
func newPod(t *testing.T, name cluster.Pod, options, clusterBlock string) *pod {
	t.Helper()
	dir := t.TempDir()
	p := &pod{
		Pod: name, dir: dir,
		process: &process{
			port: podPort(t), admin: fmt.Sprintf("http://127.0.0.1:%d", podPort(t)),
			file: filepath.Join(dir, "Caddyfile"), log: new(proc.Buffer),
		},
		setup: setup{globals: globals(name, clusterBlock), options: options},
	}
	p.site = ws.Site{
		URL: fmt.Sprintf("http://127.0.0.1:%d", p.port), Host: fmt.Sprintf("portal.example.com:%d", p.port), Key: apiKey,
		Client: keepingClient(t, nil), Shaped: strings.Contains(options, "plugin "),
	}
	p.door = cluster.Door{URL: p.site.Socket().URL, Host: p.site.Host}
	p.api = ws.Site{URL: p.admin}
	return p
}

func globals(name cluster.Pod, clusterBlock string) string {
	return fmt.Sprintf("rollcall {\ndata_center %s\npod %s\ncluster {\n%s\n}\n}\ngrace_period 1s\nlog {\nexclude admin.api\n}",
		name.DC, name.Name, clusterBlock)
}

// keepingClient returns an HTTP client that reuses connections until the test ends, because these
// tests ask thousands of times.
func keepingClient(t *testing.T, dial func(ctx context.Context, network, address string) (net.Conn, error)) *http.Client {
	t.Helper()
	tr := &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Timeout: ws.Patience, Transport: tr}
}

// run starts or restarts the pod, and returns when it answers.
func (p *pod) run(t *testing.T) {
	t.Helper()
	p.write(t, p.setup)
	args := slices.Concat(p.setup.prefix, []string{cmp.Or(p.setup.binary, caddyPath), "run", "--config", p.file})
	cmd, ended := exec.Command(args[0], args[1:]...), make(chan struct{})
	cmd.Env = append(os.Environ(), proc.Home(p.dir)...)
	cmd.Stdout, cmd.Stderr = p.log, p.log
	launch := cmd.Start
	if p.setup.clock != 0 {
		launch = func() error { return startWithClock(cmd, p.setup.clock) }
	}
	if err := launch(); err != nil {
		t.Fatal(err)
	}
	first := p.cmd == nil
	p.cmd, p.ended = cmd, ended
	go func() { // ends with the process, which the cleanup kills
		p.err = cmd.Wait()
		close(ended)
	}()
	if first {
		t.Cleanup(func() { p.finish(t) })
	}
	ws.Poll(t, 3*ws.Patience, func() error {
		select {
		case <-ended:
			t.Fatalf("%s has ended: %v\n%s", p.Pod, p.err, p.log.Tail(4<<10))
		default:
		}
		_, err := p.site.Ask("users", `{}`)
		return err
	})
}

func (p *pod) finish(t *testing.T) {
	p.kill()
	if strings.Contains(p.log.String(), "panic") {
		t.Errorf("%s logs a panic", p.Pod)
	}
	if t.Failed() {
		t.Logf("the log of %s:\n%s", p.Pod, p.log.Tail(4<<10))
	}
}

// health asks for the pod's health.
func (p *pod) health() (status int, word string, err error) {
	a, err := p.api.Do(http.MethodGet, "/rollcall/health", "")
	if err != nil {
		return 0, "", err
	}
	var report struct{ Status string }
	err = json.Unmarshal([]byte(a.Body), &report)
	return a.Status, report.Status, err
}

// ready reports whether a load balancer may send clients to the pod.
func (p *pod) ready() error {
	status, word, err := p.health()
	if err == nil && (status != http.StatusOK || word != "ok") {
		err = fmt.Errorf("%s: health is %d %s", p.Pod, status, word)
	}
	return err
}

// report is the part of /rollcall/cluster that tests use.
type report struct {
	Name  string
	Ready bool
	NATS  struct {
		Connected bool
		Embedded  bool
		Routes    []struct{ Name, Address string }
	}
	Pods []struct {
		DataCenter  string `json:"data_center"`
		Pod         string
		Incarnation string
		State       string
		Heartbeat   float64 `json:"heartbeat_age_seconds"`
		RoundTrip   float64 `json:"round_trip_ms"`
		Connections int
		Hosts       int
		Conflict    bool
	}
	Ignored ignored
}

// ignored counts ignored payloads by reason.
type ignored struct{ Malformed, Oversized, Forged, Version, Unknown, Repeated int }

// cluster asks the pod for its report on the cluster.
func (p *pod) cluster() (r report, err error) {
	a, err := p.api.Do(http.MethodGet, "/rollcall/cluster", "")
	if err != nil {
		return r, err
	}
	if a.Status != http.StatusOK {
		return r, fmt.Errorf("/rollcall/cluster of %s: status %d: %s", p.Pod, a.Status, a.Body)
	}
	if err := json.Unmarshal([]byte(a.Body), &r); err != nil {
		return r, fmt.Errorf("/rollcall/cluster of %s: %w: %s", p.Pod, err, a.Body)
	}
	return r, nil
}

// sees reports whether exactly these pods, and itself, are alive for the pod.
func (p *pod) sees(pods []*pod) error {
	r, err := p.cluster()
	if err != nil {
		return err
	}
	var got, want []string
	for _, other := range r.Pods {
		if other.State == "self" || other.State == "alive" {
			got = append(got, other.DataCenter+"/"+other.Pod)
		}
	}
	for _, other := range pods {
		want = append(want, other.String())
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("%s sees %q, want %q", p.Pod, got, want)
	}
	return nil
}

// stop ends the pod like a deployment does, and returns when it has ended.
func (p *pod) stop(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGTERM)
	if code := p.await(t, ws.Patience); code != 0 {
		t.Fatalf("%s ended with the exit code %d\n%s", p.Pod, code, p.log.Tail(4<<10))
	}
}

// connect opens a connection of the user; "" for an anonymous one.
func (p *pod) connect(t *testing.T, user *ws.User) *cluster.Client {
	t.Helper()
	signed := ""
	if user != nil {
		signed = token(t, *user)
	}
	c, err := cluster.Connect(p.door, signed)
	if err != nil {
		t.Fatalf("connecting to %s: %v", p.Pod, err)
	}
	t.Cleanup(c.Cut)
	return c
}
