package presence

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// whole returns a delta that has the whole part: users, written as in parseUser, and connections.
func whole(clock uint64, conns int, users ...string) Delta {
	d := Delta{Clock: clock, Conns: conns}
	for _, user := range users {
		d.Joined = append(d.Joined, Member{User: *parseUser(user), Seen: int64(clock)})
	}
	return d
}

// after returns d as a delta that follows another.
func (d Delta) after(base uint64, left ...string) Delta {
	d.Base = base
	for _, id := range left {
		name, lost := strings.CutSuffix(id, "?")
		d.Left = append(d.Left, Departure{name, lost})
	}
	return d
}

// merge merges a pod's delta for the room and checks the result.
func (w *world) merge(pod string, d Delta, want MergeResult) {
	w.t.Helper()
	if got := w.reg.Pods().MergeDelta(w.name, "room", pod, d); got != want {
		w.t.Errorf("merge of %s of %s ends with %d, want %d", deltaText(d), pod, got, want)
	}
}

// watching returns a world with a relay and a watcher w of the room, whose join was answered.
func watching(t testing.TB, rules *Rules) (*world, *client, *notes) {
	t.Helper()
	w, relay := newRelayed(t, rules)
	watcher := w.connect("w")
	watcher.join("room", WatchList)
	w.reg.Pods().Ready(w.name, "room")
	if got := watcher.heard(); len(got) != 1 {
		t.Fatalf("the watcher heard %q", got)
	}
	relay.lines = nil
	return w, watcher, relay
}

