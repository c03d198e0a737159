package assignments

import (
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/membership"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

var mustHost = testkit.MustHost

// testPod is a pod that has members and a keeper, and nothing else.
type testPod struct {
	*Keeper
	t    *testing.T
	port *clustertest.Port
	disk *disk
	stop chan struct{}
	end  func()
}

// start starts a pod that serves the hosts, with the records that are on the disk.
func start(t *testing.T, n *clustertest.Lab, pod string, d *disk, hosts ...presence.HostName) *testPod {
	t.Helper()
	p := &testPod{t: t, port: n.Port(t), disk: d, stop: make(chan struct{})}
	self := link.Peer{DC: "us", Pod: pod, Incarnation: message.Incarnation{Started: time.Now().UnixMilli(), Random: link.Random()}}
	l := link.New(p.port, "rollcall", "", self, zap.NewNop())
	tm := timing.Default()
	members := membership.New(l, tm, func() (connections, hosts uint64) { return 0, 0 }, p, zap.NewNop())
	book := assignment.NewBook(link.Random(), nil)
	if err := book.Attach(d); err != nil {
		t.Fatal(err)
	}
	p.Keeper = New(l, members, book, tm)
	members.SetSynced(p.Synced, p.SyncedFor, p.Unsettled)
	for subject, handle := range map[string]func(from link.Peer, m message.Message){
		l.All():               members.Handle,
		l.Inbox(self):         members.Handle,
		l.Assignments():       p.HandleShared,
		l.AssignmentsOf(self): p.Handle,
	} {
		if _, err := l.Subscribe(subject, link.Loose, handle); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	all.Go(func() { members.Run(p.stop) })
	all.Go(func() { p.Run(p.stop) })
	p.end = sync.OnceFunc(func() {
		p.port.Unsubscribe()
		close(p.stop)
		all.Wait()
	})
	t.Cleanup(p.end)
	p.serve(hosts...)
	return p
}

// joined starts a pod and waits until it has joined.
func joined(t *testing.T, n *clustertest.Lab, pod string, hosts ...presence.HostName) *testPod {
	t.Helper()
	p := start(t, n, pod, new(disk), hosts...)
	time.Sleep(2500 * time.Millisecond)
	if !p.members.Joined(presence.HostName{}) {
		t.Fatal("not joined after 2.5 s")
	}
	return p
}

func site(hosts ...presence.HostName) message.Site {
	names := make([]string, len(hosts))
	for i, host := range hosts {
		names[i] = host.String()
	}
	return message.Site{Sets: [][]string{names}}
}

func (p *testPod) serve(hosts ...presence.HostName) {
	p.members.SetSites([]message.Site{site(hosts...)})
	p.SetSites()
}

// The pod observes its members.

func (p *testPod) PodUp(other link.Peer, _ bool) { p.Keeper.PodUp(other) }

// PodDown implements membership.Observer.
func (p *testPod) PodDown(other link.Peer) {
	p.link.Forget(other)
	p.Keeper.PodDown(other)
}

// assign assigns users to the channel "sales".
func (p *testPod) assign(host presence.HostName, users ...string) []assignment.Record {
	p.t.Helper()
	var wishes []assignment.Wish
	for _, user := range users {
		wishes = append(wishes, assignment.Wish{User: user, Channels: []assignment.Assignment{{Channel: "sales", Mode: assignment.Listen}}})
	}
	records, err := p.book.Assign(host, wishes, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	return records
}

func (p *testPod) remove(host presence.HostName, users ...string) []assignment.Record {
	p.t.Helper()
	var wishes []assignment.Wish
	for _, user := range users {
		wishes = append(wishes, assignment.Wish{User: user, Channels: []assignment.Assignment{{Channel: "sales"}}})
	}
	records, _, err := p.book.Remove(host, wishes)
	if err != nil {
		p.t.Fatal(err)
	}
	return records
}

// wantOf compares the users that are assigned to "sales", of those that are named.
func (p *testPod) wantOf(host presence.HostName, users []string, want ...string) {
	p.t.Helper()
	synctest.Wait()
	got := slices.DeleteFunc(slices.Clone(users), func(user string) bool {
		return p.book.Mode(host, user, "sales") == assignment.None
	})
	if !slices.Equal(got, want) {
		p.t.Errorf("%s has %q, want %q", p.link.Self().Pod, got, want)
	}
}

// spread spreads records, and compares what Spread returns.
func (p *testPod) spread(host presence.HostName, records []assignment.Record, settled bool, want ...string) {
	p.t.Helper()
	missing, ok := p.Spread(p.t.Context(), host, records, p.stop)
	if slices.Sort(missing); !slices.Equal(missing, want) || ok != settled {
		p.t.Errorf("missing %q, settled %v; want %q, %v", missing, ok, want, settled)
	}
}

// scripted is a pod that does only what the test says. It keeps what it was sent alone about
// assignments.
type scripted struct {
	*clustertest.Script
	mu    sync.Mutex
	heard []message.Message
	does  func(m message.Message) // if not nil, it is called for each of them
}

// script adds a pod that serves the hosts, and lives until the test ends.
func script(t *testing.T, n *clustertest.Lab, pod string, hosts ...presence.HostName) *scripted {
	t.Helper()
	s := &scripted{Script: n.Script(t, "us", pod, time.Now().UnixMilli())}
	handle := func(_ link.Peer, m message.Message) {
		s.mu.Lock()
		s.heard = append(s.heard, m)
		does := s.does
		s.mu.Unlock()
		if does != nil {
			does(m)
		}
	}
	for _, subject := range []string{s.Link.Assignments(), s.Link.AssignmentsOf(s.Peer())} {
		if _, err := s.Link.Subscribe(subject, link.Loose, handle); err != nil {
			t.Fatal(err)
		}
	}
	s.Serve(site(hosts...))
	return s
}

// on sets what the pod does with messages about assignments.
func (s *scripted) on(does func(m message.Message)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.does = does
}

// heardOf waits for all goroutines, and returns the messages of one type.
func heardOf[M message.Message](s *scripted) (list []M) {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.heard {
		if m, ok := m.(M); ok {
			list = append(list, m)
		}
	}
	return list
}

// disk is a Store in memory.
type disk struct {
	mu      sync.Mutex
	err     error // result of Save
	records map[[3]string]assignment.Record
}

func keyOf(r *assignment.Record) [3]string {
	return [3]string{r.Host.String(), r.User, string(rune(r.Kind)) + r.Channel}
}

// Load implements assignment.Store.
func (d *disk) Load(take func(assignment.Record)) error {
	d.mu.Lock()
	records := slices.Collect(maps.Values(d.records))
	d.mu.Unlock()
	for _, r := range records {
		take(r)
	}
	return nil
}

// Save implements assignment.Store.
func (d *disk) Save(records []assignment.Record) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return d.err
	}
	if d.records == nil {
		d.records = make(map[[3]string]assignment.Record)
	}
	for _, r := range records {
		if old, ok := d.records[keyOf(&r)]; ok {
			r = old.Merge(r)
		}
		d.records[keyOf(&r)] = r
	}
	return nil
}

// Delete implements assignment.Store.
func (d *disk) Delete(records []assignment.Record) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range records {
		if d.records[keyOf(&r)] == r {
			delete(d.records, keyOf(&r))
		}
	}
	return nil
}

// fail makes the disk fail from now on; nil ends it.
func (d *disk) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}
