package cluster

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestRestartWithinACut(t *testing.T) {
	for _, tt := range []struct {
		name   string
		killed bool
		down   time.Duration
	}{
		{"killed", true, 2 * time.Second},
		{"closed", false, 2 * time.Second},
		{"reloaded", false, 50 * time.Millisecond},
	} {
		play(t, tt.name, func(t *testing.T) {
			s := newScene(t, 3)
			s.cut(0)
			s.spend(2 * time.Second)
			s.endAll(tt.killed, []int{0})
			s.spend(tt.down)
			s.start(0)
			s.want(0, "dc0/pod1", "dc0/pod2") // also while it joins
			s.spend(20 * time.Second)
			s.want(0, "dc0/pod1", "dc0/pod2")
			s.want(1)
			s.mendAll()
			s.spend(3 * time.Second)
			s.wantAll(0)
		})
	}
	play(t, "without a memory it answers alone", func(t *testing.T) {
		s := newScene(t, 3)
		s.cut(0)
		s.kill(0)
		s.startWith(0, true, s.hosts...)
		s.spend(6 * time.Second)
		s.want(0)
	})
}

func TestPodsAreHeardOneAfterAnotherAfterACut(t *testing.T) {
	for _, tt := range []struct {
		name string
		dcs  []int
		cut  time.Duration
	}{
		{"a data center of three", []int{1, 3}, 20 * time.Second},
		{"a data center of two", []int{1, 2}, 20 * time.Second},
		{"in one data center", []int{4}, 20 * time.Second},
		{"after a short cut", []int{1, 3}, 4500 * time.Millisecond},
	} {
		play(t, tt.name, func(t *testing.T) {
			s := newScene(t, tt.dcs...)
			s.cut(0)
			s.spend(tt.cut)
			for i := range s.pods[1:] {
				s.mendPair(0, i+1)
				s.spend(700 * time.Millisecond)
			}
			s.spend(4 * time.Second)
			s.wantAll(0)
		})
	}
}

func TestTwoPodsDoNotHearEachOtherButOthersHearBoth(t *testing.T) {
	for _, tt := range []struct {
		name   string
		dcs    []int
		oneWay bool
	}{
		{"both ways", []int{5}, false},
		{"one way", []int{5}, true},
		{"over two data centers", []int{2, 3}, false},
		{"in a data center of three", []int{3}, false},
	} {
		play(t, tt.name, func(t *testing.T) {
			s := newScene(t, tt.dcs...)
			last := len(s.pods) - 1
			a, b := s.pods[0].run.String(), s.pods[last].run.String()
			s.bridge(0, last, tt.oneWay)
			for range 20 {
				s.spend(3 * time.Second)
				s.want(0, b)
				s.want(last, a)
				s.want(1)
			}
			s.mendAll()
			s.spend(3 * time.Second)
			s.wantAll(0)
		})
	}
	play(t, "from the start of one", func(t *testing.T) {
		s := newScene(t, 5)
		s.goodbye(0)
		s.spend(time.Second)
		s.bridge(0, 4, false)
		s.start(0)
		for range 5 {
			s.spend(5 * time.Second)
			s.want(0, "dc0/pod4")
			s.want(4, "dc0/pod0")
			s.want(1)
		}
	})
	play(t, "after one counted as crashed, and hears nobody", func(t *testing.T) {
		s := newScene(t, 5)
		s.cut(0)
		s.spend(10 * time.Second)
		s.want(1)
		s.act(func() {
			for i := 1; i < 5; i++ {
				s.cutPair(0, i, false, 2) // from pod 0 to the others
			}
			s.look()
		})
		s.spend(20 * time.Second)
		s.want(1, "dc0/pod0")
		s.mendAll()
		s.spend(3 * time.Second)
		s.wantAll(0)
	})
}

