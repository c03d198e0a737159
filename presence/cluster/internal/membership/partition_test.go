package membership

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/sites"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

func runOf(p link.Peer, s message.Standing, seq uint64) message.Run {
	return message.Run{DataCenter: p.DC, Pod: p.Pod, Incarnation: p.Incarnation, Seq: seq, Standing: s}
}

// tell makes a pod describe a run to another one.
func tell(from *clustertest.Script, to *testPod, r message.Run) {
	from.Send(from.Link.Inbox(to.self), &message.Runs{Runs: []message.Run{r}})
	synctest.Wait()
}

// A pod that has heard more of a replaced run than this one says that it is missing.
func TestReplacedRunIsNotMissedAgain(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after func(later *clustertest.Script)
	}{
		{"while the later run is heard", func(*clustertest.Script) {}},
		{"after the later run has said goodbye", func(s *clustertest.Script) { s.Goodbye() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				a := settled(t, n, "x", "a")
				b, first := scripts(t, n, "x", "b")[0], scripts(t, n, "y", "p")[0]
				later := n.Script(t, "y", "p", 2)
				later.Beat()
				tt.after(later)
				tell(b, a, runOf(first.Peer(), message.Missed, 1000))
				a.wantMissing(t, "then")
				told := clustertest.SentOf[*message.Runs](a.port)
				if len(told) == 0 {
					t.Fatal("the other pod is told nothing")
				}
				runs := told[len(told)-1].Message.(*message.Runs).Runs
				if last := runs[len(runs)-1]; last.Incarnation != first.Peer().Incarnation || last.Standing != message.Ended {
					t.Errorf("the other pod is not told that the run has ended: %v", runs)
				}
			})
		})
	}
}

// Another pod says that the later run is missing, while this one still hears the earlier run.
func TestGoodbyeOfAMissingRunThatReplacedOneThatIsHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "x", "a")
		b, first := scripts(t, n, "x", "b")[0], scripts(t, n, "y", "p")[0]
		later := n.Script(t, "y", "p", 2)
		tell(b, a, runOf(later.Peer(), message.Heard, 1))
		a.wantMissing(t, "before the goodbye", "y/p")
		later.Goodbye()
		a.wantState(t, first.Peer(), "")
		a.wantMissing(t, "after it")
	})
}

// A run answers a probe late, when a later one has come and gone. It may have ended before that
// one.
func TestLateAnswerOfAReplacedRun(t *testing.T) {
	for _, heard := range []bool{false, true} {
		t.Run(fmt.Sprint("heard before the later one: ", heard), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				a := settled(t, n, "x", "a")
				first, later := n.Script(t, "y", "p", 1), n.Script(t, "y", "p", 2)
				if heard {
					first.Beat()
					later.Beat()
				}
				first.Die()
				first.Beat()
				sent := clustertest.SentOf[*message.Probe](a.port)
				probe := sent[len(sent)-1]
				if probe.Subject != a.link.Inbox(first.Peer()) {
					t.Fatalf("the first run is not probed: %+v", probe)
				}
				time.Sleep(400 * time.Millisecond)
				later.Beat()
				later.Goodbye()
				first.Send(a.link.Inbox(a.self), &message.Heartbeat{Nonce: probe.Message.(*message.Probe).Nonce})
				a.wantState(t, first.Peer(), "")
				time.Sleep(10 * time.Second)
				a.wantMissing(t, "in the end")
			})
		})
	}
}

// The earlier run of b did not hear this pod: it may have been one of a majority that took this pod
// for crashed, and that hears it now.
func TestSilenceCountsAnewWhenThereIsAMajorityAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "x", "a")
		b := scripts(t, n, "x", "b", "p")[0]
		b.Deafen()
		b.Live(8 * time.Second)
		a.wantMissing(t, "without a majority", "x/p")
		next := n.Script(t, "x", "b", 2)
		next.Live(4 * time.Second)
		a.wantMissing(t, "after 4 s with a majority", "x/p")
		next.Live(2 * time.Second)
		a.wantMissing(t, "after 6 s")
	})
}

