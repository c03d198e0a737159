package integration

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddytest"

	_ "github.com/rollcall-gateway/rollcall/caddymodule"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// Ports by the convention of caddytest.
const (
	adminURL = "http://localhost:2999"
	siteURL  = "http://127.0.0.1:9080"
	tlsURL   = "https://127.0.0.1:9443"
	frontURL = "http://127.0.0.1:9081" // of a second site
)

const apiKey = "BFAPI_integration"

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "rollcall-integration-")
	if err != nil {
		log.Print(err)
		return 1
	}
	defer os.RemoveAll(dir)
	// Leave nothing in the home folder, and let no exporter look for a collector.
	caddy.ConfigAutosavePath = filepath.Join(dir, "autosave.json")
	caddy.DefaultStorage.Path = dir
	os.Setenv("XDG_DATA_HOME", dir)
	os.Setenv("OTEL_TRACES_EXPORTER", "none")
	// The files are next to the source of caddytest, which cannot be located with -trimpath. They
	// are not needed.
	caddytest.Default.Certificates = nil
	// A load waits until the previous configuration has stopped, and the race detector is slow.
	caddytest.Default.LoadRequestTimeout = ws.Patience
	log.SetOutput(io.Discard) // caddytest logs each request
	return m.Run()
}

// global is the start of all Caddyfiles, without the closing brace of the global options.
const global = `{
	admin localhost:2999
	persist_config off
	skip_install_trust
	http_port 9080
	https_port 9443
	grace_period 1s
`

// caddyfile returns a Caddyfile with further global options, and sites.
func caddyfile(options, sites string) string {
	return global + options + "\n}\n" + sites
}

// load runs the Caddyfile in Caddy, and keeps nothing of an earlier one.
func load(t *testing.T, text string) {
	t.Helper()
	startCaddy(t)
	// A configuration without Rollcall removes the state of the previous test. Caddy closes
	// listeners after it has answered.
	reload(t, caddyfile("", ""))
	for _, address := range []string{"127.0.0.1:9080", "127.0.0.1:9081", "127.0.0.1:9443"} {
		ws.Poll(t, ws.Patience, func() error {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				return nil
			}
			return errors.Join(errors.New(address+" is still served"), conn.Close())
		})
	}
	reload(t, text)
}

var started bool

// startCaddy starts Caddy once. If caddytest skips a test, the test fails.
func startCaddy(t *testing.T) {
	t.Helper()
	if started {
		return
	}
	defer func() {
		if t.Skipped() {
			t.Error("caddytest skips the test: Caddy does not start")
		}
	}()
	caddytest.NewTester(t).InitServer(caddyfile("", ""), "caddyfile")
	if t.Failed() {
		t.FailNow()
	}
	started = true
}

// post sends a Caddyfile to a Caddy that runs, as "caddy reload --force" does.
func post(text string) (status int, body string, err error) {
	a, err := ws.Site{URL: adminURL}.Do(http.MethodPost, "/load", text,
		"Content-Type", "text/caddyfile", "Cache-Control", "must-revalidate")
	return a.Status, a.Body, err
}

// reload is post, but fails the test on an error.
func reload(t *testing.T, text string) {
	t.Helper()
	status, body, err := post(text)
	if err != nil || status != http.StatusOK {
		t.Fatalf("reload: status %d: %s (%v)", status, body, err)
	}
}

// reloadFails is post, but must be refused, with the text in the answer.
func reloadFails(t *testing.T, text, want string) {
	t.Helper()
	status, body, err := post(text)
	if err != nil {
		t.Fatalf("reload: %v", err)
	}
	if status == http.StatusOK || !strings.Contains(body, want) {
		t.Fatalf("reload: status %d: %s, want an error with %q", status, body, want)
	}
}

// admin sends a request to Caddy's admin endpoint.
func admin(t *testing.T, method, path string) ws.Answer {
	t.Helper()
	return ws.Site{URL: adminURL}.Request(t, method, path, "")
}

// portal is the site that most tests load: a Caddyfile with one host, and the options of its
// rollcall block.
func portal(options string) string {
	return caddyfile("rollcall {\n data_center us-east-1\n pod web-1\n }", portalSite(options))
}

// portalSite shows e-mail addresses, which most tests compare.
func portalSite(options string) string {
	return fmt.Sprintf("http://portal.example.com:9080 {\n rollcall {\n api_key %s\n members {\n show email info status\n }\n %s\n }\n respond 404\n}\n", apiKey, options)
}

var portalHost = ws.Site{URL: siteURL, Host: "portal.example.com:9080", Key: apiKey}
