package membership

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/memory"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// missing waits for all goroutines, and returns the pods that are missing for the host, sorted.
func (p *testPod) missing(t *testing.T, host string) []string {
	t.Helper()
	synctest.Wait()
	names := p.Unreachable(testkit.MustHost(t, host), ScopeAll)
	slices.Sort(names)
	return names
}

func (p *testPod) wantMissing(t *testing.T, when string, want ...string) {
	t.Helper()
	if got := p.missing(t, "example.com"); !slices.Equal(got, want) {
		t.Errorf("%s: missing %q, want %q", when, got, want)
	}
}

func (p *testPod) wantMissingFor(t *testing.T, host string, want ...string) {
	t.Helper()
	if got := p.missing(t, host); !slices.Equal(got, want) {
		t.Errorf("missing for %s: %q, want %q", host, got, want)
	}
}

// scripts adds pods of a data center that are alive.
func scripts(t *testing.T, n *clustertest.Lab, dc string, names ...string) []*clustertest.Script {
	t.Helper()
	var list []*clustertest.Script
	for _, name := range names {
		s := n.Script(t, dc, name, 1)
		s.Beat()
		list = append(list, s)
	}
	return list
}

func TestVerdictNeedsAMajorityOfTheDataCenter(t *testing.T) {
	for _, tt := range []struct {
		name   string
		own    []string // other pods of the data center, alive until the loss
		lost   int      // number of these that fall silent
		others []string // pods of the other data center
		gone   int      // number of these that fall silent
		want   []string // still missing after 7 s
	}{
		{name: "one of two", own: []string{"b"}, lost: 1, want: []string{"x/b"}},
		{name: "one of three", own: []string{"b", "c"}, lost: 1},
		{name: "two of three", own: []string{"b", "c"}, lost: 2, want: []string{"x/b", "x/c"}},
		{name: "two of four", own: []string{"b", "c", "d"}, lost: 2, want: []string{"x/b", "x/c"}},
		{name: "two of five", own: []string{"b", "c", "d", "e"}, lost: 2},
		{name: "one of three elsewhere", others: []string{"b", "c", "d"}, gone: 1},
		{name: "a whole data center", own: []string{"b", "c", "d"}, others: []string{"e"}, gone: 1, want: []string{"y/e"}},
		{name: "a tie elsewhere", own: []string{"b", "c", "d"}, others: []string{"e", "f"}, gone: 1, want: []string{"y/e"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				a := settled(t, n, "x", "a")
				own, others := scripts(t, n, "x", tt.own...), scripts(t, n, "y", tt.others...)
				living := append(own[tt.lost:], others[tt.gone:]...)
				for range 8 {
					for _, s := range living {
						s.Beat()
					}
					time.Sleep(time.Second)
				}
				a.wantMissing(t, "after 8 s", tt.want...)
			})
		})
	}
}

func TestVerdictWaitsForThePodsThatStillHearIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "x", "a")
		s := scripts(t, n, "x", "b", "c", "d")
		silent, bridge := s[0], s[1]
		bridge.Hear(silent.Peer(), s[2].Peer())
		bridge.Live(time.Minute, s[2])
		a.wantMissing(t, "while another pod hears it", "x/b")
		bridge.Hear(s[2].Peer())
		bridge.BeatWith(message.Heartbeat{Heard: 1}) // its list is another one
		for range 3 {
			time.Sleep(time.Second)
			bridge.BeatWith(message.Heartbeat{Heard: 1})
			s[2].Beat()
		}
		a.wantMissing(t, "when nobody hears it")
	})
}

// A pod that hears the pods of both sides of one-way cuts makes no majority of the side that it
// does not hear.
func TestPodThatDoesNotHearThisOneMakesNoMajority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "x", "a")
		s := scripts(t, n, "x", "b", "c")
		s[0].Deafen()
		s[0].Live(10 * time.Second)
		a.wantMissing(t, "while b does not hear a", "x/c")
	})
}

func TestPodThatCameAfterALossDoesNotCount(t *testing.T) {
	for _, tt := range []struct {
		name    string
		newPods []string
		want    []string
	}{
		{"new names", []string{"d", "e", "f"}, []string{"x/b", "x/c"}},
		{"the name of a missing pod", []string{"b"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				a := settled(t, n, "x", "a")
				scripts(t, n, "x", "b", "c")
				time.Sleep(6 * time.Second)
				a.wantMissing(t, "after the loss", "x/b", "x/c")
				var fresh []*clustertest.Script
				for _, name := range tt.newPods {
					fresh = append(fresh, n.Script(t, "x", name, 2))
				}
				fresh[0].Live(8*time.Second, fresh[1:]...)
				a.wantMissing(t, "with new pods", tt.want...)
			})
		})
	}
}

