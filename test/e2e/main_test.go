package e2e

import (
	"fmt"
	"os"
	"testing"

	proc "github.com/rollcall-gateway/rollcall/test/internal/process"
)

// caddyPath is the binary under test.
var caddyPath string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if job := os.Getenv(jobVariable); job != "" {
		return work(job)
	}
	if err := proc.RaiseFiles(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var remove func()
	var err error
	if caddyPath, remove, err = proc.Caddy(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer remove()
	return m.Run()
}
