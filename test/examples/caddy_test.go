package examples

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rollcall-gateway/rollcall/internal/loopback"
	"github.com/rollcall-gateway/rollcall/test/internal/process"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// Values in the Caddyfiles of the examples.
const (
	apiKey = "demo-key"
	secret = "rollcall-demo-secret-0123456789abcdef"
	port   = ":8080"
)

// example is a Caddy that serves an example.
type example struct {
	address string // host and port
}

// start serves the Caddyfile of examples/NAME from its folder, on a free port, until the test ends.
// changes are pairs of old and new text in the Caddyfile.
func start(t *testing.T, name string, changes ...string) *example {
	t.Helper()
	folder := filepath.Join("..", "..", "examples", name)
	text, err := os.ReadFile(filepath.Join(folder, "Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	e := &example{address: loopback.AddressFor(t)}
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
	cmd.Env = append(os.Environ(), process.Home(home)...)
	process.Start(t, cmd, func() error {
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
	return ws.Site{URL: "http://" + e.address, Host: host + ":" + own, Key: apiKey, Shaped: true}
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

// ask returns a body for /message/users that asks for one channel.
func ask(channel string) string {
	return fmt.Sprintf(`{"channel":%q}`, channel)
}

// awaitMembers joins the channel room until the members in the answer are these, in order of their
// IDs.
func awaitMembers(t *testing.T, c *ws.Client, want string) {
	t.Helper()
	ws.Poll(t, ws.Patience, func() error {
		c.Send(t, `{"type":"join","channel":"room","presence":"list"}`)
		var joined struct {
			Type    string
			Members []json.RawMessage
		}
		for joined.Type != "joined" {
			if err := json.Unmarshal([]byte(c.Next(t)), &joined); err != nil {
				t.Fatal(err)
			}
		}
		members := make([]string, len(joined.Members))
		for i, m := range joined.Members {
			members[i] = string(m)
		}
		slices.Sort(members)
		if got := "[" + strings.Join(members, ",") + "]"; got != want {
			return fmt.Errorf("members %s, want %s", got, want)
		}
		return nil
	})
}
