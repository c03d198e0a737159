package hostile

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// jobVariable turns the test binary into a child process that loads the files of its arguments.
const jobVariable = "ROLLCALL_HOSTILE_JOB"

// childSpace is the address space of a child process, in bytes; using more ends it. The Go runtime
// and wazero reserve about 1 GiB that they never touch.
const childSpace = 4 << 30

// outcome is what a child process reports about one file.
type outcome struct {
	File string
	// Error is the error of Load; "" if the file was loaded and every hook was called.
	Error string
	// Millis is the CPU time of the process in milliseconds, which other processes do not change.
	Millis int64
	// Peak is the peak physical memory of the process so far, in bytes.
	Peak int64
}

// work runs a child process. It returns the exit code.
func work(_ string, files []string) int {
	if !raceEnabled { // the race detector reserves terabytes
		limit := syscall.Rlimit{Cur: childSpace, Max: childSpace}
		if err := syscall.Setrlimit(syscall.RLIMIT_AS, &limit); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	e, err := plugins.NewEngine(plugins.EngineConfig{Memory: 256 << 20})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for _, file := range files {
		start := cpu()
		o := outcome{File: file}
		if err := try(e, file); err != nil {
			o.Error = err.Error()
		}
		o.Millis, o.Peak = (cpu() - start).Milliseconds(), peak()
		text, err := json.Marshal(o)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Printf("%s\n", text)
	}
	return 0
}

// try loads a file and calls each of its hooks. It returns the error of Load and ignores those of
// the hooks.
func try(e *plugins.Engine, file string) error {
	p, err := e.Load(context.Background(), plugins.Spec{Path: file, Limits: childLimits})
	if err != nil {
		return err
	}
	defer p.Release()
	c := plugins.NewChain(p)
	for range 2 {
		_, _ = c.Classify(host, "room", plugins.Authenticated)
		_, _ = c.Authorize(host, "room", plugins.Authenticated, &plugins.User{ID: "ada", Email: "ada@" + domain})
		_, _ = members(context.Background(), c, host, plugins.User{ID: "ada", Email: "ada@" + domain})
		_, _ = c.Shape(context.Background(), plugins.EndpointUsers, host, []byte(request), []byte(`{"room":[]}`))
	}
	return nil
}

var childLimits = plugins.Limits{
	Instances: 1, Memory: 32 << 20, InitBudget: 3_000_000, MembersBudget: 1000, ShapeBudget: 3_000_000,
	ClassifyTimeout: 20 * time.Millisecond, ShapeTimeout: 100 * time.Millisecond,
}

// cpu returns the CPU time of this process so far.
func cpu() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// peak returns the peak physical memory of this process, in bytes.
func peak() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	line, _, _ := strings.Cut(rest, "kB")
	n, _ := strconv.ParseInt(strings.TrimSpace(line), 10, 64) // 0 if absent
	return n << 10
}

// loadInChild loads the files in a child process, and returns its report about each. The test fails
// if the process dies before.
func loadInChild(t *testing.T, within time.Duration, files ...string) []outcome {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, files...)
	cmd.Env = append(os.Environ(), jobVariable+"=load")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	var list []outcome
	for line := range bytes.Lines(stdout) {
		var o outcome
		if json.Unmarshal(line, &o) != nil {
			t.Errorf("the child process says %s", line)
			continue
		}
		list = append(list, o)
	}
	if err != nil || len(list) < len(files) {
		at := "the end"
		if len(list) < len(files) {
			at = files[len(list)]
		}
		text := stderr.String()
		t.Fatalf("the child process ended at %s: %v (limit %s)\n%s", at, err, within, text[:min(len(text), 4000)])
	}
	return list
}
