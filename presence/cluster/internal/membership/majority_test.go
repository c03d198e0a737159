package membership

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Two of five pods crash, then a third one is silent. It may be cut off, and hear the first two.
func TestPodThatCountsAsCrashedStillCountsInMajorities(t *testing.T) {
	for _, tt := range []struct {
		name    string
		crash   bool                           // the first two crash; otherwise they say goodbye
		happens func(t *testing.T, a *testPod) // before the third is lost
		again   bool                           // they start again then
		restart bool                           // this pod starts again then
		told    message.Standing               // what another pod tells of the first two, before this one finds that they crashed
		want    []string                       // missing in the end
	}{
		{name: "crashed", crash: true, want: []string{"x/d"}},
		{name: "goodbye"},
		{name: "crashed, as another pod says", crash: true, told: message.Ended, want: []string{"x/d"}},
		{name: "forgotten, as another pod says", crash: true, told: message.Forgotten},
		{name: "crashed, and this pod starts again", crash: true, restart: true, want: []string{"x/d"}},
		{name: "forgotten", crash: true, happens: forgetBoth},
		{name: "forgotten, and this pod starts again", crash: true, happens: forgetBoth, restart: true},
		{name: "crashed, and back", crash: true, again: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, book := new(clustertest.Lab), new(notebook)
				a, stop := remembering(t, n, book)
				s := scripts(t, n, "x", "b", "c", "d", "e")
				gone, d, e := s[:2], s[2], s[3]
				d.Live(2*time.Second, e, gone[0], gone[1])
				for _, p := range gone {
					if !tt.crash {
						p.Goodbye()
					}
				}
				d.Live(5500*time.Millisecond, e)
				for _, p := range gone {
					if tt.told != 0 {
						tell(e, a, runOf(p.Peer(), tt.told, 1000))
					}
				}
				d.Live(1500*time.Millisecond, e)
				a.wantMissing(t, "before the third is lost")
				if tt.happens != nil {
					tt.happens(t, a)
				}
				living := []*clustertest.Script{}
				if tt.again {
					for _, p := range gone {
						living = append(living, n.Script(t, "x", p.Peer().Pod, 2))
					}
				}
				if tt.restart {
					stop()
					a, _ = remembering(t, n, book)
					e.Live(0, d)
				}
				e.Live(8*time.Second, living...)
				a.wantMissing(t, "in the end", tt.want...)
			})
		})
	}
}

func forgetBoth(t *testing.T, a *testPod) {
	t.Helper()
	for _, pod := range []string{"b", "c"} {
		if err := a.Forget("x", pod); err != nil {
			t.Error(err)
		}
	}
}

// The verdict is forgotten on all pods.
func TestCrashedPodIsForgottenOnAllPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a, other := settled(t, n, "x", "a"), settled(t, n, "x", "other")
		crashed := scripts(t, n, "x", "crashed")[0]
		time.Sleep(7 * time.Second)
		host := testkit.MustHost(t, "example.com")
		a.SetSites([]message.Site{clustertest.Site([]string{"a.com"})})
		time.Sleep(time.Second)
		if got := other.Confirming(host); len(got) != 1 {
			t.Errorf("a pod has crashed, and changes need the confirmation of %v", got)
		}
		if got := a.CrashedNames(); !slices.Equal(got, []string{"x/crashed"}) {
			t.Errorf("an operator sees %q as crashed", got)
		}
		if err := a.Forget("x", "crashed"); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if got := other.Confirming(host); len(got) > 0 {
			t.Errorf("the pod is forgotten, and changes need the confirmation of %v", got)
		}
		if got := append(a.CrashedNames(), other.CrashedNames()...); len(got) > 0 {
			t.Errorf("an operator sees %q as crashed, which is forgotten", got)
		}
		if err := a.Forget("x", "crashed"); err == nil {
			t.Error("it can be forgotten twice")
		}
		crashed.Beat()
		a.wantState(t, crashed.Peer(), "alive")
	})
}

