package assignment

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// Scopes of the pods in these tests.
const (
	scopeOfBoth  = 3
	scopeOfOther = 4
)

// truant is a pod that misses the removal of an assignment, and the pod that removes it. Both serve
// two hosts, and are in step at the begin.
type truant struct {
	t           *testing.T
	pod, remote *Book
	store       *fragile
	begin       time.Time
	fast        time.Duration // by how much the clock of the pod is ahead
	host, other presence.HostName
}

func newTruant(t *testing.T, fast time.Duration) *truant {
	t.Helper()
	s := &truant{
		t: t, store: new(fragile), begin: time.Now().Truncate(SweepEvery), fast: fast,
		host: mustHost(t, "left.example.com"), other: mustHost(t, "other.example.com"),
	}
	s.start(0)
	s.serve(true)
	s.pod.InStep(scopeOfBoth)
	s.remote = NewBook(2, nil)
	if err := s.remote.Attach(new(fragile)); err != nil {
		t.Fatal(err)
	}
	s.remote.SetScope(serving(s.host), 0)
	s.at(0)
	clock := s.pod.Time()
	s.remote.SetClock(func() uint64 { return clock }) // the pods have heard each other until now
	if err := merged(s.remote, assign(t, s.pod, s.host, wish(t, "bob", "sales"))); err != nil {
		t.Fatal(err)
	}
	return s
}

// at sets the clocks to a time after the begin.
func (s *truant) at(after time.Duration) {
	s.pod.now = clockAt(s.begin.Add(after + s.fast))
	if s.remote != nil {
		s.remote.now = clockAt(s.begin.Add(after))
	}
}

// start starts the pod with what is on its disk.
func (s *truant) start(after time.Duration) {
	s.t.Helper()
	s.pod = NewBook(1, nil)
	s.at(after)
	if err := s.pod.Attach(s.store); err != nil {
		s.t.Fatal(err)
	}
}

// late starts the pod, which can open its file only when it knows what it serves.
func (s *truant) late(after time.Duration, host bool) {
	s.t.Helper()
	s.pod = NewBook(1, nil)
	s.at(after)
	s.serve(host)
	if err := s.pod.Attach(s.store); err != nil {
		s.t.Fatal(err)
	}
}

// serve makes the pod serve the host, or cease to.
func (s *truant) serve(host bool) {
	if host {
		s.pod.SetScope(serving(s.host, s.other), scopeOfBoth)
		return
	}
	s.pod.SetScope(serving(s.other), scopeOfOther)
}

// removes makes the other pod remove the assignment.
func (s *truant) removes(after time.Duration) {
	s.t.Helper()
	s.at(after)
	remove(s.t, s.remote, s.host, wish(s.t, "bob", "sales"))
}

func (s *truant) sweep(after time.Duration) {
	s.t.Helper()
	s.at(after)
	for _, b := range []*Book{s.pod, s.remote} {
		if err := b.Sweep(); err != nil {
			s.t.Fatal(err)
		}
	}
}

// give makes the other pod have the records of the pod, and reports whether that restores the
// assignment.
func (s *truant) give() (restored bool) {
	s.t.Helper()
	if err := merged(s.remote, all(s.pod)); err != nil {
		s.t.Fatal(err)
	}
	return s.remote.Mode(s.host, "bob", "sales") != None
}

// A pod that has missed a removal, and no longer serves the host, does not offer the assignment
// when other pods have forgotten the removal.
func TestLeftHostIsNotOfferedForLongerThanItsRemovalsAreKnown(t *testing.T) {
	const day = 24 * time.Hour
	ways := map[string]func(s *truant, back time.Duration){
		"it was down": func(s *truant, back time.Duration) {
			s.pod.Detach()
			s.start(back)
		},
		"it crashed":     func(s *truant, back time.Duration) { s.start(back) },
		"it was cut off": func(s *truant, back time.Duration) { s.at(back) },
		"it was cut off, and down in between": func(s *truant, back time.Duration) {
			s.sweep(back / 2)
			s.start(back)
			s.serve(true)
		},
		"it served the host again for a moment": func(s *truant, back time.Duration) {
			s.start(back)
			s.serve(false)
			s.pod.InStep(scopeOfOther)
			s.serve(true)
			s.pod.InStep(scopeOfOther) // found before it did
		},
	}
	clocks := [][2]time.Duration{{}, {5 * time.Hour, 5 * time.Hour}, {-5 * time.Hour, -5 * time.Hour}, {5 * time.Hour, 0}, {0, -5 * time.Hour}}
	for name, way := range ways {
		for _, away := range []time.Duration{2 * time.Hour, 3 * day, 29 * day, 31 * day} {
			for _, fast := range clocks {
				t.Run(fmt.Sprintf("%s for %s, clock %s, then %s", name, away, fast[0], fast[1]), func(t *testing.T) {
					s := newTruant(t, fast[0])
					s.removes(time.Minute)
					s.fast = fast[1]
					way(s, away)
					s.serve(false)
					offered := false
					for after := away; after < away+32*day; after += 6 * SweepEvery {
						s.sweep(after)
						if len(s.pod.Offered(serving(s.host))) == 0 {
							continue
						}
						if offered = true; s.give() {
							t.Fatalf("the assignment is back after %s", after)
						}
					}
					if offered && away > 30*day || !offered && away < 28*day {
						t.Errorf("offered: %v", offered)
					}
					if n := recordsOf(s.pod, s.host); n != 0 {
						t.Errorf("%d records are kept", n)
					}
				})
			}
		}
	}
}

