package e2e

import (
	"context"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A short run of bench/soak: connections come and go, messages are exchanged, every answer equals
// the model's, and in the end nothing is left. Two pods share the connections, so that answers and
// messages cross a cluster.
func TestShortSoak(t *testing.T) {
	const most = 3 * time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	program := filepath.Join(t.TempDir(), "soak")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./soak")
	build.Dir = filepath.Join("..", "..", "bench")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building bench/soak: %v\n%s", err, out)
	}
	soak := exec.CommandContext(ctx, program, "-caddy", caddyPath,
		"-sockets", "2000", "-limit", "1000", "-minutes", "3", "-minute", "3s", "-messages", "50")
	// On a signal it ends its own processes, so it is not killed at once.
	soak.Cancel = func() error { return soak.Process.Signal(syscall.SIGTERM) }
	soak.WaitDelay = 20 * time.Second
	out, err := soak.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("the soak failed: %v", err)
	}
}