// A pod that starts again knows from its file which pods came after a loss, or were away then.
func TestNextRunKnowsWhichPodsWereThereAtALoss(t *testing.T) {
	for _, tt := range []struct {
		name string
		play func(t *testing.T, n *clustertest.Lab, lost, p *clustertest.Script) (last *clustertest.Script)
		want []string
	}{
		{"there", func(_ *testing.T, _ *clustertest.Lab, lost, p *clustertest.Script) *clustertest.Script {
			p.Live(2*time.Second, lost)
			p.Live(3 * time.Second)
			return p
		}, nil},
		{"came after it", func(_ *testing.T, _ *clustertest.Lab, lost, p *clustertest.Script) *clustertest.Script {
			lost.Live(2 * time.Second)
			time.Sleep(2 * time.Second)
			p.Live(time.Second)
			return p
		}, []string{"x/lost"}},
		{"away at it", func(t *testing.T, n *clustertest.Lab, lost, p *clustertest.Script) *clustertest.Script {
			p.Live(2*time.Second, lost)
			p.Goodbye()
			lost.Live(3 * time.Second)
			time.Sleep(3 * time.Second)
			again := n.Script(t, "x", "p", 2)
			again.Live(time.Second)
			return again
		}, []string{"x/lost"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, book := new(clustertest.Lab), new(notebook)
				_, stop := remembering(t, n, book)
				time.Sleep(2 * time.Second)
				p := tt.play(t, n, n.Script(t, "x", "lost", 1), n.Script(t, "x", "p", 1))
				synctest.Wait()
				killed := book.state
				stop()
				a := joining(t, n, "x", "a")
				a.Restore(book, killed)
				a.run(t)
				p.Live(7 * time.Second)
				a.wantMissing(t, "7 s after the start", tt.want...)
			})
		})
	}
}

// A pod says since when it has been there after a goodbye.
func TestTenureOfAPodWhoseGoodbyeWasNotHeard(t *testing.T) {
	now := time.Now()
	at := func(age int) time.Time {
		if age == 0 {
			return time.Time{}
		}
		return now.Add(-time.Duration(age) * time.Second)
	}
	for _, tt := range []struct {
		name              string
		since, left, back int    // ages in seconds as this pod knows them; 0 if not known
		told              uint64 // age in seconds
		want              int    // age from which on it counts throughout
	}{
		{name: "the goodbye was not heard", since: 100, told: 10, want: 10},
		{name: "since ever", told: 10, want: 10},
		{name: "it was heard", since: 100, left: 12, back: 9, told: 10, want: 100},
		{name: "an earlier one was heard", since: 100, left: 50, back: 40, told: 10, want: 10},
		{name: "it has never said goodbye", since: 100, want: 100},
		{name: "it came to this pod later", since: 5, told: 10, want: 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tenure{at(tt.since), at(tt.left), at(tt.back)}
			got.begin(message.Tenure{Since: 1000 * tt.told}, now)
			if want := at(tt.want); !got.since.Equal(want) {
				t.Errorf("it counts since %v, want %d s", now.Sub(got.since), tt.want)
			}
			if kept := tt.want == tt.since; kept && !got.left.Equal(at(tt.left)) {
				t.Error("it is no longer known when it was away")
			}
		})
	}
}

// A crashed pod is missing again, because it is heard and does not hear this one, or because
// another pod says so: it has never been away.
func TestCrashedPodThatIsMissingAgainCountsAtALoss(t *testing.T) {
	for _, told := range []bool{false, true} {
		t.Run(fmt.Sprint("another pod says so: ", told), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				a := settled(t, n, "x", "a")
				s := scripts(t, n, "x", "b", "c", "deaf", "d", "e")
				deaf := s[2]
				deaf.Die()
				s[0].Live(3500*time.Millisecond, s[1], s[3], s[4])
				s[0].Live(3*time.Second, s[1])
				a.wantMissing(t, "when one of six has crashed")
				for seq := range uint64(6) {
					if told {
						tell(s[0], a, runOf(deaf.Peer(), message.Missed, 1000+seq))
					} else {
						deaf.Beat()
					}
					s[0].Live(time.Second, s[1])
				}
				a.wantMissing(t, "when half are heard", "x/d", "x/deaf", "x/e")
			})
		})
	}
}

// This pod was stopped, so a goodbye came to it when another pod had already heard the next run.
func TestTenureOfAPodThatWasHeardBeforeItsGoodbyeArrived(t *testing.T) {
	now := time.Now()
	heard := now.Add(-time.Second)
	var c census
	c.add(tenure{since: now.Add(-time.Minute)}.resume(now, heard), true, 2*time.Second)
	c.settle()
	if !c.majority(heard) {
		t.Error("it does not count at the time at which it was heard")
	}
}

// Another pod says that a pod is missing of which this one has just taken the goodbye of an earlier
// run, because it was stopped. It may have been there at any loss.
func TestMissingPodCountsAtEveryLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "x", "a")
		s := scripts(t, n, "x", "b", "p", "lost")
		s[0].Live(time.Second, s[1])
		s[1].Goodbye()
		told := runOf(n.Script(t, "x", "p", 2).Peer(), message.Missed, 1)
		tell(s[0], a, told)
		s[0].Live(10 * time.Second)
		a.wantMissing(t, "when half are heard", "x/lost", "x/p")
	})
}