func TestHalvesAreNeverBothComplete(t *testing.T) {
	for _, tt := range []struct {
		name string
		dcs  []int
		side []int
	}{
		{"1|1", []int{2}, []int{0}},
		{"2|2", []int{4}, []int{0, 1}},
		{"3|3", []int{6}, []int{0, 1, 2}},
		{"1|1 over two data centers", []int{1, 1}, []int{0}},
		{"2|2 in each of two data centers", []int{4, 4}, []int{0, 1, 4, 5}},
	} {
		play(t, tt.name, func(t *testing.T) {
			s := newScene(t, tt.dcs...)
			s.cut(tt.side...)
			for range 6 {
				s.spend(5 * time.Second)
				for i := range s.pods {
					if a := s.query(s.pods[i].run, s.hosts[0], 0); a.truth.Complete {
						t.Errorf("it is complete: %v", a)
					}
				}
			}
			s.mendAll()
			s.spend(3 * time.Second)
			s.wantAll(0)
		})
	}
	// Each side has the majority of the other's data center.
	play(t, "1+2|2+1", func(t *testing.T) {
		s := newScene(t, 3, 3)
		for _, i := range []int{1, 2, 4, 5} { // only pods 0 and 3 serve the second host
			s.act(func() { s.pods[i].run.setHosts(s.hosts[:1]) })
		}
		s.spend(3 * time.Second)
		s.cut(0, 4, 5)
		s.wantNotBoth(s.hosts[1], 0, 3)
	})
	// Pods that have left before the cut start again, one on each side.
	play(t, "1+1|1+1", func(t *testing.T) {
		s := newScene(t, 4)
		s.goodbye(2, 3)
		s.spend(time.Second)
		s.cut(0, 2)
		s.spend(6 * time.Second)
		s.start(2)
		s.start(3)
		for range 10 {
			s.spend(2 * time.Second)
			a, b := s.query(s.pods[0].run, s.hosts[0], 0), s.query(s.pods[1].run, s.hosts[0], 0)
			if a.truth.Complete || b.truth.Complete {
				t.Fatalf("one is complete:\n%v\n%v", a, b)
			}
		}
	})
	// The same, and those that were there start again.
	play(t, "1+1|1+1, and all start again", func(t *testing.T) {
		s := newScene(t, 4)
		s.goodbye(2, 3)
		s.spend(time.Second)
		s.cut(0, 2)
		s.spend(6 * time.Second)
		s.start(2)
		s.start(3)
		s.spend(3 * time.Second)
		s.kill(0, 1)
		s.start(0)
		s.start(1)
		s.wantNotBoth(s.hosts[0], 0, 1)
	})
	// Pods say goodbye to the majority that took pod 4 for crashed, and start again on its side.
	play(t, "4|1, and 2|3 after two start again", func(t *testing.T) {
		s := newScene(t, 5)
		s.cut(4)
		s.spend(8 * time.Second)
		s.want(0)
		s.goodbye(2, 3)
		s.spend(time.Second)
		s.act(func() {
			for _, i := range []int{2, 3} {
				s.cutPair(i, 4, false, 0)
				s.cutPair(i, 0, true, 0)
				s.cutPair(i, 1, true, 0)
			}
			s.look()
		})
		s.start(2)
		s.start(3)
		s.wantNotBoth(s.hosts[0], 0, 4)
	})
	// Most pods come after the crash, and do not know of it.
	play(t, "3|2, and 5|4 with four new ones", func(t *testing.T) {
		s := newScene(t, 5)
		s.cut(3, 4)
		s.spend(8 * time.Second)
		s.want(0)
		s.act(func() {
			for range 4 {
				s.addPod(0)
			}
		})
		for i := 5; i < 9; i++ {
			s.act(func() {
				s.cutPair(i, 3, true, 0)
				s.cutPair(i, 4, true, 0)
			})
			s.start(i)
		}
		s.spend(3 * time.Second)
		s.want(0)
		s.mendAll()
		s.cut(5, 6, 7, 8)
		s.wantNotBoth(s.hosts[0], 0, 5)
	})
	// A pod of the majority goes to the other side of the next cut.
	for _, pods := range []int{5, 7} {
		for _, restart := range []bool{false, true} {
			play(t, fmt.Sprintf("%d, one goes over, starts again %v", pods, restart), func(t *testing.T) {
				s := newScene(t, pods)
				var minority []int
				for i := pods/2 + 1; i < pods; i++ {
					minority = append(minority, i)
				}
				s.cut(minority...)
				s.spend(10 * time.Second)
				s.want(0)
				s.act(func() {
					for i := range s.pods {
						if slices.Contains(minority, i) {
							s.cutPair(1, i, false, 0)
						} else {
							s.cutPair(1, i, true, 0)
						}
					}
					s.look()
				})
				if restart {
					s.spend(time.Second)
					s.kill(1)
					s.spend(time.Second)
					s.start(1)
				}
				for range 10 {
					s.spend(2 * time.Second)
					a, b, c := s.query(s.pods[0].run, s.hosts[0], 0), s.query(s.pods[pods-1].run, s.hosts[0], 0), s.query(s.pods[1].run, s.hosts[0], 0)
					if a.truth.Complete && (b.truth.Complete || c.truth.Complete) {
						t.Fatalf("both sides are complete:\n%v\n%v\n%v", a, b, c)
					}
				}
				s.mendAll()
				s.spend(3 * time.Second)
				s.wantAll(0)
			})
		}
	}
}
