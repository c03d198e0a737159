package pusher

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/process"
)

// caddyPath is the binary under test.
var caddyPath string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if err := raiseFiles(); err != nil {
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

// manyFiles is enough for the connections of one process in these tests.
const manyFiles = 16_000

// raiseFiles raises the limit of open files. Child processes inherit it.
func raiseFiles() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("reading the limit of open files: %w", err)
	}
	limit.Cur, limit.Max = max(limit.Cur, manyFiles), max(limit.Max, manyFiles)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raising the limit of open files to %d: %w", manyFiles, err)
	}
	return nil
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