// When a partition ends, its pods are heard one after another: none counts as crashed meanwhile.
func TestSilenceCountsAnewWhenAPartitionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "x", "a")
		ys := scripts(t, n, "y", "b", "c", "d")
		time.Sleep(time.Minute)
		a.wantMissing(t, "in the partition", "y/b", "y/c", "y/d")
		ys[0].Beat()
		ys[1].Beat()
		a.wantMissing(t, "when two of three are heard", "y/d")
		ys[0].Live(4*time.Second, ys[1])
		a.wantMissing(t, "4 s later", "y/d")
		ys[0].Live(2*time.Second, ys[1])
		a.wantMissing(t, "6 s later")
	})
}

func TestPodsTellWhomTheyMiss(t *testing.T) {
	peer := func(pod string, started int64) link.Peer {
		return link.Peer{DC: "y", Pod: pod, Incarnation: message.Incarnation{Started: started, Random: 1}}
	}
	for _, tt := range []struct {
		name string
		told []message.Run
		want []string
	}{
		{"a pod that it misses", []message.Run{runOf(peer("p", 1), message.Missed, 9)}, []string{"y/p"}},
		{"a pod that it hears", []message.Run{runOf(peer("p", 1), message.Heard, 9)}, []string{"y/p"}},
		{"a pod that has ended", []message.Run{runOf(peer("p", 1), message.Ended, 9)}, nil},
		{"a pod that this one hears", []message.Run{runOf(peer("heard", 1), message.Missed, 9)}, nil},
		{"this pod", []message.Run{runOf(link.Peer{DC: "x", Pod: "a"}, message.Missed, 9)}, nil},
		{"an end", []message.Run{runOf(peer("p", 1), message.Missed, 9), runOf(peer("p", 1), message.Ended, 9)}, nil},
		{
			"an end of which it has heard less",
			[]message.Run{runOf(peer("p", 1), message.Missed, 9), runOf(peer("p", 1), message.Ended, 8)},
			[]string{"y/p"},
		},
		{"the end of a later run", []message.Run{runOf(peer("p", 1), message.Missed, 9), runOf(peer("p", 2), message.Ended, 1)}, nil},
		{
			"the end of an earlier run",
			[]message.Run{runOf(peer("p", 2), message.Missed, 9), runOf(peer("p", 1), message.Ended, 99)},
			[]string{"y/p"},
		},
		{"that it is forgotten", []message.Run{runOf(peer("p", 1), message.Missed, 9), runOf(peer("p", 1), message.Forgotten, 1)}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				a := settled(t, n, "x", "a")
				b := scripts(t, n, "x", "b")[0]
				heard := n.Script(t, "y", "heard", 1)
				heard.Beat()
				for _, r := range tt.told {
					if r.Pod == "heard" {
						r.Incarnation = heard.Peer().Incarnation
					}
					tell(b, a, r)
				}
				a.wantMissing(t, "then", tt.want...)
			})
		})
	}
}

// The list of a pod has a number that this one does not know: it asks which run that is.
func TestUnknownRunOfAListIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a, b := settled(t, n, "x", "a"), settled(t, n, "x", "b")
		s := n.Script(t, "x", "s", 1)
		// a does not hear s, because it answers only b.
		b.change(func(now time.Time) { b.admitWithoutProbe(s.Peer(), now) })
		for range 6 {
			time.Sleep(time.Second)
			b.Handle(s.Peer(), &message.Heartbeat{Seq: uint64(time.Now().UnixNano())})
		}
		b.wantState(t, s.Peer(), "alive")
		a.wantMissing(t, "when b hears it", "x/s")
		time.Sleep(10 * time.Second)
		b.wantMissing(t, "in the end") // a and b have agreed that it has crashed
		a.wantMissing(t, "in the end")
	})
}

// admitWithoutProbe makes a pod known.
func (m *Members) admitWithoutProbe(p link.Peer, now time.Time) {
	m.probes = probes{p: probe{nonce: 1, at: now}}
	m.heartbeat(p, &message.Heartbeat{Seq: 1, Nonce: 1}, now)
	m.news = nil
}

