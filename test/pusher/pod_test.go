package pusher

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rollcall-gateway/rollcall/internal/loopback"
	"github.com/rollcall-gateway/rollcall/test/internal/process"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

const (
	host      = "portal.example.com" // of the app, unless a test says otherwise
	apiKey    = "key-of-the-endpoints"
	jwtSecret = "secret-of-the-logins-0123456789-abc"
)

// portal is the app of the tests.
var portal = app{ID: "101", Key: "key-of-portal", Secret: "secret-of-portal-0123456789"}

// setup configures pods. Its zero value is one site with the app.
type setup struct {
	globals string // further global options of Rollcall
	options string // further options of the site
	// apps are the lines of the pusher block that name apps; "" for the app pinned to the host.
	apps   string
	pusher string // further options of the pusher block
	sites  string // further sites; {port} is replaced
	prefix []string
}

// pod is a running Caddy. Its site has the host's name and 127.0.0.1, by which browsers and Node.js
// reach it.
type pod struct {
	name    string
	address string // of its site, 127.0.0.1:PORT
	site    ws.Site
	admin   ws.Site
	cluster string // content of the cluster block; "" for a pod alone
	dir     string
	log     *process.Buffer
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the process has ended
}

func newPod(t *testing.T, name string) *pod {
	t.Helper()
	p := &pod{
		name: name, address: loopback.AddressFor(t), dir: t.TempDir(), log: new(process.Buffer),
		admin: ws.Site{URL: "http://" + loopback.AddressFor(t)},
	}
	p.site = ws.Site{URL: "http://" + p.address, Host: host, Key: apiKey}
	return p
}

// start runs one pod until the test ends.
func start(t *testing.T, s setup) *pod {
	t.Helper()
	p := newPod(t, "pod-1")
	p.run(t, s)
	return p
}

// deploy runs pods that know each other.
func deploy(t *testing.T, n int, s setup) []*pod {
	t.Helper()
	var pods []*pod
	routes := make([]string, n)
	for i := range n {
		routes[i] = loopback.AddressFor(t)
		pods = append(pods, newPod(t, fmt.Sprintf("pod-%d", i+1)))
	}
	secret := rand.Text() + rand.Text() // pods of other tests take no part
	for i, p := range pods {
		p.cluster = fmt.Sprintf("listen %s\nroutes %s\nsecret %s", routes[i], strings.Join(routes, " "), secret)
		p.run(t, s)
	}
	for _, p := range pods {
		ws.Poll(t, ws.Patience, func() error { return p.sees(pods) })
	}
	return pods
}

func (p *pod) caddyfile(s setup) string {
	globals := s.globals
	if p.cluster != "" {
		globals += fmt.Sprintf("\ndata_center here\npod %s\ncluster {\n%s\n}", p.name, p.cluster)
	}
	apps := s.apps
	if apps == "" {
		apps = portal.line() + " " + host
	}
	_, port, _ := net.SplitHostPort(p.address)
	return fmt.Sprintf(`{
	admin %s
	persist_config off
	grace_period 1s
	log {
		exclude admin.api
	}
	rollcall {
		%s
	}
}

http://%s:%s, http://127.0.0.1:%[4]s {
	rollcall {
		api_key %[5]s
		jwt {
			key %[6]s
		}
		pusher {
			%[7]s
			%[8]s
		}
		%[9]s
	}
	respond 404
}
%[10]s
`, strings.TrimPrefix(p.admin.URL, "http://"), globals, host, port, apiKey, jwtSecret, apps, s.pusher, s.options,
		strings.ReplaceAll(s.sites, "{port}", port))
}

// run starts or restarts the pod, and returns when it answers.
func (p *pod) run(t *testing.T, s setup) {
	t.Helper()
	file := filepath.Join(p.dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(p.caddyfile(s)), 0o600); err != nil {
		t.Fatal(err)
	}
	args := slices.Concat(s.prefix, []string{caddyPath, "run", "--config", file})
	cmd, ended := exec.Command(args[0], args[1:]...), make(chan struct{})
	cmd.Env = append(os.Environ(), process.Home(p.dir)...)
	cmd.Stdout, cmd.Stderr = p.log, p.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	first := p.cmd == nil
	p.cmd, p.ended = cmd, ended
	go func() { // ends with the process, which the cleanup kills
		_ = cmd.Wait()
		close(ended)
	}()
	if first {
		t.Cleanup(func() { p.finish(t) })
	}
	ws.Poll(t, 3*ws.Patience, func() error {
		select {
		case <-ended:
			t.Fatalf("%s has ended:\n%s", p.name, p.log.Tail(4<<10))
		default:
		}
		_, err := p.site.Ask("users", `{}`)
		return err
	})
}

func (p *pod) finish(t *testing.T) {
	p.kill()
	if strings.Contains(p.log.String(), "panic") {
		t.Errorf("%s logs a panic", p.name)
	}
	if t.Failed() {
		t.Logf("the log of %s:\n%s", p.name, p.log.Tail(4<<10))
	}
}

// kill ends the process with SIGKILL and waits for its end.
func (p *pod) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

func (p *pod) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// reload loads another configuration.
func (p *pod) reload(t *testing.T, s setup) {
	t.Helper()
	a := p.admin.Request(t, http.MethodPost, "/load", p.caddyfile(s),
		"Content-Type", "text/caddyfile", "Cache-Control", "must-revalidate")
	if a.Status != http.StatusOK {
		t.Fatalf("reloading: status %d: %s", a.Status, a.Body)
	}
}

// sees returns nil if the pod is ready, and exactly these pods are alive for it.
func (p *pod) sees(pods []*pod) error {
	health, err := p.admin.Do(http.MethodGet, "/rollcall/health", "")
	if err != nil || health.Status != http.StatusOK {
		return fmt.Errorf("the health of %s: %d %s (%w)", p.name, health.Status, health.Body, err)
	}
	a, err := p.admin.Do(http.MethodGet, "/rollcall/cluster", "")
	if err != nil {
		return err
	}
	var report struct {
		Pods []struct{ Pod, State string }
	}
	if err := json.Unmarshal([]byte(a.Body), &report); err != nil {
		return fmt.Errorf("/rollcall/cluster of %s: %w: %s", p.name, err, a.Body)
	}
	var got, want []string
	for _, other := range report.Pods {
		if other.State == "self" || other.State == "alive" {
			got = append(got, other.Pod)
		}
	}
	for _, other := range pods {
		want = append(want, other.name)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		return fmt.Errorf("%s sees %q, want %q", p.name, got, want)
	}
	return nil
}

// token returns a token of a user.
func token(t testing.TB, user string, claims jwt.MapClaims) string {
	t.Helper()
	all := jwt.MapClaims{"sub": user, "email": user + "@example.com"}
	maps.Copy(all, claims)
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, all).SignedString([]byte(jwtSecret))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// native opens a connection of Rollcall's own protocol; user "" is an anonymous one.
func (p *pod) native(t *testing.T, user string, claims jwt.MapClaims) *ws.Client {
	t.Helper()
	if user == "" {
		return p.site.Dial(t)
	}
	return p.site.Dial(t, "Authorization", "Bearer "+token(t, user, claims))
}