// A pod has said that it misses a run, while this one heard it.
func TestPodThatMissesARunIsToldItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "x", "a")
		b, p := scripts(t, n, "x", "b")[0], scripts(t, n, "y", "p")[0]
		b.Hear()
		list := func() { b.BeatWith(message.Heartbeat{Heard: 1, Missed: 1}) }
		for range 5 {
			list()
			p.Beat()
			time.Sleep(time.Second)
		}
		wanted := len(clustertest.SentOf[*message.RunsWanted](a.port))
		list()
		p.Goodbye()
		for range 3 {
			time.Sleep(time.Second)
			list()
		}
		if got := len(clustertest.SentOf[*message.RunsWanted](a.port)); got != wanted+1 {
			t.Errorf("the list was requested %d times after the goodbye, want once", got-wanted)
		}
	})
}

// The message that a run has ended can be lost.
func TestPodThatMissesARunIsToldItsEndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "x", "a")
		b, p := scripts(t, n, "x", "b")[0], scripts(t, n, "y", "p")[0]
		p.Goodbye()
		for range 10 {
			b.BeatWith(message.Heartbeat{Heard: 1, Missed: 1})
			time.Sleep(time.Second)
		}
		if got := len(clustertest.SentOf[*message.RunsWanted](a.port)); got != 2 {
			t.Errorf("in 10 s, the same list was requested %d times, want 2", got)
		}
	})
}

// A pod that is missing here serves another host, as a pod says that hears it.
func TestHostsOfAMissingPodThatAnotherPodHears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "x", "a")
		b, p := scripts(t, n, "x", "b")[0], n.Script(t, "y", "p", 1)
		a.SetSites([]message.Site{clustertest.Site([]string{"new.com"})})
		old, now := sites.Announce([]message.Site{clustertest.Site([]string{"old.com"})}), sites.Announce([]message.Site{clustertest.Site([]string{"new.com"})})
		other := n.Script(t, "y", "other", 1)
		other.Serve(clustertest.Site([]string{"old.com"}))
		other.Beat()
		describe := func(standing message.Standing, seq, sum uint64) message.Run {
			r := runOf(p.Peer(), standing, seq)
			r.Sites = sum
			return r
		}
		for _, step := range []struct {
			run  message.Run
			host string
		}{
			{describe(message.Heard, 5, old.Sum), "old.com"},
			{describe(message.Heard, 6, now.Sum), "new.com"},
			{describe(message.Heard, 5, old.Sum), "new.com"},
			{describe(message.Missed, 7, old.Sum), "old.com"}, // the other pod has heard a later heartbeat
		} {
			tell(b, a, step.run)
			for _, host := range []string{"old.com", "new.com"} {
				if got := a.missing(t, host); (len(got) == 1) != (host == step.host) {
					t.Errorf("after heartbeat %d, missing for %s: %q", step.run.Seq, host, got)
				}
			}
		}
	})
}

// p serves another host while b hears it and a does not.
func TestMissingPodThatBeginsToServeAHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a, b, p := settled(t, n, "x", "a"), settled(t, n, "x", "b"), n.Script(t, "y", "p", 1)
		a.SetSites([]message.Site{clustertest.Site([]string{"old.com"})})
		b.change(func(now time.Time) { b.admitWithoutProbe(p.Peer(), now) })
		serve := func(host string, wait time.Duration) {
			list := []message.Site{clustertest.Site([]string{host})}
			b.Handle(p.Peer(), &message.Heartbeat{Seq: uint64(time.Now().UnixNano()), Sites: sites.Announce(list).Sum})
			time.Sleep(wait)
		}
		for range 5 {
			serve("old.com", time.Second)
		}
		if got := a.missing(t, "new.com"); len(got) > 0 {
			t.Fatalf("missing for another host: %q", got)
		}
		a.wantMissingFor(t, "old.com", "y/p")
		serve("new.com", 200*time.Millisecond)
		a.wantMissingFor(t, "new.com", "y/p")
	})
}

