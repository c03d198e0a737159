package membership

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// testPod is a pod that has only members.
type testPod struct {
	*Members
	port *clustertest.Port
	logs *observer.ObservedLogs
}

// noRooms is the observer of a pod without other rooms.
type noRooms struct{ link *link.Link }

func (noRooms) PodUp(link.Peer, bool)  {}
func (o noRooms) PodDown(p link.Peer)  { o.link.Forget(p) }
func (noRooms) RecheckAll()            {}
func (noRooms) SitesChanged(link.Peer) {}
func (noRooms) HeardAgain(link.Peer)   {}

// joining makes a pod that serves every host. It is started by run.
func joining(t *testing.T, n *clustertest.Lab, dc, pod string, change ...func(*timing.Timing)) *testPod {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	p := &testPod{port: n.Port(t), logs: logs}
	tm := timing.Default()
	for _, f := range change {
		f(&tm)
	}
	self := link.Peer{DC: dc, Pod: pod, Incarnation: message.Incarnation{Started: time.Now().UnixMilli(), Random: link.Random()}}
	l := link.New(p.port, "rollcall", "", self, zap.New(core))
	p.Members = New(l, tm, func() (connections, hosts uint64) { return 7, 0 }, noRooms{l}, zap.New(core))
	return p
}

// run starts the pod. It ends with the test, or when stop is called.
func (p *testPod) run(t *testing.T) (stop func()) {
	t.Helper()
	stop = p.runBare(t)
	p.SetSites([]message.Site{{}})
	return stop
}

// runBare starts the pod, which does not know yet what it serves.
func (p *testPod) runBare(t *testing.T) (stop func()) {
	t.Helper()
	for _, subject := range []string{p.link.All(), p.link.Inbox(p.self)} {
		if _, err := p.link.Subscribe(subject, link.Loose, p.Handle); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	done := make(chan struct{})
	all.Go(func() { p.Run(done) })
	all.Go(func() { p.Remember(done) })
	stop = sync.OnceFunc(func() {
		close(done)
		all.Wait()
		p.port.Unsubscribe()
	})
	t.Cleanup(stop)
	return stop
}

// settled starts a pod that serves every host, and waits until it is ready.
func settled(t *testing.T, n *clustertest.Lab, dc, pod string, change ...func(*timing.Timing)) *testPod {
	t.Helper()
	p := joining(t, n, dc, pod, change...)
	p.run(t)
	time.Sleep(2500 * time.Millisecond)
	if !p.Ready() {
		t.Fatal("not ready after 2.5 s")
	}
	return p
}

// wantState waits for all goroutines and compares the state of a pod in the report.
func (p *testPod) wantState(t *testing.T, other link.Peer, want string) {
	t.Helper()
	synctest.Wait()
	got := ""
	for _, pod := range p.Report() {
		if pod.Peer == other {
			got = pod.Report.State
		}
	}
	if got != want {
		t.Errorf("%s is %q, want %q", other.Name(), got, want)
	}
}

func (p *testPod) wantLog(t *testing.T, want int, words ...string) {
	t.Helper()
	clustertest.WantLog(t, p.logs, want, words...)
}

// probesKept returns how many probes the pod remembers.
func (p *testPod) probesKept() int {
	synctest.Wait()
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.probes)
}