// A pod that serves such a host again has no assignments whose removals other pods have forgotten.
func TestLeftHostThatIsServedAgainRestoresNothing(t *testing.T) {
	const away = 3 * 24 * time.Hour
	for after := away; after < 36*24*time.Hour; after += 5 * SweepEvery {
		s := newTruant(t, 0)
		s.removes(time.Minute)
		s.start(away)
		s.serve(false)
		s.pod.InStep(scopeOfOther)
		s.sweep(after - SweepEvery)
		s.at(after)
		s.serve(true)
		if err := s.remote.Sweep(); err != nil {
			t.Fatal(err)
		}
		if s.give() {
			t.Fatalf("the assignment is back after %s", after)
		}
		if n := recordsOf(s.pod, s.host); (n == 0) != (after >= OutsideRetention) {
			t.Fatalf("%d records after %s", n, after)
		}
	}
}

// A pod that crashes soon after a host is back and in step keeps it, however long all pods are off.
func TestHostThatIsBackAndInStepIsKept(t *testing.T) {
	s := newTruant(t, 0)
	s.serve(false)
	s.at(24 * time.Hour)
	s.serve(true)
	s.pod.InStep(scopeOfBoth)
	s.start(60 * 24 * time.Hour)
	s.serve(true)
	s.sweep(60 * 24 * time.Hour)
	if recordsOf(s.pod, s.host) == 0 {
		t.Error("the assignments of a host that is served are gone")
	}
}

// A host that is served again is not dropped because the pod was not in step for 30 days since it
// had left, also not when the pod starts again. When it leaves once more, it has no more time than
// before.
func TestHostThatIsBackIsKeptOverARestart(t *testing.T) {
	const day = 24 * time.Hour
	for name, test := range map[string]struct {
		does func(s *truant)
		want int
	}{
		"served again": {func(s *truant) { s.serve(true) }, 1},
		"served again, and started again before": {func(s *truant) {
			s.serve(true)
			s.start(20 * day)
			s.serve(true)
			s.sweep(20 * day)
		}, 1},
		"served again, and in step later": {func(s *truant) {
			s.serve(true)
			s.sweep(40 * day)
			s.pod.InStep(scopeOfBoth)
		}, 1},
		"left again": {func(s *truant) { s.serve(true); s.at(10 * day); s.serve(false) }, 0},
		"left and served again": {func(s *truant) {
			s.serve(true)
			s.at(10 * day)
			s.serve(false)
			s.at(11 * day)
			s.serve(true)
		}, 1},
		"started without the host in between": {func(s *truant) {
			s.serve(true)
			s.start(20 * day)
			s.serve(false)
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTruant(t, 0)
			s.serve(false)
			s.at(9 * day)
			test.does(s)
			s.start(60 * day)
			s.serve(true)
			s.sweep(60 * day)
			if n := recordsOf(s.pod, s.host); n != test.want {
				t.Errorf("%d records, want %d", n, test.want)
			}
		})
	}
}

// A clock that was ahead when a host left keeps its records for 30 days from when that is noticed,
// at most.
func TestClockThatWasAheadWhenAHostLeftIsCorrected(t *testing.T) {
	const day = 24 * time.Hour
	for name, then := range map[string]func(s *truant){
		"running":       func(s *truant) { s.sweep(time.Hour) },
		"started again": func(s *truant) { s.sweep(time.Hour); s.start(2 * time.Hour); s.serve(false) },
		"started again after a time without room to delete": func(s *truant) {
			s.at(time.Hour)
			s.store.crowded = true
			if err := s.pod.Sweep(); !errors.Is(err, errFull) {
				t.Errorf("got %v", err)
			}
			s.store.crowded = false
			s.at(15 * day)
			s.pod.InStep(scopeOfOther)
			s.sweep(15 * day)
			s.start(20 * day)
			s.serve(false)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTruant(t, 0)
			s.at(9 * day)
			s.pod.InStep(scopeOfBoth)
			s.serve(false)
			then(s)
			want := time.Hour + OutsideRetention
			s.sweep(want - SweepEvery)
			if recordsOf(s.pod, s.host) != 1 {
				t.Error("it is dropped before")
			}
			s.sweep(want)
			if recordsOf(s.pod, s.host) != 0 {
				t.Error("it is not dropped after 30 days")
			}
		})
	}
}

