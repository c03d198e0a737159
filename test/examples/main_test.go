package examples

import (
	"fmt"
	"os"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/process"
)

// caddyPath is the binary under test.
var caddyPath string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var remove func()
	var err error
	if caddyPath, remove, err = process.Caddy(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer remove()
	return m.Run()
}
