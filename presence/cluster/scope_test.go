package cluster

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/memory"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// recordsOf returns the number of records of the host in the book of the pod.
func (r *keeperRun) recordsOf(host presence.HostName) (n int) {
	for i := range assignment.Shards {
		n += len(r.book.Part(i, func(h presence.HostName) bool { return h == host }))
	}
	return n
}

// wantRecords compares the numbers of records of the host in the book and on the disk of the pod.
func (p *keeperPod) wantRecords(when string, host presence.HostName, want int) {
	p.t.Helper()
	if book, disk := p.run.recordsOf(host), p.disk.recordsOf(host); book != want || disk != want {
		p.t.Errorf("%s: %s has %d records of %v, and %d on disk, want %d", when, p.name, book, host, disk, want)
	}
}

// A pod has no records of hosts that it does not serve, and pods that serve different hosts agree on those
// that both serve.
func TestPodKeepsOnlyWhatItServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, pods := keepersOf(t, 1, "eu", "eu", "us")
		host, other := mustHost(t, "example.com"), mustHost(t, "b.example.com")
		pods[1].serves = []presence.HostName{host, other}
		pods[2].serves = []presence.HostName{other}
		for _, p := range pods {
			p.start()
		}
		time.Sleep(5 * time.Second)
		change := func(p *keeperPod, host presence.HostName, user string) {
			t.Helper()
			if !p.run.change(host, assignment.Receive, user, "sales") {
				t.Errorf("a change on %s is not complete", p.name)
			}
			if records, err := p.run.book.Revoke(host, []string{user}, 0, time.Hour); err != nil ||
				!p.run.Spread(t.Context(), host, records).Complete {
				t.Errorf("a revocation on %s is not complete: %v", p.name, err)
			}
		}
		change(pods[0], host, "ada")
		change(pods[1], host, "bob")
		change(pods[1], other, "eve")
		change(pods[2], other, "kim")
		check := func(when string) {
			t.Helper()
			for i, want := range [][2]int{{4, 0}, {4, 4}, {0, 4}} {
				pods[i].wantRecords(when, host, want[0])
				pods[i].wantRecords(when, other, want[1])
			}
		}
		check("at first")
		checks := 0
		net.mu.Lock()
		net.drop = func(_, _ *simPort, m message.Message) bool {
			if _, ok := m.(*message.AssignmentCheck); ok {
				checks++
			}
			return false
		}
		net.mu.Unlock()
		time.Sleep(4 * timing.Default().Check)
		net.mu.Lock()
		net.drop = nil
		net.mu.Unlock()
		if checks != 0 {
			t.Errorf("%d checks, although there is no difference", checks)
		}
		for _, p := range pods {
			p.run.end(true)
			p.start()
			time.Sleep(5 * time.Second)
		}
		check("after a restart of all")
	})
}

