package membership

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/memory"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/sites"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// notebook is a Memory in memory.
type notebook struct {
	mu    sync.Mutex
	state memory.State
	saves int
	err   error
}

func (b *notebook) Load() (memory.State, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state, nil
}

func (b *notebook) Save(s memory.State) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	all := make(map[uint64][]message.Site)
	for _, r := range s.Runs {
		if list, ok := b.state.Sites[r.Sites]; ok {
			all[r.Sites] = list
		}
	}
	maps.Copy(all, s.Sites)
	s.Sites = all
	b.state = s
	b.saves++
	return nil
}

// standings returns what the last state says of each pod.
func (b *notebook) standings() (list []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.state.Runs {
		list = append(list, r.Pod+" "+map[message.Standing]string{message.Heard: "heard", message.Missed: "missed", message.Ended: "ended"}[r.Standing])
	}
	slices.Sort(list)
	return list
}

func (b *notebook) wantStandings(t *testing.T, when string, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := b.standings(); !slices.Equal(got, want) {
		t.Errorf("%s: saved %q, want %q", when, got, want)
	}
}

// remembering starts the next run of the pod x/a with that memory.
func remembering(t *testing.T, n *clustertest.Lab, book *notebook) (a *testPod, stop func()) {
	t.Helper()
	a = joining(t, n, "x", "a")
	a.Restore(book, book.state)
	return a, a.run(t)
}

func TestPodsAreMissingUntilTheNextRunHearsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		book := new(notebook)
		_, stop := remembering(t, n, book)
		only := n.Script(t, "y", "only", 1)
		only.Serve(clustertest.Site([]string{"only.com"}))
		only.Beat()
		heard, ended, silent := n.Script(t, "y", "heard", 1), n.Script(t, "y", "ended", 1), n.Script(t, "z", "silent", 1)
		silent.Beat()
		ended.Beat()
		heard.Live(6*time.Second, only)
		ended.Goodbye()
		time.Sleep(time.Second)
		book.wantStandings(t, "while it runs", "a heard", "ended ended", "heard heard", "only heard", "silent missed")
		stop()
		last := book.state
		if last.Clock < uint64(time.Now().UnixMilli()) {
			t.Error("the clock of the last save is behind the present")
		}

		again, _ := remembering(t, n, book)
		again.wantMissing(t, "at the start", "y/heard", "z/silent")
		if got := again.missing(t, "only.com"); !slices.Equal(got, []string{"y/heard", "y/only", "z/silent"}) {
			t.Errorf("missing for only.com: %q", got)
		}
		heard.Beat()
		again.wantMissing(t, "when one is heard", "z/silent")
		if again.Clock() < last.Clock {
			t.Errorf("the clock went back from %d to %d", last.Clock, again.Clock())
		}
	})
}

// A pod that ended while this one did not run is known to another pod.
func TestAnotherPodKnowsTheEndOfAMissingPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		b := settled(t, n, "x", "b")
		s := n.Script(t, "y", "s", 1)
		s.Beat()
		s.Goodbye()
		b.wantState(t, s.Peer(), "")
		a := joining(t, n, "x", "a")
		a.Restore(new(notebook), memory.State{Started: 1, Runs: []message.Run{{
			DataCenter: "y", Pod: "s", Incarnation: s.Peer().Incarnation, Seq: 1, Standing: message.Heard,
		}}})
		a.run(t)
		time.Sleep(3 * time.Second)
		a.wantMissing(t, "after 3 s")
		b.wantMissing(t, "after 3 s")
	})
}

// The sites of a pod that serves the same as this one are saved, because the next run of this one
// can serve others.
func TestSitesOfAPodThatServesTheSameAreSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		book := new(notebook)
		a, stop := remembering(t, n, book)
		same := clustertest.Site([]string{"a.com"})
		a.SetSites([]message.Site{same})
		time.Sleep(time.Minute)
		b := n.Script(t, "y", "b", 1)
		b.Serve(same)
		b.Live(2 * time.Second)
		stop()
		again, _ := remembering(t, n, book)
		again.wantMissing(t, "for another host")
		if got := again.missing(t, "a.com"); !slices.Equal(got, []string{"y/b"}) {
			t.Errorf("missing %q", got)
		}
	})
}