// The time is that of the last time in step, and is counted anew when a host that is served again
// is in step again.
func TestTimeOfALeftHostIsTheLastOneInStep(t *testing.T) {
	const day = 24 * time.Hour
	steps := map[string]func(s *truant){
		"in step":       func(s *truant) { s.at(9 * day); s.pod.InStep(scopeOfBoth) },
		"not in step":   func(s *truant) { s.at(9 * day) },
		"another scope": func(s *truant) { s.at(9 * day); s.pod.InStep(scopeOfOther) },
		"down in step":  func(s *truant) { s.at(9 * day); s.pod.InStep(scopeOfBoth); s.pod.Detach(); s.start(20 * day) },
		"crashed after a sweep": func(s *truant) {
			s.at(9 * day)
			s.pod.InStep(scopeOfBoth)
			s.sweep(9*day + SweepEvery)
			s.start(20 * day)
		},
		"back, and in step": func(s *truant) {
			s.serve(false)
			s.at(9 * day)
			s.serve(true)
			s.pod.InStep(scopeOfBoth)
		},
		"back, in step, and started again": func(s *truant) {
			s.serve(false)
			s.at(9 * day)
			s.serve(true)
			s.pod.InStep(scopeOfBoth)
			s.sweep(9*day + SweepEvery)
			s.start(9*day + SweepEvery)
		},
		"back, and not in step": func(s *truant) { s.serve(false); s.at(9 * day); s.serve(true); s.sweep(9 * day) },
		"of a version before": func(s *truant) {
			for n, r := range s.store.records {
				if r.Kind == kindLeft {
					delete(s.store.records, n)
				}
			}
			s.start(9 * day)
			s.serve(true)
		},
		"the clock was years ahead": func(s *truant) {
			s.at(9000 * day)
			s.pod.InStep(scopeOfBoth)
			s.sweep(9000 * day)
			s.at(9 * day)
			s.pod.InStep(scopeOfBoth)
			s.sweep(9 * day)
			s.start(20 * day)
		},
		"the file is opened late": func(s *truant) { s.late(9*day, false) },
		"the file is opened late, and again": func(s *truant) {
			s.late(9*day, true)
			s.start(20 * day)
		},
		"the clock was years ahead until it ended": func(s *truant) {
			s.at(9000 * day)
			s.pod.InStep(scopeOfBoth)
			s.pod.Detach()
			s.start(9 * day)
		},
	}
	for name, want := range map[string]time.Duration{
		"in step": 9 * day, "not in step": 0, "another scope": 0, "down in step": 9 * day, "crashed after a sweep": 9 * day,
		"back, and in step": 9 * day, "back, in step, and started again": 9 * day, "back, and not in step": 0,
		"of a version before": 9 * day, "the clock was years ahead": 9 * day, "the clock was years ahead until it ended": 9 * day,
		"the file is opened late": 0, "the file is opened late, and again": 0,
	} {
		t.Run(name, func(t *testing.T) {
			s := newTruant(t, 0)
			steps[name](s)
			s.serve(false)
			for after := 21 * day; after < 60*day; after += SweepEvery {
				s.at(after)
				if err := s.pod.Sweep(); err != nil {
					t.Fatal(err)
				}
				if recordsOf(s.pod, s.host) > 0 {
					continue
				}
				if want += OutsideRetention; after != want {
					t.Errorf("dropped after %s, want %s", after, want)
				}
				return
			}
			t.Error("not dropped")
		})
	}
}

// A host that the pod serves is never dropped, however long the pod was not in step.
func TestServedHostIsNotDropped(t *testing.T) {
	const day = 24 * time.Hour
	s := newTruant(t, 0)
	check := func(when string) {
		t.Helper()
		if recordsOf(s.pod, s.host) != 1 {
			t.Fatalf("%s: it is dropped", when)
		}
	}
	for after := time.Duration(0); after < 40*day; after += day {
		s.sweep(after)
		check("not in step")
	}
	s.start(80 * day)
	s.serve(true)
	s.sweep(80 * day)
	check("after a restart")
	s.pod.InStep(scopeOfBoth)
	s.serve(false)
	s.serve(true)
	for after := 80 * day; after < 120*day; after += day {
		s.sweep(after)
		check("after it was served again")
	}
}