// A pod that begins to serve a host answers completely for it only when it has the records of the host. It
// goes on answering for the others.
func TestPodThatBeginsToServeAHostHasItsRecordsFirst(t *testing.T) {
	host, other := mustHost(t, "example.com"), mustHost(t, "b.example.com")
	tests := map[string]struct {
		users  int // how many have an assignment, and are removed from another channel
		before func(pods []*keeperPod)
		after  func(pods []*keeperPod) // after the pod has begun
		within time.Duration
	}{
		"another pod serves it": {
			before: func([]*keeperPod) {}, within: 300 * time.Millisecond,
		},
		"another pod has ceased to": {
			before: func(pods []*keeperPod) { pods[0].run.serve(other) }, within: 300 * time.Millisecond,
		},
		"another pod has ceased to, and started again": {
			before: func(pods []*keeperPod) {
				pods[0].serves = []presence.HostName{other}
				pods[0].run.serve(other)
				time.Sleep(time.Second)
				pods[0].run.end(true)
				pods[0].start()
				time.Sleep(5 * time.Second)
			},
			within: 300 * time.Millisecond,
		},
		"another pod ceases to at the same time": {
			before: func([]*keeperPod) {}, after: func(pods []*keeperPod) { pods[0].run.serve(other) }, within: 500 * time.Millisecond,
		},
		"many assignments, on a pod that has ceased to": {
			users: 5000, before: func(pods []*keeperPod) { pods[0].run.serve(other) }, within: time.Second,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, pods := keepersOf(t, 1, "eu", "eu", "eu")
				pods[0].serves = []presence.HostName{host, other}
				pods[1].serves, pods[2].serves = []presence.HostName{other}, []presence.HostName{other}
				for _, p := range pods {
					p.start()
				}
				time.Sleep(5 * time.Second)
				long := string(slices.Repeat([]byte{'c'}, 4000)) // for several answers
				for i := range tt.users {
					if _, err := pods[0].run.book.Assign(host, []assignment.Wish{{
						User: fmt.Sprintf("user-%d", i), Channels: []assignment.Assignment{{Channel: long, Mode: assignment.Listen}},
					}}, 0); err != nil {
						t.Fatal(err)
					}
				}
				if !pods[0].run.change(host, assignment.Receive, "ada", "sales") {
					t.Error("a change is not complete")
				}
				tt.before(pods)
				pods[2].wantRecords("before", host, 0)
				if pods[2].run.Spread(t.Context(), host, nil).Complete {
					t.Error("it answers completely for a host that it does not serve")
				}
				if !pods[2].run.assignments.Begins(host) {
					t.Error("it does not begin with a host that it is about to serve")
				}
				pods[2].run.serve(host, other)
				if !pods[2].run.assignments.Begins(host) || pods[2].run.assignments.Begins(other) {
					t.Error("it does not begin with the host, or begins with the other one")
				}
				if tt.after != nil {
					tt.after(pods)
				}
				took := pods[2].whole(host, func() bool {
					if !pods[2].run.Spread(t.Context(), other, nil).Complete {
						t.Error("it does not answer completely for the host that it has served before")
					}
					return pods[2].run.Spread(t.Context(), host, nil).Complete
				})
				t.Logf("complete after %s", took)
				if took > tt.within {
					t.Errorf("it took %s, longer than %s", took, tt.within)
				}
				if pods[2].run.assignments.Begins(host) {
					t.Error("it still begins")
				}
				pods[2].wantRecords("after", host, tt.users+1)
				pods[1].wantRecords("after", host, 0)
				if !pods[2].run.hearsAll(host) {
					t.Error("a query about the host is not answered completely")
				}
			})
		})
	}
}

// The only pod that serves a host ends, and another pod begins to serve it. When the first one is back, the
// other one does not answer completely without its records.
func TestPodThatServesAHostInTheMeantimeGetsItsRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, pods := keepersOf(t, 1, "eu", "eu", "eu")
		host, other := mustHost(t, "example.com"), mustHost(t, "b.example.com")
		pods[0].serves = []presence.HostName{host, other}
		pods[1].serves, pods[2].serves = []presence.HostName{other}, []presence.HostName{other}
		for _, p := range pods {
			p.start()
		}
		time.Sleep(5 * time.Second)
		if !pods[0].run.change(host, assignment.Receive, "ada", "sales") {
			t.Error("a change is not complete")
		}
		pods[0].run.end(false)
		pods[2].run.serve(host, other)
		time.Sleep(time.Second)
		if !pods[2].run.hearsAll(host) {
			t.Error("it does not answer completely, although no other pod serves the host")
		}
		pods[0].start()
		for !pods[2].run.members.Alive(pods[0].run.link.Self()) {
			time.Sleep(10 * time.Microsecond)
		}
		pods[2].whole(host, func() bool {
			if !pods[2].run.members.Joined(other) {
				t.Error("it is not joined for the host that it has served before")
			}
			return pods[2].run.Spread(t.Context(), host, nil).Complete
		})
		time.Sleep(3 * time.Second)
		if !pods[0].run.hearsAll(host) {
			t.Error("the pod that is back does not answer completely")
		}
	})
}

