// Package process runs Caddy and other programs for tests, and keeps their output.
package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// Caddy returns the path of the binary under test. The environment variable ROLLCALL_CADDY names
// it; otherwise, Caddy builds one from test/caddy. It must run in a folder of test/. remove deletes
// a binary that was built.
func Caddy() (path string, remove func(), err error) {
	if path = os.Getenv("ROLLCALL_CADDY"); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", nil, fmt.Errorf("ROLLCALL_CADDY names no binary, run `make build` or unset it: %w", err)
		}
		return path, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "rollcall-test-")
	if err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.RemoveAll(dir) }
	path = filepath.Join(dir, "caddy")
	if out, err := exec.Command("go", "build", "-o", path, "../caddy").CombinedOutput(); err != nil {
		remove()
		return "", nil, fmt.Errorf("building Caddy: %w\n%s", err, out)
	}
	return path, remove, nil
}

// Home returns the environment variables that keep the files of Caddy in a folder.
func Home(dir string) []string {
	return []string{"HOME=" + dir, "XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir}
}

// stopTimeout is how long a program may take to end after SIGTERM.
const stopTimeout = 40 * time.Second

// Start runs a command until the test ends, and returns its output after ready has returned nil.
// The test fails if the program does not end on SIGTERM, or prints that it panicked.
func Start(t testing.TB, cmd *exec.Cmd, ready func() error) *Buffer {
	t.Helper()
	name := filepath.Base(cmd.Path)
	log := new(Buffer)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	var failure error
	go func() { // ends with the process, which the cleanup stops
		failure = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(stopTimeout):
			t.Errorf("%s does not end", name)
			_ = cmd.Process.Kill()
			<-ended
		}
		if strings.Contains(log.String(), "panic") {
			t.Errorf("%s logs a panic", name)
		}
		if t.Failed() {
			t.Logf("the output of %s:\n%s", name, log)
		}
	})
	var err error
	defer func() {
		if t.Failed() {
			t.Logf("%s is not ready: %v", name, err)
		}
	}()
	testkit.Eventually(t, name+" is ready", func() bool {
		select {
		case <-ended:
			t.Fatalf("%s has ended: %v", name, failure)
		default:
		}
		err = ready()
		return err == nil
	})
	return log
}
