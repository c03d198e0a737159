package examples

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rollcall-gateway/rollcall/internal/loopback"
	"github.com/rollcall-gateway/rollcall/test/internal/output"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// What the Caddyfiles of the examples have.
const (
	apiKey = "demo-key"
	secret = "rollcall-demo-secret-0123456789abcdef"
	port   = ":8080"
)

// example is a Caddy that serves an example.
type example struct {
	address string // host and port
	log     *output.Buffer
}

// start serves the Caddyfile of examples/NAME from its folder, on a free port, until the test ends. Pairs of old and new
// text change the Caddyfile.
func start(t *testing.T, name string, changes ...string) *example {
	t.Helper()
	folder := filepath.Join("..", "..", "examples", name)
	text, err := os.ReadFile(filepath.Join(folder, "Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	e := &example{address: loopback.AddressFor(t), log: new(output.Buffer)}
	_, own, _ := net.SplitHostPort(e.address)
	for _, old := range []string{"admin off", port} {
		if !strings.Contains(string(text), old) {
			t.Fatalf("examples/%s/Caddyfile has no %q", name, old)
		}
	}
	changed := strings.ReplaceAll(string(text), port, ":"+own)
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(changed, changes[i]) {
			t.Fatalf("examples/%s/Caddyfile has no %q", name, changes[i])
		}
		changed = strings.ReplaceAll(changed, changes[i], changes[i+1])
	}
	home := t.TempDir()
	file := filepath.Join(home, "Caddyfile")
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	e.run(t, folder, home, file)
	return e
}

// run starts Caddy and waits until it serves.
func (e *example) run(t *testing.T, folder, home, file string) {
	t.Helper()
	cmd := exec.Command(caddyPath, "run", "--config", file)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home)
	cmd.Stdout, cmd.Stderr = e.log, e.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	var failure error
	go func() { // ends with the process, which the cleanup sees to
		failure = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(ws.Patience):
			t.Errorf("Caddy does not end")
			_ = cmd.Process.Kill()
			<-ended
		}
		if strings.Contains(e.log.String(), "panic") {
			t.Error("Caddy's log tells of a panic")
		}
		if t.Failed() {
			t.Logf("Caddy's log:\n%s", e.log)
		}
	})
	ws.Poll(t, 3*ws.Patience, func() error {
		select {
		case <-ended:
			t.Fatalf("Caddy has ended: %v", failure)
		default:
		}
		conn, err := net.Dial("tcp", e.address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// site returns a host of the example, without its port.
func (e *example) site(host string) ws.Site {
	_, own, _ := net.SplitHostPort(e.address)
	return ws.Site{URL: "http://" + e.address, Host: host + ":" + own, Key: apiKey}
}

// login opens a websocket of a user and joins channels.
func login(t *testing.T, s ws.Site, id, email string, channels ...string) *ws.Client {
	t.Helper()
	claims := jwt.MapClaims{"sub": id, "email": email}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	c := s.Dial(t, "Authorization", "Bearer "+token)
	for _, channel := range channels {
		c.Join(t, channel)
	}
	return c
}

// ask is a body for /message/users that asks for one channel.
func ask(channel string) string {
	return fmt.Sprintf(`{"channel":%q}`, channel)
}