// A pod that has ceased to serve a host keeps its records, and no change waits for it. It still hears of
// changes, so that it does not bring back what was removed.
func TestPodThatCeasesToServeAHostKeepsItsRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, pods := keepersOf(t, 1, "eu", "eu", "us")
		host, other := mustHost(t, "example.com"), mustHost(t, "b.example.com")
		for _, p := range pods {
			p.serves = []presence.HostName{host, other}
			p.start()
		}
		time.Sleep(5 * time.Second)
		pods[0].run.change(host, assignment.Receive, "ada", "sales")
		pods[0].run.change(host, assignment.Receive, "bob", "sales")
		pods[2].run.serve(other)
		time.Sleep(time.Second)
		if n := pods[2].run.recordsOf(host); n != 2 {
			t.Errorf("%d records, want 2", n)
		}
		pods[0].run.change(host, assignment.None, "bob", "sales")
		time.Sleep(100 * time.Millisecond)
		if m := pods[2].run.book.Mode(host, "bob", "sales"); m != assignment.None {
			t.Errorf("it has missed a removal: %v", m)
		}
		cutApart(net, true, pods[:2], pods[2:])
		begin := time.Now()
		pods[0].run.change(host, assignment.Receive, "kim", "sales")
		if took := time.Since(begin); took > 100*time.Millisecond {
			t.Errorf("a change took %s", took)
		}
		cutApart(net, false, pods[:2], pods[2:])
		time.Sleep(10 * time.Second)
		pods[2].run.serve(host, other)
		time.Sleep(time.Second)
		if m := pods[2].run.book.Mode(host, "kim", "sales"); m != assignment.Receive || !pods[2].run.hearsAll(host) {
			t.Errorf("it serves the host again, and has the mode %v", m)
		}
	})
}

// A pod that must confirm a change of a host that it does not serve gets it at once, and gives it to whoever
// serves the host.
func TestPodThatDoesNotServeAHostConfirmsWhileAnotherCountsAsCrashed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, host := new(lab), mustHost(t, "example.com")
		books := []*assignment.Book{bookOf(t, 1), bookOf(t, 2)}
		a := n.start(t, "us", "web-1", with(books[0]))
		b := n.start(t, "us", "web-2", with(books[1]))
		b.SetSites([]message.Site{{Sets: [][]string{{"b.example.com"}}}})
		time.Sleep(3 * time.Second)
		records := assignTo(t, books[0], host, "sales", "ada")
		if !a.Spread(t.Context(), host, records).Complete || books[1].Len() != 0 {
			t.Errorf("%d assignments on a pod that does not serve the host", books[1].Len())
		}
		b.assignments.Handle(a.link.Self(), &message.Assignments{ID: 1 << 40, Host: host, Records: records})
		synctest.Wait()
		if books[1].Len() != 1 || len(clustertest.SentOf[*message.AssignmentsTaken](b.port)) == 0 {
			t.Error("what is sent to it alone is not kept and confirmed")
		}
	})
}