func TestMergeIsSeenByWatchers(t *testing.T) {
	tests := []struct {
		name string
		do   func(w *world)
		want []string
	}{
		{"a user elsewhere", func(w *world) { w.merge("p", whole(5, 1, "a<a@x>"), Merged) }, []string{"+a<a@x>"}},
		{"a user who is here too", func(w *world) { w.merge("p", whole(5, 1, "w"), Merged) }, nil},
		{"an empty part", func(w *world) { w.merge("p", whole(5, 0), Merged) }, nil},
		{"the same again", func(w *world) {
			w.merge("p", whole(5, 1, "a"), Merged)
			w.merge("p", whole(5, 1, "b"), Stale)
			w.merge("p", whole(4, 1, "b"), Stale)
			w.merge("p", whole(4, 1, "b").after(3), Stale)
		}, []string{"+a"}},
		{"one that follows", func(w *world) {
			w.merge("p", whole(5, 1, "a"), Merged)
			w.merge("p", whole(7, 1, "b").after(5, "a"), Merged)
		}, []string{"+a", "+b -a"}},
		{"one that does not", func(w *world) {
			w.merge("p", whole(5, 1, "a"), Merged)
			w.merge("p", whole(7, 1, "b").after(6, "a"), Gap)
			w.merge("q", whole(7, 1, "b").after(6), Gap)
		}, []string{"+a"}},
		{"the whole part again", func(w *world) {
			w.merge("p", whole(5, 2, "a", "b"), Merged)
			w.merge("p", whole(9, 2, "b", "c"), Merged)
		}, []string{"+a +b", "+c -a"}},
		{"two pods", func(w *world) {
			w.merge("p", whole(5, 1, "a"), Merged)
			w.merge("q", whole(2, 1, "a"), Merged)
			w.merge("p", whole(6, 0).after(5, "a"), Merged)
			w.merge("q", whole(3, 0).after(2, "a"), Merged)
		}, []string{"+a", "-a"}},
		{"a pod is forgotten", func(w *world) {
			w.merge("p", whole(5, 2, "a", "w"), Merged)
			w.reg.Pods().Forget("q")
			w.reg.Pods().Forget("p")
			w.merge("p", whole(5, 1, "b"), Merged)
		}, []string{"+a", "-a", "+b"}},
		{"a pod of the last clock is forgotten", func(w *world) {
			w.merge("p", whole(1<<64-1, 2, "a", "w"), Merged)
			w.reg.Pods().Forget("p")
		}, []string{"+a", "-a"}},
		{"here, elsewhere, and here no longer", func(w *world) {
			c := w.connect("a<1@x>")
			c.join("room", WatchNone)
			w.merge("p", whole(5, 1, "a<2@x>"), Merged) // an old time
			c.leave("room")
			w.connect("a<3@x>")
			w.merge("p", whole(6, 0).after(5, "a"), Merged)
		}, []string{"+a<1@x>", "~a<2@x>", "-a<2@x>"}},
		{"an e-mail that was learned later", func(w *world) {
			d := whole(5, 1, "w<w@x>")
			d.Joined[0].Seen = time.Now().UnixMilli() + 1_000_000
			w.merge("p", d, Merged)
			w.merge("q", whole(5, 1, "w<old@x>"), Merged)
			w.connect("w<here@x>")
			w.merge("p", whole(6, 0).after(5, "w"), Merged)
		}, []string{"~w<w@x>", "~w<here@x>"}},
		{"two e-mails of one time", func(w *world) {
			w.merge("p", whole(5, 1, "a<1@x>"), Merged)
			w.merge("q", whole(5, 1, "a<2@x>"), Merged)
			w.merge("r", whole(5, 1, "a<1@x>"), Merged)
			w.merge("s", whole(6, 1, "a"), Merged)
		}, []string{"+a<1@x>", "~a<2@x>"}},
		{"another e-mail", func(w *world) {
			w.merge("p", whole(5, 1, "a<1@x>"), Merged)
			w.merge("p", whole(6, 1, "a<2@x>").after(5), Merged)
		}, []string{"+a<1@x>", "~a<2@x>"}},
		{"what makes no sense", func(w *world) {
			w.merge("p", Delta{Clock: 1, Conns: -5, Lost: -7}, Merged)
			w.merge("p", whole(2, 1<<40, "a", "a").after(1, "a", "stranger"), Merged)
			w.merge("p", whole(3, 0).after(2, "a", "a"), Merged)
			w.merge("p", Delta{Clock: 4, Base: 3, Lost: 1 << 40}, Merged)
		}, []string{"+a", "-a"}},
		{"a channel without watchers", func(w *world) {
			if got := w.reg.Pods().MergeDelta(w.name, "other", "p", whole(5, 1, "a")); got != Unwanted {
				t.Errorf("a channel that is not active: %d", got)
			}
			w.connect("b").join("other", WatchNone)
			if got := w.reg.Pods().MergeDelta(w.name, "other", "p", whole(5, 1, "a")); got != Unwanted {
				t.Errorf("a channel without watchers: %d", got)
			}
			if got := w.reg.Pods().MergeDelta(HostName{"other.example.com"}, "room", "p", whole(5, 1, "a")); got != Unwanted {
				t.Errorf("another host: %d", got)
			}
		}, nil},
		{"an anonymous channel becomes one of users", func(w *world) {
			w.host().SetRules(rulesOf(classes{"room": {Kind: Anonymous}}))
			w.merge("p", whole(5, 3, "a", "w"), Merged)
			w.merge("p", whole(6, 3, "b").after(5, "a"), Merged)
			w.host().SetRules(rulesOf(classes{}))
			w.host().SetRules(rulesOf(classes{"room": {Kind: Anonymous}}))
		}, []string{"kind=anonymous -w", "", "kind=authenticated +b +w", "kind=anonymous -b -w"}},
		{"relay removed", func(w *world) {
			w.merge("p", whole(5, 1, "a"), Merged)
			w.reg.Pods().SetRelay(nil)
			w.merge("p", whole(6, 1, "b"), Unwanted)
		}, []string{"+a", "-a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, watcher, _ := watching(t, &Rules{})
			tt.do(w)
			got := diffTexts(watcher)
			for i, line := range got {
				got[i] = strings.TrimPrefix(strings.TrimPrefix(line, "presence room"), " ")
			}
			wantLines(t, got, tt.want...)
			if l, _ := w.host().Channel("room", PerUser); len(l.Users)+l.Count != 1 {
				t.Errorf("listed: %+v, want what this pod has", l)
			}
			if s := w.host().Stats(); s.Users > 3 || s.Conns > 3 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

func TestMergeKeepsTheCallersList(t *testing.T) {
	w, _, _ := watching(t, &Rules{})
	w.merge("p", whole(5, 2, "a", "b"), Merged)
	left := make([]Departure, 1, 4)
	left[0] = Departure{ID: "a"}
	d := whole(6, 0)
	d.Left = left
	w.merge("p", d, Merged)
	if got := left[:2][1]; got != (Departure{}) {
		t.Errorf("%+v was written into it", got)
	}
}

func TestClockIsThatOfTheLastMerge(t *testing.T) {
	w, watcher, _ := watching(t, &Rules{})
	clock := func(want uint64) {
		t.Helper()
		if got := w.reg.Pods().Clock(w.name, "room", "p"); got != want {
			t.Errorf("clock %d, want %d", got, want)
		}
	}
	clock(0)
	w.merge("p", whole(5, 1, "a"), Merged)
	clock(5)
	w.merge("p", whole(6, 0).after(5, "a"), Merged)
	clock(0) // the part is empty
	w.merge("p", whole(7, 1).after(6), Merged)
	clock(7)
	w.reg.Pods().Forget("p")
	clock(0)
	w.merge("p", whole(5, 1, "a"), Merged)
	watcher.join("room", WatchNone)
	clock(0)
}

// A grace period across pods: users are lost, unless the delta says that they left.
func TestGraceOverPods(t *testing.T) {
	tests := []struct {
		name string
		do   func(w *world)
		want []string // frames within the grace period, after "a" was flushed on pod p
		last []string // frames after it
	}{
		{"lost", func(w *world) { w.merge("p", whole(6, 0).after(5, "a?"), Merged) }, nil, []string{"-a"}},
		{"left", func(w *world) { w.merge("p", whole(6, 0).after(5, "a"), Merged) }, []string{"-a"}, nil},
		{"not in everything", func(w *world) { w.merge("p", whole(6, 0), Merged) }, nil, []string{"-a"}},
		{"not in everything, which says that it left", func(w *world) { w.merge("p", whole(6, 0).after(0, "a"), Merged) }, []string{"-a"}, nil},
		{"not in everything, and then left", func(w *world) {
			w.merge("p", whole(6, 0), Merged)
			w.merge("p", whole(7, 0).after(6, "a"), Merged)
		}, []string{"-a"}, nil},
		{"lost, and lost once more", func(w *world) {
			w.merge("p", whole(6, 0), Merged)
			pass(time.Second)
			w.merge("p", whole(7, 0).after(6, "a?"), Merged)
		}, nil, []string{"-a"}},
		{"pod gone", func(w *world) { w.reg.Pods().Forget("p") }, nil, []string{"-a"}},
		{"pod gone and back", func(w *world) { w.reg.Pods().Forget("p"); w.merge("p", whole(5, 1, "a"), Merged) }, nil, nil},
		{"back on another pod", func(w *world) { w.reg.Pods().Forget("p"); w.merge("q", whole(5, 1, "a"), Merged) }, nil, nil},
		{"back on another pod, and left", func(w *world) {
			w.reg.Pods().Forget("p")
			w.merge("q", whole(5, 1, "a"), Merged)
			w.merge("q", whole(6, 0).after(5, "a"), Merged)
		}, []string{"-a"}, nil},
		{"back here", func(w *world) { w.reg.Pods().Forget("p"); w.connect("a").join("room", WatchNone) }, nil, nil},
		{"back here first", func(w *world) { w.connect("a").join("room", WatchNone); w.reg.Pods().Forget("p") }, nil, nil},
		{"lost here, then left there", func(w *world) {
			c := w.connect("a")
			c.join("room", WatchNone)
			c.Close()
			w.merge("p", whole(6, 0).after(5, "a"), Merged)
		}, []string{"-a"}, nil},
		{"relay removed", func(w *world) { w.reg.Pods().Forget("p"); w.reg.Pods().SetRelay(nil) }, nil, []string{"-a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, watcher, _ := watching(t, &Rules{Grace: testGrace})
				w.merge("p", whole(5, 1, "a"), Merged)
				forget(watcher)
				lines := func() []string {
					got := diffTexts(watcher)
					for i, line := range got {
						got[i] = strings.TrimPrefix(line, "presence room ")
					}
					return got
				}
				start := time.Now()
				tt.do(w)
				pass(testGrace - 1 - time.Since(start))
				wantLines(t, lines(), tt.want...)
				pass(1)
				wantLines(t, lines(), tt.last...)
			})
		})
	}
}

func TestGraceOfCountsOverPods(t *testing.T) {
	anonymous := rulesOf(classes{"room": {Kind: Anonymous}})
	anonymous.Grace = testGrace
	lost := func(d Delta, n int) Delta { d.Lost = n; return d }
	tests := []struct {
		name  string
		delta Delta // delta of p, which had 10 connections; this pod has one
		want  []int // counts within the grace period
		last  []int
	}{
		{"some lost", lost(whole(6, 7).after(5), 3), nil, []int{8}},
		{"some left", whole(6, 7).after(5), []int{8}, nil},
		{"some lost and some left", lost(whole(6, 5).after(5), 2), []int{8}, []int{6}},
		{"some lost and others came", lost(whole(6, 10).after(5), 3), nil, nil},
		{"some lost and more came", lost(whole(6, 12).after(5), 3), []int{13}, nil},
		{"more lost than there were", lost(whole(6, 0).after(5), 99), nil, []int{1}},
		{"everything, and less", whole(6, 7), nil, []int{8}},
		{"everything, and more", whole(6, 12), []int{13}, nil},
		{"everything, with some lost before", lost(whole(6, 10), 4), nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, watcher, _ := watching(t, anonymous)
				w.merge("p", whole(5, 10), Merged)
				watcher.hears("presence room seq=1 count=11")
				counts := func(seq int, counts []int) {
					t.Helper()
					var lines []string
					for i, n := range counts {
						lines = append(lines, fmt.Sprintf("presence room seq=%d count=%d", seq+i, n))
					}
					watcher.hears(lines...)
				}
				w.merge("p", tt.delta, Merged)
				pass(testGrace - 1)
				counts(2, tt.want)
				pass(1)
				counts(2+len(tt.want), tt.last)
			})
		})
	}
}
