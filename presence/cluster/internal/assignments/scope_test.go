package assignments

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// A new pod can know this one with sites from before, and so have completed changes without it.
// They are of hosts that this pod has begun to serve.
func TestNewPodMayHaveChangesOfHostsThatThePodBeganToServe(t *testing.T) {
	host, other := mustHost(t, "example.com"), mustHost(t, "b.example.com")
	for _, changes := range []int{0, 1, 2, maxScopes, maxScopes + 1, maxScopes + 5} {
		t.Run(fmt.Sprintf("after %d changes of its sites", changes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				joined(t, n, "b", host, other)
				a := start(t, n, "a", new(disk), other)
				if changes == 0 {
					a = start(t, n, "c", new(disk), host, other)
				}
				for i := range changes - 1 {
					a.serve(other, mustHost(t, fmt.Sprintf("%d.example.com", i)))
				}
				if changes > 0 {
					a.serve(host, other)
				}
				time.Sleep(5 * time.Second)
				want := func(when string, newer, always bool) {
					t.Helper()
					synctest.Wait()
					if a.SyncedFor(host) != newer || a.SyncedFor(other) != always {
						t.Errorf("%s: synced for the host: %v, and for the one that it has always served: %v",
							when, a.SyncedFor(host), a.SyncedFor(other))
					}
				}
				want("before", true, true)
				s := script(t, n, "s", host, other)
				s.Beat()
				remembered := changes < maxScopes
				want("while the new pod does not answer", changes == 0, remembered)
				total, _ := a.book.Total(nil)
				answer := func(scope uint64) {
					for _, m := range heardOf[*message.AssignmentTotal](s) {
						if m.Wanted {
							s.Send(s.Link.AssignmentsOf(a.link.Self()), &message.AssignmentTotal{ID: m.ID, Total: total, Scope: scope})
						}
					}
				}
				answer(1)
				want("when it has answered about the sites of before", changes == 0, remembered)
				answer(a.members.SharedBySame().Scope)
				want("when it has answered", true, true)
			})
		})
	}
}

// A check is answered only if the other pod knows the present sites of both. The answer has what
// differs, and what the pod has of hosts that only the other one serves.
func TestAnswerToACheck(t *testing.T) {
	host, other, left := mustHost(t, "example.com"), mustHost(t, "b.example.com"), mustHost(t, "left.example.com")
	tests := map[string]struct {
		sites   []presence.HostName // of the pod that checks
		scope   func(scope uint64) uint64
		same    bool // it has the records of the host that both serve
		outside uint64
		want    map[presence.HostName]int // records in the answer; nil: none comes
	}{
		"it has nothing":        {sites: []presence.HostName{host}, want: map[presence.HostName]int{host: 2}},
		"it has all":            {sites: []presence.HostName{host}, same: true, want: map[presence.HostName]int{}},
		"of sites of before":    {sites: []presence.HostName{host}, scope: func(scope uint64) uint64 { return scope + 1 }},
		"it serves another one": {sites: []presence.HostName{other}, want: map[presence.HostName]int{other: 1}},
		"it serves a host that the pod has left": {
			sites: []presence.HostName{host, left}, same: true, want: map[presence.HostName]int{left: 3},
		},
		"it has that already": {
			sites: []presence.HostName{host, left}, outside: outsideDone, want: map[presence.HostName]int{host: 2},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				a := joined(t, n, "a", host, other, left)
				a.assign(host, "ada", "bob")
				a.assign(other, "ada")
				a.assign(left, "ada", "bob", "eve")
				a.serve(host, other)
				s := script(t, n, "s", tt.sites...)
				s.Live(3 * time.Second)
				shared, ok := a.members.Shared(s.Peer())
				if !ok {
					t.Fatal("the sites are not known")
				}
				check := &message.AssignmentCheck{ID: 7, Scope: shared.Scope, Outside: tt.outside}
				if tt.scope != nil {
					check.Scope = tt.scope(check.Scope)
				}
				if tt.same {
					check.Sums = *a.book.Sums(func(h presence.HostName) bool { return h == host })
				}
				s.Send(s.Link.AssignmentsOf(a.link.Self()), check)
				got, parts := make(map[presence.HostName]int), uint64(0)
				for _, m := range heardOf[*message.Assignments](s) {
					if m.ID != 7 || !m.Answer {
						t.Errorf("the answer is %+v", m)
					}
					got[m.Host] += len(m.Records)
					parts++
				}
				ends := heardOf[*message.AssignmentsTaken](s)
				if tt.want == nil {
					if len(ends) > 0 || parts > 0 {
						t.Errorf("%d parts, %d ends, want no answer", parts, len(ends))
					}
					return
				}
				if len(ends) != 1 || ends[0].ID != 7 || ends[0].Parts != parts || ends[0].Outside != outsideDone || ends[0].More {
					t.Errorf("%d parts end with %+v", parts, ends)
				}
				if len(got) != len(tt.want) {
					t.Errorf("records of %v, want %v", got, tt.want)
				}
				for h, want := range tt.want {
					if got[h] != want {
						t.Errorf("%d records of %v, want %d", got[h], h, want)
					}
				}
			})
		})
	}
}