// A pod that begins to serve a host does not know whether pods that it cannot hear serve the host too, or have
// served it. It answers completely only when it has heard all that can be alive, and has what they have.
func TestPodThatBeginsToServeAHostWaitsForAllThatCanBeAlive(t *testing.T) {
	host, other, third := mustHost(t, "example.com"), mustHost(t, "b.example.com"), mustHost(t, "c.example.com")
	// begins makes the last pod serve the host, and checks after a while that it names the missing pods for this
	// host alone.
	begins := func(pods []*keeperPod, after time.Duration, missing ...string) {
		p := pods[len(pods)-1]
		p.t.Helper()
		p.run.serve(host, other)
		time.Sleep(after)
		truth := p.run.Spread(p.t.Context(), host, nil)
		if truth.Complete || !slices.Equal(truth.Missing, missing) {
			p.t.Errorf("it has begun: complete %v, missing %q, want %q", truth.Complete, truth.Missing, missing)
		}
		if truth := p.run.Spread(p.t.Context(), other, nil); !truth.Complete {
			p.t.Errorf("it is not complete for a host that it has served before: missing %q", truth.Missing)
		}
	}
	change := func(p *keeperPod, complete bool) {
		p.t.Helper()
		if p.run.change(host, assignment.Receive, "ada", "sales") != complete {
			p.t.Errorf("a change on %s: complete is not %v", p.name, complete)
		}
	}
	tests := map[string]struct {
		dcs   []string
		first int // the pod that serves the host at first; -1 for none
		// does makes the last pod serve the host, and lets it become complete within some time after that.
		does   func(net *simNet, pods []*keeperPod)
		within time.Duration
	}{
		"both sides of a cut begin": {
			dcs: []string{"us", "eu", "eu"}, first: -1, within: 2 * time.Second,
			does: func(net *simNet, pods []*keeperPod) {
				cutApart(net, true, pods[:1], pods[1:])
				time.Sleep(10 * time.Second)
				pods[0].run.serve(host, third)
				begins(pods, time.Second, "us/pod0")
				change(pods[0], false)
				cutApart(net, false, pods[:1], pods[1:])
			},
		},
		"a pod that has left the host is heard, and does not hear the pod": {
			dcs: []string{"us", "eu", "eu"}, first: 0, within: 10 * time.Second,
			does: func(net *simNet, pods []*keeperPod) {
				change(pods[0], true)
				pods[0].run.serve(third)
				net.setCut(2, 0, true)
				begins(pods, 10*time.Second)
				net.setCut(2, 0, false)
			},
		},
		"a pod is killed": {
			dcs: []string{"eu", "eu", "eu"}, first: 1, within: 8 * time.Second,
			does: func(_ *simNet, pods []*keeperPod) {
				change(pods[1], true)
				pods[0].run.end(true)
				pods[0].run = nil
				begins(pods, 4500*time.Millisecond)
			},
		},
		"a pod is killed, and forgotten": {
			dcs: []string{"us", "eu", "eu"}, first: 1, within: time.Second,
			does: func(_ *simNet, pods []*keeperPod) {
				change(pods[1], true)
				pods[0].run.end(true)
				pods[0].run = nil
				begins(pods, time.Minute, "us/pod0")
				if err := pods[1].run.Forget("us", "pod0"); err != nil {
					pods[1].t.Error(err)
				}
			},
		},
		"the only pod that serves it counts as crashed, and is alive": {
			dcs: []string{"eu", "eu", "eu"}, first: 0, within: 2 * time.Second,
			does: func(net *simNet, pods []*keeperPod) {
				cutApart(net, true, pods[:1], pods[1:])
				time.Sleep(time.Second)
				change(pods[0], true)
				begins(pods, time.Minute, "eu/pod0")
				cutApart(net, false, pods[:1], pods[1:])
			},
		},
		"it counted as crashed before": {
			dcs: []string{"eu", "eu", "eu"}, first: 0, within: 2 * time.Second,
			does: func(net *simNet, pods []*keeperPod) {
				cutApart(net, true, pods[:1], pods[1:])
				time.Sleep(time.Second)
				change(pods[0], true)
				time.Sleep(time.Minute)
				begins(pods, time.Minute, "eu/pod0")
				cutApart(net, false, pods[:1], pods[1:])
			},
		},
		"it was killed": {
			dcs: []string{"eu", "eu", "eu"}, first: 0, within: 2 * time.Second,
			does: func(net *simNet, pods []*keeperPod) {
				change(pods[0], true)
				pods[0].run.end(true)
				pods[0].run = nil
				begins(pods, time.Minute, "eu/pod0")
				if !pods[1].run.change(third, assignment.Receive, "ada", "sales") {
					pods[1].t.Error("a change about another host is not complete")
				}
				pods[0].start()
			},
		},
		"it was killed, and forgotten": {
			dcs: []string{"eu", "eu", "eu"}, first: 0, within: time.Second,
			does: func(net *simNet, pods []*keeperPod) {
				pods[0].run.end(true)
				pods[0].run = nil
				begins(pods, time.Minute, "eu/pod0")
				if err := pods[1].run.Forget("eu", "pod0"); err != nil {
					pods[1].t.Error(err)
				}
				time.Sleep(500 * time.Millisecond)
				change(pods[2], true)
			},
		},
		"it was killed, and another one serves the host too": {
			dcs: []string{"eu", "eu", "eu"}, first: 0, within: 14 * time.Second,
			does: func(net *simNet, pods []*keeperPod) {
				pods[1].run.serve(host, third)
				time.Sleep(time.Second)
				change(pods[0], true)
				pods[0].run.end(true)
				pods[0].run = nil
				begins(pods, 4500*time.Millisecond)
			},
		},
		"it was killed, and the other one has changed its sites since": {
			dcs: []string{"eu", "eu", "eu"}, first: 0, within: 14 * time.Second,
			does: func(_ *simNet, pods []*keeperPod) {
				pods[1].run.serve(host, third)
				time.Sleep(time.Second)
				change(pods[0], true)
				pods[0].run.end(true)
				pods[0].run = nil
				time.Sleep(10 * time.Second)
				pods[1].run.serve(host, third, other)
				time.Sleep(10 * time.Second)
				pods[2].run.serve(host, other)
			},
		},
		"a pod ends after a cut": {
			dcs: []string{"us", "eu", "eu"}, first: 1, within: 2 * time.Second,
			does: func(net *simNet, pods []*keeperPod) {
				change(pods[1], true)
				cutApart(net, true, pods[:1], pods[1:])
				begins(pods, 10*time.Second, "us/pod0")
				cutApart(net, false, pods[:1], pods[1:])
				pods[0].run.end(false)
				pods[0].run = nil
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net, pods := keepersOf(t, 1, tt.dcs...)
				for i, p := range pods {
					switch i {
					case tt.first:
						p.serves = []presence.HostName{host, third}
					case len(pods) - 1:
						p.serves = []presence.HostName{other}
					default:
						p.serves = []presence.HostName{third}
					}
					p.start()
				}
				time.Sleep(5 * time.Second)
				tt.does(net, pods)
				last := pods[len(pods)-1]
				took := last.whole(host, func() bool { return last.run.Spread(t.Context(), host, nil).Complete })
				t.Logf("complete after %s", took)
				if took > tt.within {
					t.Errorf("it took %s, longer than %s", took, tt.within)
				}
			})
		})
	}
}

