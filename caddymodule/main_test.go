package caddymodule

import (
	"fmt"
	"os"
	"testing"
)

// TestMain gives the tests a data folder of their own.
func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "rollcall-caddymodule-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	os.Setenv("XDG_DATA_HOME", dir)
	isRunning = func() bool { return true } // most tests offer a configuration without Caddy
	return m.Run()
}