// The last time in step is that at which the pod heard all pods that can be alive, and had what
// they have.
func TestPodIsInStepWithThePodsThatCanBeAlive(t *testing.T) {
	host, other := mustHost(t, "example.com"), mustHost(t, "b.example.com")
	const after = 2 * time.Minute
	tests := map[string]struct {
		happens func(n *clustertest.Lab, a, b *testPod) *testPod // it returns the pod that leaves the host then
		inStep  bool
	}{
		"all are heard": {func(_ *clustertest.Lab, a, _ *testPod) *testPod {
			time.Sleep(after)
			return a
		}, true},
		"the other one has ended": {func(_ *clustertest.Lab, a, b *testPod) *testPod {
			b.link.Send(b.link.All(), &message.Goodbye{})
			b.end()
			time.Sleep(after)
			return a
		}, true},
		"the other one is silent": {func(_ *clustertest.Lab, a, b *testPod) *testPod {
			b.end()
			time.Sleep(after)
			return a
		}, false},
		"it has just started again": {func(n *clustertest.Lab, a, _ *testPod) *testPod {
			a.end()
			a.book.Detach()
			time.Sleep(after)
			return start(a.t, n, "a", a.disk, host, other)
		}, false},
		"it has started again": {func(n *clustertest.Lab, a, _ *testPod) *testPod {
			a.end()
			a.book.Detach()
			a = start(a.t, n, "a", a.disk, host, other)
			time.Sleep(after)
			return a
		}, true},
		"the other one does not answer": {func(n *clustertest.Lab, a, b *testPod) *testPod {
			a.end()
			a.book.Detach()
			a = start(a.t, n, "a", a.disk, host, other)
			isAbout := func(m message.Message) bool {
				switch m.(type) {
				case *message.AssignmentTotal, *message.AssignmentCheck:
					return true
				}
				return false
			}
			a.port.Lose(isAbout)
			b.port.Lose(isAbout)
			time.Sleep(after)
			if !a.Synced() { // it no longer waits
				a.t.Error("it is not synced")
			}
			return a
		}, false},
		"it always doubts the other one": {func(_ *clustertest.Lab, a, b *testPod) *testPod {
			for end := time.Now().Add(after); time.Now().Before(end); time.Sleep(time.Second) {
				b.port.Lose(func(m message.Message) bool { _, ok := m.(*message.AssignmentTotal); return ok })
				a.HeardAgain(b.link.Self())
			}
			return a
		}, false},
		"the bus is disconnected": {func(_ *clustertest.Lab, a, _ *testPod) *testPod {
			a.members.SetConnected(false)
			time.Sleep(after)
			return a
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				a, b := joined(t, n, "a", host, other), joined(t, n, "b", host, other)
				a.spread(host, a.assign(host, "ada"), true)
				time.Sleep(after)
				begin := time.Now()
				a = tt.happens(n, a, b)
				a.serve(other)
				left, ok := a.disk.records[[3]string{host.String(), "left", string(rune(31))}]
				if !ok {
					t.Fatal("the time is not on the disk")
				}
				last := time.UnixMilli(int64(left.Value))
				want := begin
				if tt.inStep {
					want = time.Now()
				}
				if early := want.Sub(last); early < 0 || early > 2*timing.Default().Check {
					t.Errorf("it was in step %s before the time that is expected", early)
				}
			})
		})
	}
}

// A change is complete without a pod after its goodbye. If the pod starts again and the pod that made the change
// counts as crashed, it waits for that pod, unless another pod that is whole serves the host.
func TestPodThatStartsWaitsForOneThatCountsAsCrashed(t *testing.T) {
	host, other := mustHost(t, "example.com"), mustHost(t, "b.example.com")
	for name, tt := range map[string]struct {
		third []presence.HostName // what the third pod serves
		waits bool
	}{
		"nobody else serves the host": {[]presence.HostName{other}, true},
		"another pod serves the host": {[]presence.HostName{host, other}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				b, c, a := joined(t, n, "b", tt.third...), joined(t, n, "c", host), joined(t, n, "a", host)
				if !tt.waits {
					c.spread(host, c.assign(host, "ada"), true)
				}
				c.port.SetError(errors.New("cut")) // it is not heard, and hears the others
				time.Sleep(2500 * time.Millisecond)
				a.link.Send(a.link.All(), &message.Goodbye{})
				a.end()
				a.book.Detach()
				synctest.Wait()
				if tt.waits {
					c.spread(host, c.assign(host, "ada"), true)
				}
				time.Sleep(10 * time.Second)
				a = start(t, n, "a", a.disk, host)
				time.Sleep(5 * time.Second)
				want := func(when string, waits bool) {
					t.Helper()
					missing, crashed := a.Unsettled(host)
					if missing || waits != slices.Equal(crashed, []link.Peer{c.link.Self()}) || a.SyncedFor(host) == waits || a.trusted() == waits {
						t.Errorf("%s: it waits for all missing pods: %v, and for %v; synced for the host: %v, trusted: %v",
							when, missing, crashed, a.SyncedFor(host), a.trusted())
					}
				}
				want("after its start", tt.waits)
				if !tt.waits {
					a.wantOf(host, []string{"ada"}, "ada")
				}
				c.port.SetError(nil)
				time.Sleep(5 * time.Second)
				want("when the other one is back", false)
				a.wantOf(host, []string{"ada"}, "ada")
				if !b.members.Alive(c.link.Self()) {
					t.Error("the pod is not back")
				}
			})
		})
	}
}
