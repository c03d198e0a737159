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
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// whole checks at each moment, until the pod has answered completely for a while, that it has the
// assignment of ada if it answers completely. It returns the time until the first complete answer.
func (p *keeperPod) whole(host presence.HostName, complete func() bool) time.Duration {
	p.t.Helper()
	const step, within = 100 * time.Microsecond, 20 * time.Second
	begin, first := time.Now(), time.Duration(-1)
	for time.Since(begin) < within {
		time.Sleep(step)
		is := complete()
		if mode := p.run.book.Mode(host, "ada", "sales"); is && mode != assignment.Receive {
			p.t.Errorf("%s answers completely after %s, and has the mode %v", p.name, time.Since(begin), mode)
			return -1
		}
		switch {
		case first < 0 && is:
			first = time.Since(begin)
		case first >= 0 && time.Since(begin) > first+2*time.Second:
			return first
		}
	}
	p.t.Errorf("%s did not answer completely for %s", p.name, within)
	return -1
}

// A pod that starts, or hears others again after a cut, answers completely only when it has the
// changes that were complete without it.
func TestPodIsCompleteOnlyWithWhatOthersCompleted(t *testing.T) {
	tests := map[string]struct {
		clocks [3]time.Duration // wall clocks of the pods
		away   func(net *simNet, pods []*keeperPod)
		back   func(net *simNet, pods []*keeperPod)
		// unaware is set if the pod does not miss the others. Its answers are incomplete because
		// they do not reply.
		unaware bool
	}{
		"it starts": {
			away: func(*simNet, []*keeperPod) {},
			back: func(_ *simNet, pods []*keeperPod) { pods[2].start() },
		},
		"it starts, and its clock is behind": {
			clocks: [3]time.Duration{2: -time.Hour},
			away:   func(*simNet, []*keeperPod) {},
			back:   func(_ *simNet, pods []*keeperPod) { pods[2].start() },
		},
		"it was cut off": {
			away: func(net *simNet, pods []*keeperPod) {
				pods[2].start()
				time.Sleep(10 * time.Second)
				cutApart(net, true, pods[:2], pods[2:])
			},
			back: func(net *simNet, pods []*keeperPod) { cutApart(net, false, pods[:2], pods[2:]) },
		},
		"it was cut off, and its clock is ahead": {
			clocks: [3]time.Duration{2: time.Hour},
			away: func(net *simNet, pods []*keeperPod) {
				pods[2].start()
				time.Sleep(10 * time.Second)
				cutApart(net, true, pods[:2], pods[2:])
			},
			back: func(net *simNet, pods []*keeperPod) { cutApart(net, false, pods[:2], pods[2:]) },
		},
		"it was not heard, and heard others": {
			unaware: true,
			away: func(net *simNet, pods []*keeperPod) {
				pods[2].start()
				time.Sleep(10 * time.Second)
				for _, p := range pods[:2] {
					net.setCut(2, p.index, true)
				}
				p := pods[2].run.port
				p.net.mu.Lock()
				defer p.net.mu.Unlock()
				p.net.drop = func(_, to *simPort, m message.Message) bool {
					_, records := m.(*message.Assignments)
					return to == p && records && net.cut[[2]int{2, 0}]
				}
			},
			back: func(net *simNet, pods []*keeperPod) {
				for _, p := range pods[:2] {
					net.setCut(2, p.index, false)
				}
			},
		},
		"it was stopped": {
			away: func(_ *simNet, pods []*keeperPod) {
				pods[2].start()
				time.Sleep(10 * time.Second)
				pods[2].run.port.pause()
			},
			back: func(_ *simNet, pods []*keeperPod) { pods[2].run.port.resume() },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(5) {
				synctest.Test(t, func(t *testing.T) {
					net, pods := keepersOf(t, seed, "eu", "eu", "eu")
					host := mustHost(t, "example.com")
					for i, p := range pods {
						p.clock = tt.clocks[i]
					}
					pods[0].start()
					pods[1].start()
					time.Sleep(5 * time.Second)
					tt.away(net, pods)
					for n := 0; !pods[0].run.change(host, assignment.Receive, "ada", "sales"); n++ {
						if n == 100 {
							t.Fatal("no complete change in 100")
						}
						time.Sleep(100 * time.Millisecond)
					}
					time.Sleep(2 * time.Second) // it knows that it is cut off
					tt.back(net, pods)
					took := pods[2].whole(host, func() bool {
						return (!tt.unaware || pods[2].run.hearsAll(host)) && pods[2].run.Spread(t.Context(), host, nil).Complete
					})
					t.Logf("complete after %s", took)
				})
			}
		})
	}
}

// Around the silence after which a pod counts as ended, the two sides of a cut do not agree on
// whether it was long enough.
func TestPodIsCompleteOnlyWithWhatOthersCompletedInAShortCut(t *testing.T) {
	missed := 0
	for length := 3500 * time.Millisecond; length < 7*time.Second; length += 100 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			net, pods := keepersOf(t, uint64(length), "eu", "eu", "eu")
			host := mustHost(t, "example.com")
			for _, p := range pods {
				p.start()
				time.Sleep(300 * time.Millisecond)
			}
			time.Sleep(5*time.Second + length/10)
			cutApart(net, true, pods[:2], pods[2:])
			heals := time.Now().Add(length)
			complete := false
			for time.Now().Before(heals) {
				complete = complete || pods[0].run.change(host, assignment.Receive, "ada", "sales")
				time.Sleep(10 * time.Millisecond)
			}
			cutApart(net, false, pods[:2], pods[2:])
			if complete {
				missed++
				pods[2].whole(host, func() bool { return pods[2].run.hearsAll(host) }) // it may not know that it was cut off
			}
		})
	}
	if missed == 0 {
		t.Error("no change was complete during a cut")
	}
	t.Logf("in %d cuts, a change was complete", missed)
}

