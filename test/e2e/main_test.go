package e2e

import (
	"fmt"
	"os"
	"syscall"
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
	if err := raiseFiles(); err != nil {
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
