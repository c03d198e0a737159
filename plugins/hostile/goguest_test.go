//go:build !race

// Under the race detector, compiling a Go guest takes minutes. The host's part is the same as with
// the guests in the text format.

package hostile

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/plugins"
)

func buildGo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(workDir, "go.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", path, ".")
	cmd.Dir = filepath.Join("testdata", "go")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// TestGoGuestsThatMeanHarm runs the plugin of testdata/go. It shows what Go's runtime does to the
// host when it panics, sleeps, deadlocks, exits or runs out of memory.
func TestGoGuestsThatMeanHarm(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	p := load(t, e, plugins.Spec{Path: buildGo(t), Limits: plugins.Limits{
		Instances: 1, ClassifyBudget: 20_000_000, ClassifyTimeout: patience,
	}})
	for channel, reasons := range map[string][]plugins.Reason{
		"panic":                {trap, exit},
		"nil":                  {trap, exit},
		"index":                {trap, exit},
		"exit":                 {exit},
		"sleep":                {"", trap, exit, budget},
		"deadlock":             {trap, exit},
		"lock":                 {trap, exit},
		"spin":                 {budget},
		"goroutine":            {"", budget},
		"goroutines":           {budget, trap, exit},
		"recursion":            {budget, trap, exit},
		"memory":               {trap, exit, budget},
		"one large allocation": {trap, exit},
		"garbage":              {budget},
		"map":                  {budget, trap, exit},
		"print":                {""},
		"files":                {""},
	} {
		t.Run(channel, func(t *testing.T) {
			await(t, p.chain, plugins.HookClassify)
			start := time.Now()
			d, err := p.chain.Classify(host, channel, plugins.Authenticated)
			if took := time.Since(start); took > patience {
				t.Errorf("the call took %s", took)
			}
			if err == nil {
				if reasons[0] != "" {
					t.Errorf("got %+v, want a failure for one of %s", d, reasons)
				}
			} else {
				r := failure(t, err, plugins.HookClassify, reasons...)
				t.Logf("%s: %.300s", r, err)
			}
			if n := memory(e); n > plugins.DefaultMemory {
				t.Errorf("the instance has %d bytes", n)
			}
			await(t, p.chain, plugins.HookClassify)
		})
	}
	if n := p.log.Len(); n > 1000 {
		t.Errorf("%d lines were logged", n)
	}
}