// A pod that starts and hears none of the pods that have ended for it does not know what they have by now. It is
// not in step, so that it keeps what it has of a host that it leaves for less time.
func TestPodThatStartsAndHearsNobodyIsNotInStep(t *testing.T) {
	host, other := mustHost(t, "example.com"), mustHost(t, "b.example.com")
	for name, test := range map[string]struct {
		pods   int
		inStep bool
	}{"it knows another one": {2, false}, "it is the only one": {1, true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net, pods := keepersOf(t, 1, []string{"eu", "eu"}[:test.pods]...)
				for _, p := range pods {
					p.serves = []presence.HostName{host, other}
					p.start()
				}
				time.Sleep(10 * time.Second)
				if records, err := pods[0].run.book.Assign(host, []assignment.Wish{{
					User: "ada", Channels: []assignment.Assignment{{Channel: "sales", Mode: assignment.Listen}},
				}}, 0); err != nil || !pods[0].run.Spread(t.Context(), host, records).Complete {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				for _, p := range slices.Backward(pods) { // the first one hears that the other one ends
					p.run.end(false)
					time.Sleep(time.Second)
				}
				ended := time.Now()
				cutApart(net, true, pods[:1], pods[1:])
				for _, p := range pods {
					p.start()
				}
				time.Sleep(time.Minute)
				pods[0].run.serve(other)
				pods[0].disk.mu.Lock()
				left, ok := pods[0].disk.records[[3]string{host.String(), "left", string(rune(31))}]
				pods[0].disk.mu.Unlock()
				if at := time.UnixMilli(int64(left.Value)); !ok || at.After(ended) != test.inStep {
					t.Errorf("it was in step %s after the others had ended", at.Sub(ended))
				}
			})
		})
	}
}

