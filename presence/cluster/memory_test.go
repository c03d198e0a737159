package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollcall-gateway/rollcall/internal/boltfile"
	"github.com/rollcall-gateway/rollcall/internal/loopback"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/bus"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/memory"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// nextMemory opens a copy of the file of the last run as it is now, as after a crash; with "" a new
// file. It also returns the path of the copy.
func nextMemory(t *testing.T, last, deployment string) (mem *memory.Store, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "cluster.db")
	if last != "" {
		image, err := os.ReadFile(last)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, image, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mem, err := memory.Open(path, deployment)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := mem.Close(); err != nil {
			t.Error(err)
		}
	})
	return mem, path
}

// remembering lets a pod keep what it knows, with a wall clock that differs by that much.
func remembering(mem *memory.Store, wall time.Duration) func(*Config, *timing.Timing) {
	return func(cfg *Config, t *timing.Timing) {
		cfg.memory = mem
		t.Wall = func() time.Time { return time.Now().Add(wall) }
	}
}

// A clock that went back over a restart does not make the new process look like the old one.
func TestRunIsLaterThanTheLastOneWhateverTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		mem, path := nextMemory(t, "", "rollcall")
		b := n.start(t, "dc", "b", remembering(mem, 0))
		a.wantState(t, b.link.Self(), "alive")
		b.kill()
		for _, wall := range []time.Duration{-time.Hour, -2 * time.Hour, time.Minute} {
			mem, path = nextMemory(t, path, "rollcall")
			again := n.start(t, "dc", "b", remembering(mem, wall))
			time.Sleep(3 * time.Second)
			a.wantState(t, b.link.Self(), "")
			a.wantState(t, again.link.Self(), "alive")
			again.wantLog(t, 0, "error")
			b = again
			b.kill()
		}
		a.wantLog(t, 3, "info pod left", "reason:replaced")
		a.wantLog(t, 0, "error")
		for _, pod := range a.members.Report() {
			if pod.Report.Conflict {
				t.Errorf("a conflict: %+v", pod.Report)
			}
		}
	})
}

// The clock of the cluster is not behind that of an earlier run, and the pods that the last run
// heard are missing.
func TestNextRunKnowsWhatTheLastOneKnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		mem, path := nextMemory(t, "", "rollcall")
		first := n.settled(t, "dc", "a", remembering(mem, time.Hour))
		other := n.Script(t, "far", "b", 1) // without half of its own data center, a pod names the missing ones for every host
		other.Serve(clustertest.Site([]string{"b.com"}))
		other.Live(2 * time.Second)
		clock := first.members.Clock()
		first.kill()

		mem, path = nextMemory(t, path, "rollcall")
		next := n.start(t, "dc", "a", remembering(mem, 0))
		for host, want := range map[string][]string{"b.com": {"far/b"}, "c.com": nil} {
			if got := next.members.Unreachable(mustHost(t, host), ScopeAll); !slices.Equal(got, want) {
				t.Errorf("missing for %s: %q, want %q", host, got, want)
			}
		}
		if got := next.members.Clock(); got < clock {
			t.Errorf("the clock went back by %d ms", clock-got)
		}
		other.Live(time.Second)
		if got := next.members.Unreachable(mustHost(t, "b.com"), ScopeAll); len(got) != 0 {
			t.Errorf("missing although it is heard: %q", got)
		}

		mem, _ = nextMemory(t, path, "other")
		renamed := n.start(t, "dc", "a", remembering(mem, 0), func(cfg *Config, _ *timing.Timing) { cfg.Name = "other" })
		if got := renamed.members.Unreachable(mustHost(t, "b.com"), ScopeAll); len(got) != 0 {
			t.Errorf("pods of another deployment are missing: %q", got)
		}
		if renamed.link.Self().Incarnation.Started <= next.link.Self().Incarnation.Started {
			t.Error("a run with another name of the deployment is not a later one")
		}
	})
}

// Start fails before the pod joins, because its answers could be wrong without its memory.
func TestMemoryThatCannotBeUsed(t *testing.T) {
	mem, path := nextMemory(t, "", "rollcall")
	secret := strings.Repeat("s", 32)
	cfg := Config{
		DataCenter: "dc", Pod: "a", Memory: path, Logger: zap.NewNop(), Secret: secret,
		Bus: bus.Config{Listen: loopback.AddressFor(t), Secret: secret},
	}
	if _, err := Start(cfg, presence.NewRegistry(clustertest.Encoder{}), &labLocal{}); !errors.Is(err, boltfile.ErrLocked) ||
		!strings.Contains(err.Error(), "known pods") {
		t.Errorf("a second process gets %v", err)
	}
	if err := mem.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.memory, cfg.Memory = mem, ""
	if _, err := Start(cfg, presence.NewRegistry(clustertest.Encoder{}), &labLocal{}); err == nil ||
		!strings.Contains(err.Error(), "known pods") {
		t.Errorf("with a closed file: %v", err)
	}
	cfg.memory, cfg.Memory, cfg.Pod = nil, path, strings.Repeat("a", 65)
	for range 2 { // a failed start closes the file
		if _, err := Start(cfg, presence.NewRegistry(clustertest.Encoder{}), &labLocal{}); !errors.Is(err, message.ErrMalformed) {
			t.Errorf("with a bad name: %v", err)
		}
	}
	cfg.Pod = "a"
	for range 2 { // and so does Close
		c, err := Start(cfg, presence.NewRegistry(clustertest.Encoder{}), &labLocal{})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestDamagedMemoryIsLogged(t *testing.T) {
	_, path := nextMemory(t, "", "rollcall")
	core, logs := observer.New(zap.InfoLevel)
	cfg := Config{Memory: filepath.Join(t.TempDir(), "cluster.db"), Logger: zap.New(core)}
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cfg.Memory, image[:len(image)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	closeFile, err := cfg.openMemory()
	if err != nil {
		t.Fatal(err)
	}
	if err := closeFile(); err != nil {
		t.Error(err)
	}
	damaged := fixedMemory{memory.State{Started: 5, Damaged: 3}}
	if st, err := begin(damaged, time.UnixMilli(3), cfg.Logger); err != nil || st.Started != 6 {
		t.Errorf("%+v, %v", st, err)
	}
	var lines []string
	for _, line := range logs.All() {
		lines = append(lines, fmt.Sprint(line.Level, " ", line.Message, " ", line.ContextMap()))
	}
	want := []string{
		"error the file of known pods was damaged and is set aside: " +
			"answers can lack the pods that this one missed, until they are heard map[file:" + cfg.Memory + boltfile.DamagedExt + "]",
		"error damaged records of known pods are left out: " +
			"answers can lack the pods that this one missed, until they are heard map[damaged:3]",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("log: %q, want %q", lines, want)
	}
}

// fixedMemory is a memory that does not change.
type fixedMemory struct{ st memory.State }

func (m fixedMemory) Load() (memory.State, error) { return m.st, nil }
func (fixedMemory) Save(memory.State) error       { return nil }
