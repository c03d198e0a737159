package pusher

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/process"
)

// caddyPath is the binary under test.
var caddyPath string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if err := process.RaiseFiles(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	path, remove, err := process.Caddy()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer remove()
	caddyPath = path
	return m.Run()
}

// packages returns the folder of npm packages that an environment variable names.
func packages(t testing.TB, variable string) string {
	t.Helper()
	folder := os.Getenv(variable)
	if folder == "" {
		t.Fatalf("%s is not set: run make pusher", variable)
	}
	return filepath.Join(folder, "node_modules")
}