// A pod that starts can lack changes that a crashed pod has completed alone. It waits for the crashed pod, unless
// another pod that serves the host has all changes. So pods that are restarted one after another do not wait.
func TestPodThatStartsWaitsForOneThatCanHaveCompletedChangesAlone(t *testing.T) {
	host, other, third := mustHost(t, "example.com"), mustHost(t, "b.example.com"), mustHost(t, "c.example.com")
	both := []presence.HostName{host, other}
	restart := func(p *keeperPod) {
		if p.run != nil {
			p.run.end(false)
			time.Sleep(time.Second)
		}
		p.start()
	}
	kill := func(p *keeperPod) {
		p.run.end(true)
		p.run = nil
		time.Sleep(10 * time.Second)
	}
	change := func(pods []*keeperPod, mode assignment.Mode) {
		if !pods[0].run.change(host, mode, "ada", "sales") {
			pods[0].t.Error("a change is not complete")
		}
	}
	// waits checks that pods name the first one, and no other, for the host alone.
	waits := func(pods ...*keeperPod) {
		time.Sleep(time.Minute)
		for _, p := range pods {
			p.t.Helper()
			if truth := p.run.Spread(p.t.Context(), host, nil); truth.Complete || !slices.Equal(truth.Missing, []string{"eu/pod0"}) {
				p.t.Errorf("%s: complete %v, missing %q", p.name, truth.Complete, truth.Missing)
			}
			if truth := p.run.Spread(p.t.Context(), other, nil); !truth.Complete && slices.Contains(p.serves, other) {
				p.t.Errorf("%s is not complete for another host: missing %q", p.name, truth.Missing)
			}
		}
	}
	tests := map[string]struct {
		serves [3][]presence.HostName
		// does starts the second pod, and lets it become complete within some time after that.
		does   func(net *simNet, pods []*keeperPod)
		within time.Duration
	}{
		"all are heard": {
			serves: [3][]presence.HostName{both, both, both}, within: 1700 * time.Millisecond,
			does: func(_ *simNet, pods []*keeperPod) { restart(pods[1]) },
		},
		"the other one is not heard, and completes a change alone": {
			serves: [3][]presence.HostName{{host}, both, {other}}, within: time.Second,
			does: func(net *simNet, pods []*keeperPod) {
				change(pods, assignment.Listen)
				for _, p := range pods[1:] { // it is not heard, and hears the others
					net.setCut(0, p.index, true)
				}
				time.Sleep(2500 * time.Millisecond)
				pods[1].run.end(false)
				time.Sleep(100 * time.Millisecond)
				change(pods, assignment.Receive)
				pods[1].start()
				waits(pods[1])
				for _, p := range pods[1:] {
					net.setCut(0, p.index, false)
				}
			},
		},
		"one is dead, and the others are restarted one after another": {
			serves: [3][]presence.HostName{both, both, both}, within: 2 * time.Second,
			does: func(_ *simNet, pods []*keeperPod) {
				kill(pods[0])
				for _, p := range []*keeperPod{pods[1], pods[2], pods[1], pods[2]} {
					restart(p)
					for !p.run.members.Ready() {
						time.Sleep(10 * time.Millisecond)
					}
					time.Sleep(100 * time.Millisecond)
				}
				restart(pods[1])
			},
		},
		"one is dead, and the others, which serve more, are restarted one after another": {
			serves: [3][]presence.HostName{{host}, both, {host, third}}, within: 2 * time.Second,
			does: func(_ *simNet, pods []*keeperPod) {
				kill(pods[0])
				for _, p := range []*keeperPod{pods[1], pods[2]} {
					restart(p)
					time.Sleep(2 * time.Second)
				}
				restart(pods[1])
			},
		},
		"one is dead, and the others are restarted together": {
			serves: [3][]presence.HostName{{host}, both, both}, within: time.Second,
			does: func(_ *simNet, pods []*keeperPod) {
				kill(pods[0])
				pods[1].run.end(false)
				pods[2].run.end(false)
				pods[1].start()
				pods[2].start()
				waits(pods[1:]...)
				if err := pods[2].run.Forget("eu", "pod0"); err != nil {
					pods[2].t.Error(err)
				}
			},
		},
		"it begins to serve a host of one that had crashed before": {
			serves: [3][]presence.HostName{{host}, {other}, {third}}, within: time.Second,
			does: func(_ *simNet, pods []*keeperPod) {
				kill(pods[0])
				restart(pods[1])
				time.Sleep(10 * time.Second)
				pods[1].run.serve(host, other)
				waits(pods[1])
				pods[0].start()
				time.Sleep(2 * time.Second)
			},
		},
		"it has no memory, and one with the same hosts had crashed before": {
			serves: [3][]presence.HostName{{host}, {host}, {other}}, within: time.Second,
			does: func(_ *simNet, pods []*keeperPod) {
				kill(pods[0])
				pods[1].run.end(true)
				pods[1].disk.state = memory.State{}
				pods[1].start()
				waits(pods[1])
				pods[0].start()
				time.Sleep(2 * time.Second)
			},
		},
		"it starts with a host of one that had crashed before": {
			serves: [3][]presence.HostName{{host}, {other}, {third}}, within: time.Second,
			does: func(_ *simNet, pods []*keeperPod) {
				kill(pods[0])
				pods[1].serves = both
				restart(pods[1])
				waits(pods[1])
				pods[0].start()
				time.Sleep(2 * time.Second)
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net, pods := keepersOf(t, 1, "eu", "eu", "eu")
				for i, p := range pods {
					p.serves = tt.serves[i]
					p.start()
				}
				time.Sleep(5 * time.Second)
				change(pods, assignment.Receive)
				tt.does(net, pods)
				took := pods[1].whole(host, func() bool { return pods[1].run.Spread(t.Context(), host, nil).Complete })
				t.Logf("complete after %s", took)
				if took > tt.within {
					t.Errorf("it took %s, longer than %s", took, tt.within)
				}
			})
		})
	}
}