// The memory is opened when the sites of other pods are known.
func TestSitesAreSavedWhenAPodRecalls(t *testing.T) {
	for _, own := range []string{"a.com", "b.com"} {
		t.Run("this pod serves "+own, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				book := new(notebook)
				a := settled(t, n, "x", "a")
				a.SetSites([]message.Site{clustertest.Site([]string{own})})
				b, c := n.Script(t, "y", "b", 1), n.Script(t, "y", "c", 1)
				b.Serve(clustertest.Site([]string{"b.com"}))
				c.Serve(clustertest.Site([]string{"b.com"}))
				b.Live(2*time.Second, c)
				a.Recall(book, memory.State{})
				go a.Remember(t.Context().Done())
				b.Live(2*time.Second, c)
				if sum := sites.Sum([]message.Site{clustertest.Site([]string{"b.com"})}); len(book.state.Sites[sum]) != 1 {
					t.Errorf("the sites of the other pods are not saved: %v", book.state.Sites)
				}
				if got := a.Serving(testkit.MustHost(t, "a.com"), ScopeAll, true); len(got) > 0 {
					t.Errorf("they count as serving another host: %v", got)
				}
			})
		})
	}
}

func TestFailedSaveIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		book := &notebook{err: errors.New("the disk is full")}
		a, _ := remembering(t, n, book)
		a.SetSites([]message.Site{clustertest.Site([]string{"a.com"})})
		b := n.Script(t, "x", "b", 1)
		b.Serve(clustertest.Site([]string{"a.com"}))
		b.Live(20 * time.Second)
		a.wantLog(t, 2, "error cannot save which pods this one knows", "the disk is full")
		book.mu.Lock()
		book.err = nil
		book.mu.Unlock()
		b.Live(2 * time.Second)
		book.wantStandings(t, "with room on the disk", "a heard", "b heard")
		if sum := sites.Sum([]message.Site{clustertest.Site([]string{"a.com"})}); len(book.state.Sites[sum]) != 1 {
			t.Errorf("the sites of b are not saved: %v", book.state.Sites)
		}
	})
}

func TestSavesAreFewWithoutChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		book := new(notebook)
		remembering(t, n, book)
		b := n.Script(t, "x", "b", 1)
		b.Live(5 * time.Second)
		before := book.saves
		b.Live(5 * time.Minute)
		if saves := book.saves - before; saves < 9 || saves > 11 {
			t.Errorf("%d saves in 5 minutes, want one in %v", saves, saveEvery)
		}
	})
}

func TestClockNeverGoesBack(t *testing.T) {
	var c clock
	now := time.Now()
	wall := time.UnixMilli(1_000_000)
	read := func(after time.Duration, want uint64) {
		t.Helper()
		if got := c.read(now.Add(after)); got != want {
			t.Errorf("after %v: %d, want %d", after, got, want)
		}
	}
	c.init(wall, now, 0)
	read(0, 1_000_000)
	read(time.Second, 1_001_000)
	c.advance(1_000_500, now.Add(time.Second)) // behind
	read(time.Second, 1_001_000)
	c.advance(9_000_000, now.Add(time.Second))
	read(2*time.Second, 9_001_000)
	c.advance(maxReading+1, now.Add(2*time.Second)) // nobody can be there
	read(2*time.Second, 9_001_000)
	c.advance(maxReading, now.Add(2*time.Second))
	read(time.Hour, maxReading)

	c.init(wall, now, 5_000_000) // the last run was ahead
	read(0, 5_000_000)
	c.init(time.UnixMilli(-1), now, 0)
	read(0, 0)
}

