package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// knownPods returns the pod's file of known pods.
func (p *pod) knownPods() string { return filepath.Join(p.dir, "caddy", "rollcall", "cluster.db") }

// A pod that was killed knows the pods of its last run, whatever its clock says. Without its file,
// it starts as a new one.
func TestPodsAreKnownAfterAKill(t *testing.T) {
	t.Parallel()
	d := deploy(t, podNames(1, "us-east-1", "eu-west-1"), "")
	here, there := d[0], d[1]
	ws.Poll(t, ws.Patience, func() error {
		image, err := os.ReadFile(here.knownPods())
		if err == nil && !bytes.Contains(image, []byte(there.DC)) {
			err = fmt.Errorf("%s is not in the file yet", there.Pod)
		}
		return err
	})

	here.setup.clock = -time.Hour
	here.again(t, syscall.SIGKILL)
	d.await(t)
	if log := here.log.String() + there.log.String(); strings.Contains(log, "two processes have the name") {
		t.Error("the new process looks like the old one")
	}

	there.kill()
	here.again(t, syscall.SIGKILL)
	awaitMissing(t, here, there)
	there.run(t)
	d.await(t)

	there.kill()
	here.signal(t, syscall.SIGKILL)
	here.await(t, ws.Patience)
	image, err := os.ReadFile(here.knownPods())
	if err != nil {
		t.Fatal(err)
	}
	clear(image[:len(image)/2])
	if err := os.WriteFile(here.knownPods(), image, 0o600); err != nil {
		t.Fatal(err)
	}
	here.run(t)
	damaged := here.knownPods() + ".damaged"
	ws.Poll(t, ws.Patience, func() error { // the pod answers before it has opened the file
		if log := here.log.String(); !strings.Contains(log, "the file of known pods was damaged and is set aside") ||
			!strings.Contains(log, damaged) {
			return errors.New("the damaged file is not in the log")
		}
		return nil
	})
	if kept, err := os.ReadFile(damaged); err != nil || !bytes.Equal(kept, image) {
		t.Errorf("the damaged file has %d bytes: %v", len(kept), err)
	}
	ws.Poll(t, ws.Patience, here.ready)
	there.run(t)
	d.await(t)
}

// awaitMissing waits until the answers of a pod name the other one as missing.
func awaitMissing(t *testing.T, p, missing *pod) {
	t.Helper()
	ws.Poll(t, ws.Patience, func() error {
		a, err := p.site.Do(http.MethodPost, "/message/allusers", `{}`, "Content-Type", "application/json", "X-Api-Key", p.site.Key)
		if got := a.Header.Get("Rollcall-Missing"); err == nil && got != missing.String() {
			err = fmt.Errorf("missing are %q, want %q", got, missing)
		}
		return err
	})
}