// A pod misses a run that a later one has replaced, and hears neither: it then misses the later
// one.
func TestPodThatMissesAReplacedRunMissesTheLaterOne(t *testing.T) {
	for _, heard := range []bool{true, false} {
		t.Run(fmt.Sprint("the later run is heard by the other pod: ", heard), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				a := settled(t, n, "x", "a")
				b := scripts(t, n, "x", "b")[0]
				early := link.Peer{DC: "y", Pod: "p", Incarnation: message.Incarnation{Started: 1}}
				later := link.Peer{DC: "y", Pod: "p", Incarnation: message.Incarnation{Started: 2}}
				a.change(func(now time.Time) {
					if heard {
						a.admitWithoutProbe(later, now)
						return
					}
					a.addLost(&lostPod{Peer: later, heard: now, since: now})
				})
				b.Send(b.Link.Inbox(a.self), &message.Runs{Runs: []message.Run{{
					DataCenter: early.DC, Pod: early.Pod, Incarnation: early.Incarnation, Seq: 9, Standing: message.Missed,
				}}})
				synctest.Wait()
				sent := clustertest.SentOf[*message.Runs](a.port)
				if len(sent) == 0 {
					t.Fatal("no answer")
				}
				runs := sent[len(sent)-1].Message.(*message.Runs).Runs
				if len(runs) != 2 || runs[0].Incarnation != later.Incarnation || runs[0].Standing == message.Ended ||
					runs[1].Incarnation != early.Incarnation || runs[1].Standing != message.Ended {
					t.Errorf("answered with %+v", runs)
				}
			})
		})
	}
}

// A later run of a missing pod, of which another pod tells, counts in its data center as the
// earlier one.
func TestLaterRunOfAMissingPodCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := joining(t, n, "x", "a")
		var known []message.Run
		for _, pod := range []string{"p", "q"} {
			known = append(known, message.Run{DataCenter: "y", Pod: pod, Incarnation: message.Incarnation{Started: 1}, Standing: message.Heard})
		}
		a.Restore(new(notebook), memory.State{Runs: known})
		a.run(t)
		b, q := scripts(t, n, "x", "b")[0], n.Script(t, "y", "q", 2)
		q.Beat()
		time.Sleep(time.Second)
		b.Send(b.Link.Inbox(a.self), &message.Runs{Runs: []message.Run{{
			DataCenter: "y", Pod: "p", Incarnation: message.Incarnation{Started: 2}, Seq: 1, Standing: message.Missed,
		}}})
		q.Live(20*time.Second, b)
		a.wantMissing(t, "while one of two is heard", "y/p")
	})
}

func TestGoodbyeOfAPodThatStartsAgain(t *testing.T) {
	for _, tt := range []struct {
		name  string
		again bool
	}{{"and does", true}, {"and does not", false}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				a := settled(t, n, "x", "a")
				b := scripts(t, n, "x", "b")[0]
				a.wantMissing(t, "before")
				b.Send(b.Link.All(), &message.Goodbye{Back: true})
				a.wantState(t, b.Peer(), "unreachable")
				a.wantMissing(t, "at once", "x/b")
				time.Sleep(backSoon - time.Second)
				a.wantMissing(t, "a second before its time is over", "x/b")
				if tt.again {
					n.Script(t, "x", "b", 2).Beat()
					a.wantMissing(t, "when it is heard")
					return
				}
				time.Sleep(time.Second)
				a.wantMissing(t, "when its time is over")
			})
		})
	}
}

func TestForgetEndsAPodEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a, c := settled(t, n, "x", "a"), settled(t, n, "y", "c")
		b := scripts(t, n, "z", "b")[0]
		if err := a.Forget("z", "b"); !errors.Is(err, ErrPodHeard) {
			t.Errorf("a pod that is heard: %v", err)
		}
		if err := a.Forget("x", "a"); !errors.Is(err, ErrPodHeard) {
			t.Errorf("this pod: %v", err)
		}
		if err := a.Forget("z", "unknown"); !errors.Is(err, ErrPodUnknown) {
			t.Errorf("an unknown pod: %v", err)
		}
		time.Sleep(6 * time.Second)
		c.wantMissing(t, "before", "z/b")
		if err := a.Forget("z", "b"); err != nil {
			t.Error(err)
		}
		a.wantMissing(t, "then")
		c.wantMissing(t, "then")
		b.Beat()
		a.wantState(t, b.Peer(), "alive")
		c.wantState(t, b.Peer(), "alive")
	})
}

func TestAllPodsAreMissingWithoutABus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "x", "a")
		b := scripts(t, n, "x", "b")[0]
		a.SetConnected(false)
		a.wantMissing(t, "without a bus", "x/b")
		a.SetConnected(true)
		b.Beat()
		a.wantMissing(t, "with it")
	})
}

