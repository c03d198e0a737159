package replication

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/membership"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// testPod is a pod that has members and a replicator, and nothing else.
type testPod struct {
	*Replicator
	port *clustertest.Port
	reg  *presence.Registry
}

// relay is the Relay of a pod without a messenger.
type relay struct{ *Replicator }

func (relay) Clock() uint64                                  { return 1 }
func (relay) Opened(presence.HostName)                       {}
func (relay) Closed(presence.HostName)                       {}
func (relay) Informed(presence.HostName)                     {}
func (relay) Send(presence.HostName, presence.Message) error { return nil }

// observer implements [membership.Observer].
type observer struct{ *testPod }

func (o observer) PodUp(p link.Peer, _ bool) { o.testPod.PodUp(p) }
func (observer) HeardAgain(link.Peer)        {}

// start starts a pod that serves every host.
func start(t *testing.T, n *clustertest.Lab, pod string) *testPod {
	t.Helper()
	port := n.Port(t)
	p := startOn(t, port, pod, "")
	p.port = port
	return p
}

// startOn starts a pod on a transport.
func startOn(t *testing.T, tr link.Transport, pod, secret string) *testPod {
	t.Helper()
	p := &testPod{reg: presence.NewRegistry(counts{})}
	self := link.Peer{DC: "dc", Pod: pod, Incarnation: message.Incarnation{Started: time.Now().UnixMilli(), Random: link.Random()}}
	l := link.New(tr, "rollcall", secret, self, zap.NewNop())
	m := membership.New(l, timing.Default(), func() (connections, hosts uint64) { return 0, 0 }, observer{p}, zap.NewNop())
	p.Replicator = New(l, m, p.reg.Pods(), timing.Default(), zap.NewNop())
	inbox := func(from link.Peer, msg message.Message) {
		switch msg.(type) {
		case *message.Delta, *message.Check, *message.CheckDone, *message.ShardSum, *message.HostSums, *message.HostShards, *message.Unfollow:
			p.Handle(from, msg)
		default:
			m.Handle(from, msg)
		}
	}
	for subject, handle := range map[string]func(from link.Peer, m message.Message){l.All(): m.Handle, l.Inbox(self): inbox} {
		if _, err := l.Subscribe(subject, link.Loose, handle); err != nil {
			t.Fatal(err)
		}
	}
	p.reg.Pods().SetRelay(relay{p.Replicator})
	var all sync.WaitGroup
	stop := make(chan struct{})
	all.Go(func() { m.Run(stop) })
	t.Cleanup(func() {
		p.reg.Pods().SetRelay(nil)
		p.Close()
		close(stop)
		all.Wait()
	})
	m.SetSites([]message.Site{{}})
	return p
}

// enter connects a user that joins a channel, and returns what it sees.
func (p *testPod) enter(t *testing.T, at place, user string, watch presence.Watch) *view {
	t.Helper()
	v := new(view)
	c, err := p.reg.Connect(at.host, &presence.Rules{}, &presence.User{ID: user}, v)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Join(at.channel, watch, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return v
}

// counts makes frames of the number of members.
type counts struct{ clustertest.Encoder }

func (counts) Joined(j presence.Joined) []byte { return fmt.Append(nil, j.Count) }
func (counts) Presence(d presence.Diff) []byte { return fmt.Append(nil, d.Count) }

// view is an outbox that keeps the last frame.
type view struct {
	clustertest.Outbox
	mu   sync.Mutex
	last string
}

func (v *view) Push(frame []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.last = string(frame)
}

func (v *view) shows(t *testing.T, want string) {
	t.Helper()
	synctest.Wait()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.last != want {
		t.Errorf("the watcher sees %q members, want %q", v.last, want)
	}
}

func TestMessagesBeyondTheLimitAreReplacedByACheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slack = 100 * time.Millisecond
		n, room := new(clustertest.Lab), testPlace(t)
		a, b := start(t, n, "a"), start(t, n, "b")
		time.Sleep(2 * time.Second)
		watcher := b.enter(t, room, "bob", presence.WatchList)
		time.Sleep(slack)
		a.port.SetError(errors.New("cut off"))
		a.enter(t, room, "ann", presence.WatchNone)
		time.Sleep(slack)
		a.port.SetError(nil)
		watcher.shows(t, "1")
		b.intake.mu.Lock()
		b.intake.bytes = maxWaitingBytes // as if messages of other pods waited
		b.intake.mu.Unlock()
		b.Handle(a.link.Self(), largeDelta(room, 1, 1))
		time.Sleep(slack)
		watcher.shows(t, "2")
	})
}
