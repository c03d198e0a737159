package query

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/membership"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// testPod is a pod that has members and queries, and nothing else.
type testPod struct {
	Asker
	link      *link.Link
	members   *membership.Members
	responder *Responder
	port      *clustertest.Port
	local     *local
	stop      chan struct{}
	ending    sync.Once
}

// settled starts a pod that serves every host, and waits until it is ready.
func settled(t *testing.T, n *clustertest.Lab, dc, pod string, change ...func(*timing.Timing)) *testPod {
	t.Helper()
	tm := timing.Default()
	for _, f := range change {
		f(&tm)
	}
	port := n.Port(t)
	p := start(t, port, presence.NewRegistry(clustertest.Encoder{}), dc, pod, tm)
	p.port = port
	time.Sleep(2500 * time.Millisecond)
	if !p.members.Ready() {
		t.Fatal("not ready after 2.5 s")
	}
	return p
}

// start starts a pod that serves every host.
func start(t testing.TB, tr link.Transport, registry *presence.Registry, dc, pod string, tm timing.Timing) *testPod {
	t.Helper()
	p := &testPod{local: new(local), stop: make(chan struct{})}
	self := link.Peer{DC: dc, Pod: pod, Incarnation: message.Incarnation{Started: time.Now().UnixMilli(), Random: link.Random()}}
	p.link = link.New(tr, "rollcall", "", self, zap.NewNop())
	p.members = membership.New(p.link, tm, func() (connections, hosts uint64) { return 0, 0 }, p, zap.NewNop())
	p.responder = NewResponder(p.link, registry, p.local)
	var all sync.WaitGroup
	p.queries = New(p.link, p.members, p.responder, tm, nil, &all, p.stop)
	for subject, handle := range map[string]func(from link.Peer, m message.Message){
		p.link.All():         p.members.Handle,
		p.link.Queries():     p.responder.Handle,
		p.link.QueriesOf(dc): p.responder.Handle,
		p.link.Inbox(self):   p.handle,
	} {
		if _, err := p.link.Subscribe(subject, link.Loose, handle); err != nil {
			t.Fatal(err)
		}
	}
	p.responder.Start(&all, p.stop)
	all.Go(func() { p.members.Run(p.stop) })
	t.Cleanup(func() {
		p.queries.Close()
		p.end()
		all.Wait()
	})
	p.members.SetSites([]message.Site{{}})
	return p
}

func (p *testPod) handle(from link.Peer, m message.Message) {
	switch m := m.(type) {
	case *message.Reply:
		if !p.queries.AddReply(from, m) {
			p.link.Counts.Unknown.Add(1)
		}
	case *message.Query:
		p.responder.Handle(from, m)
	default:
		p.members.Handle(from, m)
	}
}

// The pod observes its members.

func (p *testPod) PodUp(link.Peer, bool)  {}
func (p *testPod) RecheckAll()            {}
func (p *testPod) SitesChanged(link.Peer) {}
func (p *testPod) HeardAgain(link.Peer)   {}
func (p *testPod) PodDown(other link.Peer) {
	p.link.Forget(other)
	p.queries.PodDown(other)
}

// local is the Local of a pod that serves every host.
type local struct {
	hold chan struct{} // Serves waits until it is closed; if nil, it does not wait

	hosts     []message.HostCount // set before the first query, like listeners
	listeners []message.Listener

	mu   sync.Mutex
	done []string // calls that were carried out
}

func (l *local) Serves(presence.HostName) bool {
	if l.hold != nil {
		<-l.hold
	}
	return true
}

func (l *local) Connections() int { return 0 }

func (l *local) Explain(presence.HostName, string) []message.Connection { return nil }

func (l *local) Hosts(host presence.HostName) []message.HostCount {
	return slices.DeleteFunc(slices.Clone(l.hosts), func(h message.HostCount) bool { return !host.IsZero() && h.Host != host })
}

func (l *local) Listeners(presence.HostName, presence.Listeners) (of presence.Listing, list []message.Listener, ok bool) {
	return presence.Listing{Channel: "c", Kind: presence.Authenticated, Count: len(l.listeners)}, l.listeners, len(l.listeners) > 0
}

func (l *local) Disconnect(host presence.HostName, channel string, call *message.Call) int {
	return l.carryOut("disconnect", host, channel, call)
}

func (l *local) Leave(host presence.HostName, call *message.Call) int {
	return l.carryOut("leave", host, "", call)
}

// carryOut records a call, and returns how many there are.
func (l *local) carryOut(what string, host presence.HostName, channel string, call *message.Call) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = append(l.done, fmt.Sprintf("%s %s %q %+v", what, host, channel, *call))
	return len(l.done)
}

// end stops the goroutines. Ending twice is not an error.
func (p *testPod) end() { p.ending.Do(func() { close(p.stop) }) }

// count queries the number of users.
func (p *testPod) count(t *testing.T) answer {
	t.Helper()
	dcs, truth := p.AllUsers(t.Context(), testkit.MustHost(t, "example.com"), false, presence.PerUser)
	return answer{truth: truth, dcs: dcs}
}

func wantText(t *testing.T, a answer, want string) {
	t.Helper()
	if got := a.text(); got != want {
		t.Errorf("answer:\n got %s\nwant %s", got, want)
	}
}

// text formats an answer of data centers or connections as one line.
func (a answer) text() string {
	var b strings.Builder
	for _, dc := range a.dcs {
		fmt.Fprintf(&b, "%s %d+%d", dc.Name, dc.Authenticated, dc.Anonymous)
		if dc.Users != nil {
			b.WriteString(clustertest.UsersText(dc.Users))
		}
		b.WriteString("; ")
	}
	for _, c := range a.connections {
		fmt.Fprint(&b, c.DataCenter, "/", c.Pod, " ", c.ID, " ", c.Channels, "; ")
	}
	if a.truth.Complete {
		b.WriteString("complete")
	} else {
		fmt.Fprint(&b, "missing ", a.truth.Missing)
	}
	return b.String()
}

// anonymous returns a complete reply with a number of anonymous connections.
func anonymous(n uint64) func(id uint64) []*message.Reply {
	return func(id uint64) []*message.Reply {
		return []*message.Reply{{ID: id, Last: true, Count: message.Count{Anonymous: n}}}
	}
}