// What a pod tells of the hosts of another one can be lost: it is asked for again.
func TestRunsThatAreMissingAreAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "x", "a")
		b, p := scripts(t, n, "x", "b")[0], n.Script(t, "y", "p", 1)
		b.Hear(p.Peer())
		tell(b, a, runOf(p.Peer(), message.Heard, 1))
		for range 12 {
			b.BeatWith(message.Heartbeat{Heard: 1})
			time.Sleep(time.Second)
		}
		asked := 0
		for _, m := range clustertest.SentOf[*message.RunsWanted](a.port) {
			if ids := m.Message.(*message.RunsWanted).IDs; slices.Equal(ids, []uint64{p.Peer().ID()}) {
				asked++
			}
		}
		if asked < 2 {
			t.Errorf("in 12 s, asked %d times for the run that is missing", asked)
		}
	})
}

// A pod that starts again tells when its last run heard a pod.
func TestVerdictWaitsForWhatTheLastRunOfAPodHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "x", "a")
		s := scripts(t, n, "x", "b", "lost")
		b, lost := s[0], s[1]
		b.Hear(lost.Peer())
		for range 6 {
			b.BeatWith(message.Heartbeat{Heard: 1})
			time.Sleep(time.Second)
		}
		a.wantMissing(t, "while b hears it", "x/lost")
		again := n.Script(t, "x", "b", 2)
		again.Unlist()
		again.Beat()
		told := runOf(lost.Peer(), message.Missed, 1)
		told.Age = 500
		again.Send(again.Link.Inbox(a.self), &message.Runs{List: true, IDs: []uint64{again.Peer().ID(), a.selfID}, Runs: []message.Run{told}})
		again.Live(2 * time.Second)
		a.wantMissing(t, "2.5 s after the last run of b heard it", "x/lost")
		again.Live(time.Second)
		a.wantMissing(t, "3.5 s after")
	})
}

func TestEndThatAnotherPodTellsCoversItsHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "x", "a")
		b, p := scripts(t, n, "x", "b")[0], n.Script(t, "y", "p", 1)
		tell(b, a, runOf(p.Peer(), message.Missed, 1))
		tell(b, a, runOf(p.Peer(), message.Ended, ^uint64(0)))
		p.SetSeq(10) // recorded before its end
		p.Beat()
		time.Sleep(2 * time.Second)
		a.wantState(t, p.Peer(), "")
		a.wantMissing(t, "after a late heartbeat")
	})
}

// The pods of a data center are heard again one after another: the silence of the others counts
// from the first of them, whatever it counted as.
func TestSilenceCountsFromTheFirstPodThatIsHeardAgain(t *testing.T) {
	for _, tt := range []struct {
		name   string
		silent time.Duration // of all pods but one of the data center
		before []string      // missing before they are heard
	}{
		{"suspect", 4500 * time.Millisecond, nil},
		{"missing", 6 * time.Second, []string{"y/c", "y/d", "y/e"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				a := settled(t, n, "x", "a")
				ys := scripts(t, n, "y", "b", "c", "d", "e")
				ys[0].Live(tt.silent)
				a.wantMissing(t, "before", tt.before...)
				ys[1].Beat()
				ys[2].Beat()
				ys[0].Live(4*time.Second, ys[1], ys[2])
				a.wantMissing(t, "4 s after the first two are heard", "y/e")
				ys[0].Live(3*time.Second, ys[1], ys[2])
				a.wantMissing(t, "7 s after")
			})
		})
	}
}

