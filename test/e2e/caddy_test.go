package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/loopback"
	proc "github.com/rollcall-gateway/rollcall/test/internal/process"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

const (
	apiKey = "BFAPI_e2e"
	secret = "e2e-secret-0123456789-0123456789-abc"
)

// process is a running Caddy.
type process struct {
	cmd   *exec.Cmd
	site  ws.Site // site of portal.example.com
	admin string  // URL
	file  string  // the Caddyfile
	port  int     // port of the sites
	log   *proc.Buffer
	ended chan struct{} // closed when the process has ended
	err   error         // result of Wait, once ended is closed
}

// setup configures a Caddy.
type setup struct {
	// globals and options are added to the Caddyfile: to the global options, and to the portal's
	// rollcall block.
	globals, options string
	// sites are further sites; %d is the port.
	sites string
	env   []string
	// prefix is a command that runs Caddy, like "ip netns exec NAME".
	prefix []string
	// binary is the Caddy of a pod; "" for the one under test.
	binary string
	// bind is the address that the sites listen on, in a network that the test is not part of. Then
	// the test uses a Unix socket: sockets in the file system exist in all network namespaces.
	bind string
	// clock is by how much the wall clock of a pod is wrong, in whole seconds.
	clock time.Duration
}

// freePort returns a port that was free a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	at, err := netip.ParseAddrPort(loopback.AddressFor(t))
	if err != nil {
		t.Fatal(err)
	}
	return int(at.Port())
}

// start runs a Caddy until the test ends.
func start(t *testing.T, s setup) *process {
	t.Helper()
	dir := t.TempDir()
	adminPort := freePort(t)
	p := &process{
		port: freePort(t), admin: fmt.Sprintf("http://127.0.0.1:%d", adminPort),
		file: filepath.Join(dir, "Caddyfile"), log: new(proc.Buffer), ended: make(chan struct{}),
	}
	p.site = ws.Site{
		URL: fmt.Sprintf("http://127.0.0.1:%d", p.port), Host: fmt.Sprintf("portal.example.com:%d", p.port), Key: apiKey,
		Shaped: strings.Contains(s.options, "plugin "),
	}
	if s.bind != "" {
		path := filepath.Join(dir, "site.sock")
		s.globals += "\ndefault_bind " + s.bind + " unix/" + path
		p.site.Client = unixClient(path)
	}
	p.write(t, s)
	args := slices.Concat(s.prefix, []string{caddyPath, "run", "--config", p.file})
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Env = append(os.Environ(), proc.Home(dir)...)
	p.cmd.Env = append(p.cmd.Env, s.env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process, which the cleanup kills
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if strings.Contains(p.log.String(), "panic") {
			t.Error("Caddy logs a panic")
		}
		if t.Failed() {
			t.Logf("Caddy's log:\n%s", p.log.Tail(8<<10))
		}
	})
	ws.Poll(t, 3*ws.Patience, func() error {
		select {
		case <-p.ended:
			t.Fatalf("Caddy has ended: %v\n%s", p.err, p.log.Tail(4<<10))
		default:
		}
		_, err := p.site.Ask("users", `{}`)
		return err
	})
	return p
}

func unixClient(path string) *http.Client {
	var d net.Dialer
	return &http.Client{Timeout: ws.Patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", path)
		},
	}}
}

// write writes the Caddyfile.
func (p *process) write(t *testing.T, s setup) {
	t.Helper()
	if err := os.WriteFile(p.file, []byte(p.caddyfile(s)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (p *process) caddyfile(s setup) string {
	text := fmt.Sprintf(`{
	admin %s
	persist_config off
	skip_install_trust
	http_port %d
	%s
}

http://portal.example.com:%d {
	rollcall {
		api_key %s
		jwt {
			key %s
		}
		members {
			show email info status
		}
		%s
	}
	respond 404
}
`, strings.TrimPrefix(p.admin, "http://"), p.port, s.globals, p.port, apiKey, secret, s.options)
	return text + strings.ReplaceAll(s.sites, "%d", strconv.Itoa(p.port))
}

// load posts a Caddyfile to the admin endpoint, as "caddy reload --force" does.
func (p *process) load(s setup) (status int, body string, err error) {
	a, err := ws.Site{URL: p.admin}.Do(http.MethodPost, "/load", p.caddyfile(s),
		"Content-Type", "text/caddyfile", "Cache-Control", "must-revalidate")
	return a.Status, a.Body, err
}

// get sends a GET request to the admin endpoint.
func (p *process) get(t *testing.T, path string) string {
	t.Helper()
	a := ws.Site{URL: p.admin}.Request(t, http.MethodGet, path, "")
	if a.Status != http.StatusOK {
		t.Fatalf("%s: status %d: %s", path, a.Status, a.Body)
	}
	return a.Body
}

// signal sends a signal to the process. After SIGSTOP it waits until all threads have stopped: on a
// busy machine some run for a while longer, and can still confirm what others ask.
func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	if s == syscall.SIGSTOP {
		proc.AwaitStopped(t, p.cmd.Process.Pid)
	}
}

// await waits until the process has ended and returns its exit code.
func (p *process) await(t *testing.T, patience time.Duration) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatalf("Caddy still runs after %s", patience)
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) kill() {
	select {
	case <-p.ended:
	default:
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// caddy runs a command of Caddy to its end.
func caddy(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return caddyIn(t, "", args...)
}

// caddyIn is caddy with a working directory; "" for the test's.
func caddyIn(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(caddyPath, args...)
	cmd.Dir = dir
	data := t.TempDir()
	cmd.Env = append(os.Environ(), proc.Home(data)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
