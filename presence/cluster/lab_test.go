package cluster

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// lab is a network with pods under test.
type lab struct{ clustertest.Lab }

// script is a pod that does only what the test says.
type script = clustertest.Script

var mustHost = testkit.MustHost

// labLocal is the Local of a pod.
type labLocal struct {
	mu       sync.Mutex
	unserved map[string]bool
	explain  []message.Connection
	hold     chan struct{} // Serves waits until it is closed; if nil, it does not wait
}

func (l *labLocal) Serves(host presence.HostName) bool {
	if l.hold != nil {
		<-l.hold
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.unserved[host.String()]
}

func (l *labLocal) Connections() int { return 7 }

func (l *labLocal) Explain(presence.HostName, string) []message.Connection { return l.explain }

// Hosts implements Local.
func (*labLocal) Hosts(presence.HostName) []message.HostCount { return nil }

// Listeners implements Local.
func (*labLocal) Listeners(presence.HostName, presence.Listeners) (of presence.Listing, list []message.Listener, ok bool) {
	return of, nil, false
}

func (*labLocal) Disconnect(presence.HostName, string, *message.Call) int { return 0 }
func (*labLocal) Leave(presence.HostName, *message.Call) int              { return 0 }

// labPod is a pod under test.
type labPod struct {
	*Cluster
	port  *clustertest.Port
	reg   *presence.Registry
	local *labLocal
	logs  *observer.ObservedLogs
}

// start starts a pod that serves every host.
func (n *lab) start(t *testing.T, dc, pod string, change ...func(*Config, *timing.Timing)) *labPod {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	p := &labPod{port: n.Port(t), reg: presence.NewRegistry(clustertest.Encoder{}, clustertest.Encoder{}), local: &labLocal{}, logs: logs}
	cfg, tm := Config{DataCenter: dc, Pod: pod, Logger: zap.New(core)}, timing.Default()
	for _, f := range change {
		f(&cfg, &tm)
	}
	c, err := start(cfg, p.port, p.reg, p.local, tm)
	if err != nil {
		t.Fatal(err)
	}
	p.Cluster = c
	c.SetSites([]message.Site{{}})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// settled starts a pod and waits until it is ready.
func (n *lab) settled(t *testing.T, dc, pod string, change ...func(*Config, *timing.Timing)) *labPod {
	t.Helper()
	p := n.start(t, dc, pod, change...)
	time.Sleep(2500 * time.Millisecond)
	if !p.Ready() {
		t.Fatal("not ready after 2.5 s")
	}
	return p
}

// connect adds a connection of a user, or with id "" an anonymous one, which joins the channels.
func (p *labPod) connect(t *testing.T, host presence.HostName, id, email string, channels ...string) *presence.Conn {
	t.Helper()
	var u *presence.User
	if id != "" {
		u = &presence.User{ID: id, Email: email}
	}
	conn, err := p.reg.Connect(host, &presence.Rules{}, u, clustertest.Outbox{})
	if err != nil {
		t.Fatal(err)
	}
	for _, channel := range channels {
		if err := conn.Join(channel, presence.WatchNone, ""); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(conn.Close)
	return conn
}

// state returns the state of a pod in the report, or "".
func (p *labPod) state(other link.Peer) string {
	for _, pod := range p.members.Report() {
		if pod.Peer == other {
			return pod.Report.State
		}
	}
	return ""
}

// wantState waits for all goroutines and compares the state.
func (p *labPod) wantState(t *testing.T, other link.Peer, want string) {
	t.Helper()
	synctest.Wait()
	if got := p.state(other); got != want {
		t.Errorf("%s is %q, want %q", other.Name(), got, want)
	}
}

// sorted sorts names and removes duplicates.
func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