// A pod that counted as crashed is heard again, and makes a majority.
func TestSilenceCountsAnewWhenACrashedPodIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "x", "a")
		ys := scripts(t, n, "y", "b", "c", "d")
		ys[1].Live(2500*time.Millisecond, ys[2])
		ys[1].Live(3 * time.Second)
		a.wantMissing(t, "when b has crashed")
		ys[1].Live(4 * time.Second)
		a.wantMissing(t, "when d is lost too", "y/d")
		ys[0].Live(4*time.Second, ys[1])
		a.wantMissing(t, "4 s after b is back", "y/d")
		ys[0].Live(2*time.Second, ys[1])
		a.wantMissing(t, "6 s after")
	})
}

func TestPodThatIsHeardAndDoesNotHearThisOneIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "x", "a")
		own := scripts(t, n, "x", "b", "c", "deaf", "dead")
		deaf, dead := own[2], own[3]
		deaf.Die()
		dead.Die()
		own[0].Live(7*time.Second, own[1])
		a.wantMissing(t, "when two of five have crashed")
		never := n.Script(t, "x", "never", 1)
		never.Die()
		for range 3 {
			deaf.Beat()
			dead.SetSeq(1) // recorded
			dead.Beat()
			never.Beat() // recorded, or of a pod that starts
			time.Sleep(time.Second)
			own[0].Live(0, own[1])
		}
		a.wantMissing(t, "while it is heard", "x/deaf")
		own[0].Live(3*time.Second, own[1])
		a.wantMissing(t, "4 s after its last heartbeat", "x/deaf")
		own[0].Live(2*time.Second, own[1])
		a.wantMissing(t, "when it has crashed again")
	})
}

// Pods of two data centers can take each other for crashed, but then both do not hear the majority
// of their own.
func TestMinorityNamesItsDataCenterForEveryHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "x", "a")
		own, others := scripts(t, n, "x", "b", "c"), scripts(t, n, "y", "d", "e", "f")
		for i, s := range own {
			s.Serve(clustertest.Site([]string{[]string{"b.com", "c.com"}[i]}))
			s.Beat()
		}
		synctest.Wait()
		others[0].Live(7*time.Second, others[1], own[1])
		a.wantMissing(t, "when one of three is lost, and one elsewhere")
		others[0].Live(7*time.Second, others[1])
		a.wantMissing(t, "when two of three are lost", "x/c")
		if got := a.Unreachable(testkit.MustHost(t, "example.com"), ScopePod); got != nil {
			t.Errorf("of this pod alone, %q are missing", got)
		}
	})
}

func TestPodThatWasAwayAtALossDoesNotCount(t *testing.T) {
	for _, tt := range []struct {
		name    string
		goodbye time.Duration // time of the goodbye, before or after the loss
		want    []string
	}{
		{"away at the loss", -3 * time.Second, []string{"x/lost"}},
		{"away before the first lost heartbeat", 0, []string{"x/lost"}},
		{"heard at the loss", 3 * time.Second, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				a := settled(t, n, "x", "a")
				s := scripts(t, n, "x", "lost", "p")
				lost, p := s[0], s[1]
				for at := -5 * time.Second; at < 7*time.Second; at += time.Second {
					if at < 0 {
						lost.Beat()
					}
					switch {
					case at == tt.goodbye:
						p.Goodbye()
					case at < tt.goodbye:
						p.Beat()
					}
					time.Sleep(time.Second)
				}
				a.wantMissing(t, "without the other pod", "x/lost")
				n.Script(t, "x", "p", 2).Live(7 * time.Second)
				a.wantMissing(t, "with a new run of it", tt.want...)
			})
		})
	}
}

// A pod does not count itself if its last run said goodbye: it came after the loss of those that it
// does not find.
func TestNextRunCountsItselfUnlessTheLastOneSaidGoodbye(t *testing.T) {
	for _, tt := range []struct {
		name   string
		killed bool
		want   []string
	}{{"killed", true, nil}, {"goodbye", false, []string{"x/lost"}}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				book := new(notebook)
				_, stop := remembering(t, n, book)
				s := scripts(t, n, "x", "lost", "b")
				time.Sleep(time.Second)
				synctest.Wait()
				st, err := book.Load()
				if err != nil {
					t.Fatal(err)
				}
				if stop(); !tt.killed {
					if st, err = book.Load(); err != nil {
						t.Fatal(err)
					}
				}
				a := joining(t, n, "x", "a")
				a.Restore(book, st)
				a.run(t)
				s[1].Live(7 * time.Second)
				a.wantMissing(t, "after 7 s", tt.want...)
			})
		})
	}
}

