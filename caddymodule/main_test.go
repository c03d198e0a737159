package caddymodule

import (
	"fmt"
	"os"
	"testing"
)

// TestMain keeps the tests out of the data folder of whoever runs them.
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
	return m.Run()
}
