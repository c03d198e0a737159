package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// buildVersion builds testdata/versions.c as a version, which is a letter, and returns the module.
func buildVersion(t *testing.T, version string) []byte {
	t.Helper()
	object, module := filepath.Join(t.TempDir(), "plugin.o"), filepath.Join(t.TempDir(), "plugin.wasm")
	for _, command := range [][]string{
		{
			"clang", "--target=wasm32", "-O2", "-mbulk-memory", "-ffreestanding", "-I../../plugins/sdk/c", "-DVERSION=" + version,
			"-c", "-o", object, "testdata/versions.c",
		},
		{"wasm-ld", "--no-entry", "--strip-all", "--stack-first", "-z", "stack-size=16384", "-o", module, object},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v (make deps installs clang and lld)\n%s", strings.Join(command, " "), err, out)
		}
	}
	content, err := os.ReadFile(module)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// replaceFile replaces a file in one step, so that no reader gets half of it.
func replaceFile(t *testing.T, path string, content []byte) {
	t.Helper()
	fresh := path + ".new"
	if err := os.WriteFile(fresh, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fresh, path); err != nil {
		t.Fatal(err)
	}
}

// reload runs "caddy reload --force" with the process's Caddyfile.
func (p *process) reload(t *testing.T) (string, error) {
	t.Helper()
	return caddy(t, "reload", "--force", "--config", p.file, "--address", strings.TrimPrefix(p.admin, "http://"))
}

// loadedPlugin is a part of the answer of GET /rollcall/plugins.
type loadedPlugin struct {
	Name  string `json:"name"`
	Hosts []struct {
		Idle   int   `json:"idle"`
		Busy   int   `json:"busy"`
		Memory int64 `json:"memory"`
	} `json:"hosts"`
}

func (p *process) plugins(t *testing.T) []loadedPlugin {
	t.Helper()
	var list []loadedPlugin
	if err := json.Unmarshal([]byte(p.get(t, "/rollcall/plugins")), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// metric returns the value of one time series; 0 if it is missing.
func (p *process) metric(t *testing.T, series string) float64 {
	t.Helper()
	a := ws.Site{URL: p.admin}.Request(t, http.MethodGet, "/metrics", "")
	for line := range strings.Lines(a.Body) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok {
			f, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
	return 0
}

// executable matches memory with compiled code that comes from no file.
var executable = regexp.MustCompile(`(?m)^\S+ r-xp 00000000 00:00 0 *$`)

// codeMappings returns the number of mappings of compiled code in the process.
func (p *process) codeMappings(t *testing.T) int {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(executable.FindAll(maps, -1))
}
