package browser

import (
	"context"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestFramesFoldLikePhoenixPresence makes 10,000 random steps on three pods, see
// testdata/phoenix.mjs.
func TestFramesFoldLikePhoenixPresence(t *testing.T) {
	d := startCluster(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	seed := strconv.Itoa(rand.IntN(1 << 30))
	args := []string{
		"--no-warnings", "--experimental-websocket", "testdata/phoenix.mjs",
		filepath.Join(root, "clients/js/rollcall.js"), filepath.Join(packages(t), "phoenix/priv/static/phoenix.mjs"),
		"10000", seed,
	}
	out, err := exec.CommandContext(ctx, "node", append(args, d.urls[:]...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("seed %s: %v\n%s", seed, err, out)
	}
	t.Logf("seed %s: %s", seed, out)
}
