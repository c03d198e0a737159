package examples

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// caddyPath is the binary under test.
var caddyPath string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	caddyPath = os.Getenv("ROLLCALL_CADDY")
	if caddyPath == "" {
		dir, err := os.MkdirTemp("", "rollcall-examples-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		caddyPath = filepath.Join(dir, "caddy")
		if out, err := exec.Command("go", "build", "-o", caddyPath, "../caddy").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building Caddy: %v\n%s", err, out)
			return 1
		}
	}
	return m.Run()
}