// Heartbeats and goodbyes carry the clock, so the clock of a pod that has ended counts too.
func TestClockOfOtherPodsCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "x", "a")
		b := scripts(t, n, "x", "b")[0]
		ahead := a.Clock() + 1_000_000
		b.BeatWith(message.Heartbeat{Clock: ahead})
		if got := a.Clock(); got < ahead {
			t.Errorf("%d, and a heartbeat had %d", got, ahead)
		}
		b.Send(b.Link.All(), &message.Goodbye{Clock: ahead + 1_000_000})
		synctest.Wait()
		if got := a.Clock(); got < ahead+1_000_000 {
			t.Errorf("%d, and a goodbye had %d", got, ahead+1_000_000)
		}
	})
}

// A bridge between two sides of a cut describes the same missing pods again and again.
func TestRepeatedDescriptionIsNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "x", "a")
		b, p := scripts(t, n, "x", "b")[0], n.Script(t, "y", "p", 1)
		for seq := range uint64(3) {
			tell(b, a, runOf(p.Peer(), message.Missed, seq))
		}
		a.wantMissing(t, "then", "y/p")
		a.wantLog(t, 1, "pod is missing", "another pod says so")
	})
}

// An outsider can publish a recorded goodbye as often as it likes.
func TestRepeatedGoodbyeIsNotSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		book := new(notebook)
		remembering(t, n, book)
		s := scripts(t, n, "x", "s")[0]
		s.Goodbye()
		time.Sleep(time.Second)
		synctest.Wait()
		before := book.saves
		for range 20 {
			s.Goodbye()
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if saves := book.saves - before; saves > 1 {
			t.Errorf("%d saves for 20 repeated goodbyes", saves)
		}
	})
}

// The sites of pods that are gone are not kept for a disk that stays full.
func TestSitesOfDeadPodsDoNotWaitForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		book := &notebook{err: errors.New("the disk is full")}
		a, _ := remembering(t, n, book)
		for i := range 5 {
			s := n.Script(t, "x", "s", int64(i+1))
			s.Serve(clustertest.Site([]string{fmt.Sprintf("host%d.com", i)}))
			s.Live(3 * time.Second)
			s.Goodbye()
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		a.mu.RLock()
		defer a.mu.RUnlock()
		if len(a.newSites) > 0 {
			t.Errorf("the sites of %d pods that have ended wait for the disk", len(a.newSites))
		}
	})
}

// A pod that counts as crashed is heard again, and this one ends before it is known whether the
// heartbeat is an old one.
func TestPodThatIsHeardAgainIsMissingForTheNextRun(t *testing.T) {
	for _, tt := range []struct {
		name  string
		seq   uint64 // of its heartbeat, if it is not a new one
		saved string
		want  []string
	}{
		{name: "a new heartbeat", saved: "missed", want: []string{"x/b", "x/c", "x/crashed"}},
		{name: "a recorded one", seq: 1, saved: "ended", want: []string{"x/b", "x/c"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				book := new(notebook)
				a, stop := remembering(t, n, book)
				s := scripts(t, n, "x", "b", "c", "crashed")
				crashed := s[2]
				crashed.Beat()
				crashed.Die()
				s[0].Live(7*time.Second, s[1])
				a.wantMissing(t, "when it has crashed")
				if tt.seq > 0 {
					crashed.SetSeq(tt.seq - 1)
				}
				crashed.Beat()
				time.Sleep(2 * saveDelay)
				book.wantStandings(t, "after the heartbeat", "a heard", "b heard", "c heard", "crashed "+tt.saved)
				stop()
				again, _ := remembering(t, n, book)
				again.wantMissing(t, "at the start of the next run", tt.want...)
				if tt.seq > 0 {
					return
				}
				s[0].Live(7*time.Second, s[1])
				again.wantMissing(t, "7 s later")
			})
		})
	}
}
