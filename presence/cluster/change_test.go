package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/memory"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// next starts another cluster with the connections of a pod.
func (n *lab) next(t *testing.T, p *labPod, cfg Config) *labPod {
	t.Helper()
	q := &labPod{port: n.Port(t), reg: p.reg, local: p.local}
	c, err := start(cfg, q.port, q.reg, q.local, timing.Default())
	if err != nil {
		t.Fatal(err)
	}
	q.Cluster = c
	c.SetSites([]message.Site{{}})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return q
}

// watcher connects a user that watches the lobby.
func (p *labPod) watcher(t *testing.T, id string) *clustertest.Frames {
	t.Helper()
	f := new(clustertest.Frames)
	conn, err := p.reg.Connect(mustHost(t, "example.com"), &presence.Rules{Grace: 3 * time.Second}, &presence.User{ID: id}, f)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Join("lobby", presence.WatchList, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return f
}

// saw checks what a watcher has seen after its join.
func saw(t *testing.T, f *clustertest.Frames, want ...string) {
	t.Helper()
	var lines []string
	for _, line := range f.Lines() {
		if channel, users, ok := strings.Cut(line, " "); ok && channel == "lobby" {
			lines = append(lines, channel+" "+strings.Join(slices.Sorted(strings.FieldsSeq(users)), " "))
		}
	}
	if !slices.Equal(lines, want) {
		t.Errorf("a watcher saw %q, want %q", lines, want)
	}
}

// A pod leaves its cluster for another one with the same connections. Until the other pod hears it
// again, it is named as missing. No user leaves in the eyes of a watcher.
func TestAnotherClusterTakesThePlace(t *testing.T) {
	tests := []struct {
		name    string
		cfg     Config
		missing time.Duration // until it is no longer named
	}{
		{"same pod", Config{DataCenter: "x", Pod: "b"}, 3 * time.Second},
		{"another name", Config{DataCenter: "x", Pod: "c"}, 11 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(lab)
				a := n.settled(t, "x", "a")
				b := n.settled(t, "x", "b")
				onA := a.watcher(t, "ann")
				time.Sleep(time.Second)
				onB := b.watcher(t, "bob")
				time.Sleep(time.Second)
				saw(t, onA, "lobby +bob")
				if err := b.Leave(true); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				wantText(t, a.count(t), "x 1+0; missing [x/b]")
				b = n.next(t, b, tt.cfg)
				for range 20 {
					for _, p := range []*labPod{a, b} {
						if got := p.count(t); got.truth.Complete && got.dcs[0].Authenticated != 2 {
							t.Errorf("%s", got.text())
						}
					}
					time.Sleep(100 * time.Millisecond)
				}
				time.Sleep(tt.missing)
				wantText(t, a.count(t), "x 2+0; complete")
				wantText(t, b.count(t), "x 2+0; complete")
				time.Sleep(10 * time.Second)
				saw(t, onA, "lobby +bob")
				saw(t, onB)
			})
		})
	}
}

// A pod joins another deployment before it leaves the old one. The users of pods that are not in
// the other one are lost.
func TestClusterOnStandby(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(lab)
		a, b := n.settled(t, "x", "a"), n.settled(t, "x", "b")
		c := n.settled(t, "x", "c", func(cfg *Config, _ *timing.Timing) { cfg.Name = "other" })
		onA, onC := a.watcher(t, "ann"), c.watcher(t, "cid")
		time.Sleep(time.Second)
		onB := b.watcher(t, "bob")
		next := n.next(t, b, Config{Name: "other", DataCenter: "x", Pod: "b", Standby: true})
		time.Sleep(3 * time.Second)
		if !next.Ready() {
			t.Error("it is not ready")
		}
		a.watcher(t, "dan")
		time.Sleep(time.Second)
		saw(t, onB, "lobby +dan")
		wantText(t, b.count(t), "x 3+0; complete")
		wantText(t, next.count(t), "x 2+0; complete")

		next.Activate()
		if err := b.Leave(false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		wantText(t, a.count(t), "x 2+0; complete")
		wantText(t, c.count(t), "x 2+0; complete")
		saw(t, onA, "lobby +bob", "lobby +dan")
		saw(t, onB, "lobby +dan", "lobby +cid")
		time.Sleep(10 * time.Second)
		saw(t, onA, "lobby +bob", "lobby +dan", "lobby -bob")
		saw(t, onB, "lobby +dan", "lobby +cid", "lobby -ann -dan")
		saw(t, onC, "lobby +bob")
		if err := b.Close(); err != nil { // the relay stays
			t.Fatal(err)
		}
		b.watcher(t, "eve")
		time.Sleep(time.Second)
		saw(t, onC, "lobby +bob", "lobby +eve")
	})
}

// What changes while a pod joins another deployment, or in the moment in which it does, is known
// there.
func TestChangesOnStandbyAreNotLost(t *testing.T) {
	for name, change := range map[string]func(next *labPod, bob *presence.Conn){
		"a channel ends before": func(next *labPod, bob *presence.Conn) {
			bob.Close()
			time.Sleep(time.Second)
			next.Activate()
		},
		"a user leaves in that moment": func(next *labPod, bob *presence.Conn) {
			bob.Close()
			synctest.Wait() // the relay before knows of it, and has not fetched it
			next.Activate()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(lab)
				b := n.settled(t, "x", "b")
				c := n.settled(t, "x", "c", func(cfg *Config, _ *timing.Timing) { cfg.Name = "other" })
				onC := c.watcher(t, "cid")
				time.Sleep(time.Second)
				bob := b.connect(t, mustHost(t, "example.com"), "bob", "", "lobby")
				b.connect(t, mustHost(t, "example.com"), "eve", "", "office")
				next := n.next(t, b, Config{Name: "other", DataCenter: "x", Pod: "b", Standby: true})
				time.Sleep(3 * time.Second)
				change(next, bob)
				if err := b.Leave(false); err != nil {
					t.Fatal(err)
				}
				time.Sleep(30 * time.Second)
				wantText(t, c.count(t), "x 2+0; complete")
				saw(t, onC, "lobby +bob", "lobby -bob")
			})
		})
	}
}

// The folder of its memory becomes usable while it runs.
func TestClusterOnStandbyTriesToSaveAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(lab)
		a, b := n.settled(t, "x", "a"), n.settled(t, "x", "b")
		folder := filepath.Join(t.TempDir(), "data")
		if err := os.WriteFile(folder, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(folder, "cluster.db")
		core, logs := observer.New(zap.ErrorLevel)
		next := n.next(t, b, Config{DataCenter: "x", Pod: "b", Standby: true, Memory: path, Logger: zap.New(core)})
		next.Activate()
		if err := b.Leave(true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		clustertest.WantLog(t, logs, 1, "error cannot save which pods this one knows", "data")
		if err := os.Remove(folder); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if err := next.Leave(true); err != nil {
			t.Fatal(err)
		}
		mem, err := memory.Open(path, "rollcall")
		if err != nil {
			t.Fatal(err)
		}
		st, err := mem.Load()
		if err := errors.Join(err, mem.Close()); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(st.Runs, func(r message.Run) bool { return r.Incarnation == a.link.Self().Incarnation }) {
			t.Errorf("the other pod is not in the file: %+v", st)
		}
	})
}
