package docs

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/internal/loopback"
	"github.com/rollcall-gateway/rollcall/test/internal/process"
)

const (
	apiKey    = "demo-key"
	jwtSecret = "rollcall-demo-secret-0123456789abcdef"
	// The secret of the example in docs/backend.md.
	backendSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

// caddy is the binary under test.
var caddy string

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// run finds the binary, or builds one, and runs the tests.
func run(m *testing.M) (int, error) {
	var remove func()
	var err error
	if caddy, remove, err = process.Caddy(); err != nil {
		return 1, err
	}
	defer remove()
	if filepath.Base(caddy) != "caddy" || !filepath.IsAbs(caddy) {
		return 1, fmt.Errorf("ROLLCALL_CADDY=%s is not an absolute path of a file named caddy, as the pages call it", caddy)
	}
	return m.Run(), nil
}

// environment returns the environment of Caddy and of the documented commands. home is an empty
// folder.
func environment(home, admin string) []string {
	return append(process.Home(home),
		// The pages call the binary caddy.
		"PATH="+filepath.Dir(caddy)+string(os.PathListSeparator)+os.Getenv("PATH"),
		"CADDY_ADMIN="+admin, "ROLLCALL_API_KEY="+apiKey, "ROLLCALL_JWT_SECRET="+jwtSecret,
		"ROLLCALL_AUDIT_KEY="+apiKey, "ROLLCALL_AUDIT_SECRET="+jwtSecret,
		"ROLLCALL_CLUSTER_SECRET=rollcall-docs-cluster-0123456789abcdef", "POD_NAME=web-1",
		"ROLLCALL_BACKEND_SECRET="+backendSecret, "ROLLCALL_EVENTS_SECRET="+backendSecret,
		"PUSHER_KEY=demo-key", "PUSHER_SECRET="+backendSecret, "TENANT_KEY=tenant-key", "TENANT_SECRET="+backendSecret,
		"PORTAL_API_KEY="+apiKey, "SHOP_API_KEY=another-key",
	)
}

// server is a running Caddy.
type server struct {
	home        string
	addr, admin string // host and port
	byQuery     bool   // the query of the websocket's URL names the user
	deployment         // addr and admin are those of its first pod
}

// serve runs Caddy with a Caddyfile, with free ports instead of the ones in it, in the folder dir;
// "" means its home.
func serve(t *testing.T, caddyfile, dir string) *server {
	t.Helper()
	s := &server{home: t.TempDir(), addr: freeAddr(t), admin: freeAddr(t)}
	file := filepath.Join(s.home, "Caddyfile")
	s.byQuery = strings.Contains(caddyfile, "user {query.user}")
	s.configure(t, caddyfile)
	if dir == "" {
		dir = s.home
	}
	// What the pages install with npm is there.
	if packages := os.Getenv("ROLLCALL_BROWSER_NPM"); packages != "" {
		if err := os.Symlink(filepath.Join(packages, "node_modules"), filepath.Join(s.home, "node_modules")); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(caddy, "run", "--config", file, "--adapter", "caddyfile")
	cmd.Dir, cmd.Env = dir, environment(s.home, s.admin)
	process.Start(t, cmd, func() error { return responds("http://" + s.addr + "/message/users") })
	return s
}

// responds returns an error unless the URL gets any response.
func responds(url string) error {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// configure writes the Caddyfile of the server.
func (s *server) configure(t *testing.T, caddyfile string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.home, "Caddyfile"), []byte(s.local(caddyfile)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// local replaces the addresses on the pages with those of this server.
func (s *server) local(text string) string {
	return strings.NewReplacer(slices.Concat(s.pairs, []string{"localhost:8080", s.addr, "localhost:2019", s.admin})...).Replace(text)
}

func freeAddr(t *testing.T) string {
	t.Helper()
	return strings.Replace(loopback.AddressFor(t), "127.0.0.1", "localhost", 1)
}
