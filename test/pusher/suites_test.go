package pusher

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/process"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// The suites know these names, keys and IDs.
const (
	suiteAddress = "127.0.0.77"
	suiteKeyMT1  = "c49a449b916bb4246729"
	suiteKeyEU   = "cb7d5e50f5669e5c9ae6"
	suiteSecret  = "secret-of-the-suites-0123456789"
)

var suiteHosts = []string{"ws-mt1.pusher.com", "ws-eu.pusher.com", "api-mt1.pusher.com", "api-eu.pusher.com"}

// TestT01SuitesOnOnePod runs the unmodified suites of pusher-js and pusher.
func TestT01SuitesOnOnePod(t *testing.T) {
	t.Parallel()
	if apart(t) {
		runSuites(t, 1)
	}
}

// TestT01SuitesOnThreePods runs them with a load balancer that chooses a pod at random for each
// connection.
func TestT01SuitesOnThreePods(t *testing.T) {
	t.Parallel()
	if apart(t) {
		runSuites(t, 3)
	}
}

func runSuites(t *testing.T, pods int) {
	t.Helper()
	resolve(t, suiteAddress, suiteHosts...)
	root := startSuitePods(t, pods)
	folder := buildSuite(t)

	auth := exec.Command("node", "integration_tests_server/index.js")
	auth.Dir = folder
	auth.Env = append(os.Environ(),
		"INTEGRATION_TESTS_APP_MT1_APP_ID=101", "INTEGRATION_TESTS_APP_MT1_KEY="+suiteKeyMT1, "INTEGRATION_TESTS_APP_MT1_SECRET="+suiteSecret,
		"INTEGRATION_TESTS_APP_EU_APP_ID=102", "INTEGRATION_TESTS_APP_EU_KEY="+suiteKeyEU, "INTEGRATION_TESTS_APP_EU_SECRET="+suiteSecret)
	process.Start(t, auth, func() error {
		for _, port := range []int{3000, 3001} {
			resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/jsonp/404/1", port))
			if err != nil {
				return err
			}
			_ = resp.Body.Close()
		}
		return nil
	})

	begin := time.Now()
	js := node(t, folder, []string{"NODE_EXTRA_CA_CERTS=" + root},
		"../node_modules/jasmine/bin/jasmine.js", "--config=spec/config/jasmine/integration.json")
	if !strings.Contains(js, "Executed 84 of 84 specs SUCCESS") {
		t.Errorf("pusher-js, want 84 of 84 specs:\n%s", js)
	}
	t.Logf("pusher-js, %d pods, %s: %s", pods, time.Since(begin).Round(time.Second), regexp.MustCompile(`Executed .*`).FindString(js))

	library := filepath.Join(packages(t, "ROLLCALL_PUSHER_NPM"), "pusher")
	url := fmt.Sprintf("PUSHER_URL=http://%s:%s@api-mt1.pusher.com/apps/101", suiteKeyMT1, suiteSecret)
	remote := node(t, library, []string{url}, "../mocha/bin/mocha", "--no-color", "tests/remote/**/*.js")
	if !strings.Contains(remote, "7 passing") || strings.Contains(remote, "failing") || strings.Contains(remote, "pending") {
		t.Errorf("pusher, want 7 passing specs:\n%s", remote)
	}
	t.Logf("pusher, %d pods: %s", pods, strings.TrimSpace(regexp.MustCompile(`\d+ passing.*`).FindString(remote)))
}

// buildSuite bundles the integration suite of pusher-js as its own package.json does, in a copy,
// and returns the folder.
func buildSuite(t *testing.T) string {
	t.Helper()
	modules := packages(t, "ROLLCALL_PUSHER_NPM")
	dir := t.TempDir()
	folder := filepath.Join(dir, "pusher-js")
	if err := os.CopyFS(folder, os.DirFS(filepath.Join(modules, "pusher-js"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	out := node(t, folder, nil, "../node_modules/webpack/bin/webpack.js", "--config=spec/config/jasmine/webpack.integration.js")
	if !strings.Contains(out, "compiled successfully") {
		t.Fatalf("building the suite:\n%s", out)
	}
	return folder
}

// node runs a script in a folder to its end and returns what it printed.
func node(t *testing.T, folder string, env []string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", args...)
	cmd.Dir, cmd.Env = folder, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v", args[0], err)
	}
	return colors.ReplaceAllString(string(out), "")
}

var colors = regexp.MustCompile("\x1b\\[[0-9;]*m")

// startSuitePods runs the pods, and in front of more than one a load balancer. It returns the file
// with the certificate of their authority.
func startSuitePods(t *testing.T, pods int) (root string) {
	t.Helper()
	storage := t.TempDir()
	addresses := make([]string, pods)
	var routes []string
	for i := range addresses {
		addresses[i] = suiteAddress
		if pods > 1 {
			addresses[i] = fmt.Sprintf("127.0.0.%d", 81+i)
		}
		routes = append(routes, addresses[i]+":6222")
	}
	for i, address := range addresses {
		admin := fmt.Sprintf("127.0.0.1:%d", 2019+i)
		globals := fmt.Sprintf("admin %s\npersist_config off\nskip_install_trust\nlog {\nexclude admin.api\n}\ndefault_bind %s\nstorage file_system %s\n",
			admin, address, storage)
		if pods > 1 {
			globals += fmt.Sprintf("rollcall {\ndata_center mt1\npod pod-%d\ncluster {\nlisten %s\nroutes %s\nsecret %s\n}\n}\n",
				i+1, routes[i], strings.Join(routes, " "), suiteSecret)
		}
		var names []string
		for _, host := range suiteHosts {
			names = append(names, "http://"+host, "https://"+host)
		}
		caddyfile := fmt.Sprintf(`{
%s
}

%s {
	tls internal
	rollcall {
		api_key key-of-the-suites
		channels {
			default anonymous
		}
		pusher {
			app 101 %s %s ws-mt1.pusher.com
			app 102 %s %s ws-eu.pusher.com
			client_events
		}
	}
	respond 404
}
`, globals, strings.Join(names, ", "), suiteKeyMT1, suiteSecret, suiteKeyEU, suiteSecret)
		startSuitePod(t, caddyfile, admin)
	}
	for i := range addresses { // a pod may wait for the others
		ws.Poll(t, ws.Patience, func() error {
			status, err := suiteHealth(fmt.Sprintf("127.0.0.1:%d", 2019+i))
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("the health of pod %d: %d", i+1, status)
			}
			return err
		})
	}
	if pods > 1 {
		for _, port := range []string{"80", "443"} {
			balance(t, suiteAddress+":"+port, addresses, port)
		}
	}
	return filepath.Join(storage, "pki/authorities/local/root.crt")
}

// startSuitePod runs Caddy, and returns when it has loaded its configuration.
func startSuitePod(t *testing.T, caddyfile, admin string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(caddyfile), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(caddyPath, "run", "--config", file)
	cmd.Env = append(os.Environ(), process.Home(dir)...)
	process.Start(t, cmd, func() error {
		_, err := suiteHealth(admin)
		return err
	})
}

func suiteHealth(admin string) (status int, err error) {
	a, err := ws.Site{URL: "http://" + admin}.Do(http.MethodGet, "/rollcall/health", "")
	return a.Status, err
}