// A pod that starts asks as few pods as possible: all for their sums, and one that is whole for its
// records.
func TestPodThatStartsChecksOnePodThatIsWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, host := new(lab), mustHost(t, "example.com")
		old := bookOf(t, 1)
		assignTo(t, old, host, "sales", "ada")
		n.start(t, "us", "web-1", with(old))
		for i := range uint64(3) {
			n.start(t, "us", fmt.Sprintf("web-%d", i+2), with(bookOf(t, i+2)))
		}
		time.Sleep(3 * time.Second)
		book := bookOf(t, 5)
		p := n.settled(t, "us", "web-5", with(book))
		if m := book.Mode(host, "ada", "sales"); m != assignment.Listen {
			t.Errorf("the pod is ready with the mode %v", m)
		}
		if checks := len(clustertest.SentOf[*message.AssignmentCheck](p.port)); checks != 1 {
			t.Errorf("%d checks, want 1", checks)
		}
		if totals := len(clustertest.SentOf[*message.AssignmentTotal](p.port)); totals > 24 { // requests, answers, and both again after it has changed
			t.Errorf("%d sums of a pod that has four others", totals)
		}
	})
}

// No pod waits for others to be whole for ever.
func TestPodsAreWholeInTheEnd(t *testing.T) {
	tests := map[string]struct {
		pods   int
		happen func(net *simNet, pods []*keeperPod)
		within time.Duration // after the start of all pods, and what happens
	}{
		"one alone":   {1, func(*simNet, []*keeperPod) {}, 1700 * time.Millisecond},
		"all at once": {4, func(*simNet, []*keeperPod) {}, 2600 * time.Millisecond},
		"all again at once, killed": {4, func(_ *simNet, pods []*keeperPod) {
			time.Sleep(5 * time.Second)
			for _, p := range pods {
				p.run.end(true)
			}
			for _, p := range pods {
				p.start()
			}
		}, 2600 * time.Millisecond},
		"two halves": {4, func(net *simNet, pods []*keeperPod) {
			time.Sleep(5 * time.Second)
			cutApart(net, true, pods[:2], pods[2:])
			time.Sleep(10 * time.Second)
			for i, p := range pods[1:3] { // each half has something that the other one lacks
				p.run.change(p.serves[0], assignment.Receive, fmt.Sprintf("user-%d", i), "sales")
			}
			cutApart(net, false, pods[:2], pods[2:])
		}, 1500 * time.Millisecond},
		"one that dies meanwhile": {3, func(_ *simNet, pods []*keeperPod) {
			time.Sleep(5 * time.Second)
			pods[2].run.end(true)
			pods[2].start()
			time.Sleep(50 * time.Millisecond)
			pods[1].run.end(true)
			time.Sleep(20 * time.Millisecond)
			pods[1].start()
		}, 4 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net, pods := keepersOf(t, 1, slices.Repeat([]string{"eu"}, tt.pods)...)
				for _, p := range pods {
					p.start()
				}
				tt.happen(net, pods)
				time.Sleep(tt.within)
				for _, p := range pods {
					if !p.run.hearsAll(p.serves[0]) {
						t.Errorf("%s does not answer completely after %s", p.name, tt.within)
					}
				}
			})
		})
	}
}

// A pod counts as crashed, and is back on the other side of the next cut, with the third pod of the
// data center. That one does not serve the host. Now the pod that was a majority with it counts as
// crashed, and its complete changes hold.
func TestCompleteChangeHoldsWhenTheMajorityMovesToTheOtherSide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, pods := keepersOf(t, 1, "eu", "eu", "eu")
		host := pods[0].serves[0]
		first, bridge, last := pods[:1], pods[1:2], pods[2:]
		bridge[0].serves = []presence.HostName{mustHost(t, "b.example.com")}
		for _, p := range pods {
			p.start()
		}
		time.Sleep(10 * time.Second)
		users := 0
		change := func() {
			if user := fmt.Sprintf("u%d", users); last[0].run.change(host, assignment.Receive, user, "sales") {
				users++
			}
		}
		cutApart(net, true, first, pods[1:])
		time.Sleep(6 * time.Second)
		change()
		before := users
		cutApart(net, true, bridge, last)
		cutApart(net, false, first, bridge)
		for range 200 {
			change()
			time.Sleep(10 * time.Millisecond)
		}
		if before != 1 || users != 1 {
			t.Errorf("%d changes are complete before the second cut, want 1, and %d in it, want none", before, users-before)
		}
		deadline := time.Now().Add(20 * time.Second)
		for !first[0].run.hearsAll(host) && time.Now().Before(deadline) {
			time.Sleep(10 * time.Millisecond)
		}
		if !first[0].run.hearsAll(host) {
			t.Fatal("the first pod does not answer completely, with the majority")
		}
		for n := range users {
			if m := first[0].run.book.Mode(host, fmt.Sprintf("u%d", n), "sales"); m != assignment.Receive {
				t.Errorf("it has the mode %v for u%d", m, n)
			}
		}
	})
}