func TestPodHasJoinedWhenAllConfirmThatTheyHearIt(t *testing.T) {
	for _, tt := range []struct {
		name      string
		confirms  bool
		unknown   bool // its list has a run that it never describes
		synced    bool
		ready     time.Duration // it is not ready before, and it is after
		tolerance time.Duration
	}{
		{"all confirm", true, false, true, 1500 * time.Millisecond, 200 * time.Millisecond},
		{"one does not", false, false, true, 5 * time.Second, 0},
		{"one hears a run that is not known yet", true, true, true, 5 * time.Second, 0},
		{"its assignments are not in", true, false, false, 5 * time.Second, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				b := n.Script(t, "x", "b", 1)
				a := joining(t, n, "x", "a")
				a.SetSynced(func() bool { return tt.synced }, func(presence.HostName) bool { return true },
					func(presence.HostName) (bool, []link.Peer) { return false, nil })
				a.run(t)
				if !tt.confirms {
					b.Unlist()
				}
				if tt.unknown {
					b.Hear(link.Peer{DC: "x", Pod: "unknown"})
				}
				b.Beat()
				a.wantState(t, b.Peer(), "alive")
				time.Sleep(tt.ready - time.Millisecond)
				synctest.Wait()
				if a.Ready() {
					t.Errorf("ready before %v", tt.ready)
				}
				time.Sleep(tt.tolerance + 2*time.Millisecond)
				synctest.Wait()
				if !a.Ready() {
					t.Errorf("not ready %v later", tt.tolerance)
				}
			})
		})
	}
}

func TestSuspendedMachineListensAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := joining(t, n, "x", "a")
		var slept time.Duration
		a.timing.Slept = func() time.Duration { return slept }
		a.pulse.timing.Slept = a.timing.Slept
		a.run(t)
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		if !a.KnowsPods() {
			t.Fatal("not settled")
		}
		slept = time.Hour // as seen by the next step
		if a.KnowsPods() {
			t.Error("knows the pods right after it slept")
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if !a.KnowsPods() {
			t.Error("does not know the pods 3 s later")
		}
		a.wantLog(t, 1, "warn other pods were not heard for a while")
	})
}

// A run is not dead because a later one has ended, if it answers a probe after that: the clock of
// the pod went back, or two processes have its name.
func TestRunThatOutlivesALaterOneIsMissingWhenSilent(t *testing.T) {
	for _, heard := range []bool{false, true} {
		t.Run(fmt.Sprint("heard before the later one: ", heard), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				a := settled(t, n, "x", "a")
				p, later := n.Script(t, "y", "p", 1), n.Script(t, "y", "p", 2)
				if heard {
					p.Beat()
				}
				later.Beat()
				later.Goodbye()
				p.Beat()
				a.wantState(t, p.Peer(), "alive")
				time.Sleep(10 * time.Second)
				a.wantMissing(t, "when it is silent", "y/p")
			})
		})
	}
}

// Pods send their lists again and again. Only a run that was not missing before is logged, and none
// beyond the limit.
func TestRunsThatOthersMissAreLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "x", "a")
		b := scripts(t, n, "x", "b")[0]
		for range 2 {
			for first := 0; first < maxPods+message.MaxRuns; first += message.MaxRuns {
				var runs []message.Run
				for i := range message.MaxRuns {
					p := link.Peer{DC: "y", Pod: fmt.Sprint("p", first+i), Incarnation: message.Incarnation{Started: 1}}
					runs = append(runs, runOf(p, message.Missed, 1))
				}
				b.Send(b.Link.Inbox(a.self), &message.Runs{Runs: runs})
			}
		}
		synctest.Wait()
		a.wantLog(t, maxPods, "info pod is missing")
	})
}

// A pod hears no more runs than it can keep, so that longer lists are not kept.
func TestListsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "x", "a")
		b := scripts(t, n, "x", "b")[0]
		for _, length := range []int{maxPods + 1, message.MaxRunIDs} {
			list := &message.Runs{List: true, IDs: make([]uint64, length)}
			for i := range list.IDs {
				list.IDs[i] = uint64(length - i)
			}
			b.Send(b.Link.Inbox(a.self), list)
		}
		synctest.Wait()
		if got := len(a.pods[b.Peer()].view.list); got != maxPods+1 {
			t.Errorf("a list of %d runs is kept", got)
		}
		if got := a.link.Ignored().Oversized; got != 1 {
			t.Errorf("%d lists counted as oversized", got)
		}
	})
}