// Another pod has been missing since before the lost pods came: they count in their own majority.
func TestVerdictOnPodsThatCameAfterAnotherLoss(t *testing.T) {
	for _, tt := range []struct {
		name string
		came []string // of these, the first two are lost
		want []string
	}{
		{"two of four others", []string{"p", "q"}, []string{"x/old", "x/p", "x/q"}},
		{"two of six others", []string{"p", "q", "r", "s"}, []string{"x/old"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				a := settled(t, n, "x", "a")
				s := scripts(t, n, "x", "b", "old")
				bridge, old := s[0], s[1]
				bridge.Hear(old.Peer())
				bridge.Live(7 * time.Second)
				a.wantMissing(t, "while another pod hears it", "x/old")
				came := scripts(t, n, "x", tt.came...)
				bridge.Live(7*time.Second, came[2:]...)
				a.wantMissing(t, "7 s after the loss", tt.want...)
			})
		})
	}
}

// A pod that starts without a memory hears only a pod to which the other one is a suspect.
func TestSuspectsAreToldToAPodThatJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		settled(t, n, "x", "a")
		scripts(t, n, "y", "p")
		time.Sleep(3100 * time.Millisecond)
		b := joining(t, n, "x", "b")
		b.run(t)
		time.Sleep(1500 * time.Millisecond)
		b.wantMissing(t, "4.6 s after its last heartbeat", "y/p")
		if !b.Ready() {
			t.Error("it has not joined")
		}
	})
}

// A pod that is heard all the time starts again at the end of a one-way cut, and makes a majority.
func TestSilenceCountsFromTheTimeAtWhichAPodHearsThisOneAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "x", "a")
		s := scripts(t, n, "x", "b", "deaf", "lost", "gone")
		b, deaf := s[0], s[1]
		deaf.Deafen()
		b.Live(8*time.Second, deaf)
		a.wantMissing(t, "while two of five hear each other", "x/gone", "x/lost")
		again := n.Script(t, "x", "deaf", 2)
		b.Live(4*time.Second, again)
		a.wantMissing(t, "4 s after a third one hears this pod", "x/gone", "x/lost")
		b.Live(2*time.Second, again)
		a.wantMissing(t, "6 s after")
	})
}

// A missing pod starts again behind a one-way cut: it is heard, and does not hear this pod.
func TestMissingPodThatStartsAgainAndDoesNotHearThisOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "x", "a")
		s := scripts(t, n, "x", "b", "c", "p")
		b, c := s[0], s[1]
		again := n.Script(t, "x", "p", 2)
		again.Die()
		b.Live(2*time.Second, c)
		b.Live(6*time.Second, c, again)
		a.wantMissing(t, "8 s after the first run was heard", "x/p")
		b.Live(4*time.Second, c)
		a.wantMissing(t, "4 s after the second one was heard", "x/p")
		b.Live(2*time.Second, c)
		a.wantMissing(t, "6 s after")
	})
}

// The last run was killed, and came after the loss itself.
func TestNextRunCountsItselfOnlySinceTheFirstRunAfterAGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		book := new(notebook)
		_, stop := remembering(t, n, book)
		b := scripts(t, n, "x", "lost", "b")[1]
		time.Sleep(time.Second)
		stop()
		_, stop = remembering(t, n, book)
		b.Live(2 * time.Second)
		killed, err := book.Load()
		if err != nil {
			t.Fatal(err)
		}
		stop()
		a := joining(t, n, "x", "a")
		a.Restore(book, killed)
		a.run(t)
		b.Live(7 * time.Second)
		a.wantMissing(t, "after 7 s", "x/lost")
	})
}
