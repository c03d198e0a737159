package cluster

import (
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Users are away for 0.1 s while their pod restarts. The first questions to the new run, and what
// it says by itself, are lost, as if the pods did not know each other yet.
func TestQuestionBeforeTheAskedPodKnowsTheAsker(t *testing.T) {
	play(t, "rolling restart", func(t *testing.T) {
		s := quiet(t, 3)
		var deaf int
		var until time.Time
		s.net.mu.Lock()
		s.net.drop = func(from, to *simPort, m message.Message) bool {
			_, check := m.(*message.Check)
			_, delta := m.(*message.Delta)
			return (check && to.pod == deaf || delta && from.pod == deaf) && time.Now().Before(until)
		}
		s.net.mu.Unlock()
		for pod := range s.pods {
			s.goodbye(pod)
			s.spend(50 * time.Millisecond)
			s.net.mu.Lock()
			deaf, until = pod, time.Now().Add(1500*time.Millisecond)
			s.net.mu.Unlock()
			s.start(pod) // its users are back, and watchers elsewhere may not see one leave
			s.spend(6 * time.Second)
			s.wantViews()
			s.wantAll(0)
		}
	})
}

func TestPodThatHasJustStarted(t *testing.T) {
	play(t, "among others", func(t *testing.T) {
		s := quiet(t, 3, 1)
		s.addPod(0)
		s.start(4)
		if a := s.query(s.pods[4].run, s.hosts[0], 1); a.truth.Complete {
			t.Errorf("it is complete at once: %v", a)
		}
		if s.pods[4].run.cluster.Ready() {
			t.Error("it has joined at once")
		}
		s.spend(found)
		s.wantAll(0)
	})
	play(t, "when all start at once", func(t *testing.T) {
		s := quiet(t, 3, 2)
		s.kill(0, 1, 2, 3, 4)
		for i := range s.pods {
			s.start(i)
		}
		s.spend(found)
		s.wantAll(0)
	})
}

func TestStopOfTwentySeconds(t *testing.T) {
	for _, tt := range []struct {
		name string
		dcs  []int
	}{{"in a data center of three", []int{3}}, {"in a data center of two", []int{2}}} {
		play(t, tt.name, func(t *testing.T) {
			s := newScene(t, tt.dcs...)
			r := s.pods[0].run
			s.net.mu.Lock()
			s.net.drop = func(_, to *simPort, _ message.Message) bool { return to.paused != nil } // its buffers are full
			s.net.mu.Unlock()
			s.act(func() { s.stopProcess(r) })
			s.spend(10 * time.Second)
			s.act(func() { // somebody comes, somebody goes
				for _, c := range s.clients {
					if c.run == s.pods[1].run && c.user != "" {
						s.leave(c, "hall")
					}
				}
				s.visit(1, "eve")
			})
			s.spend(10 * time.Second)
			s.act(func() { s.resume(r) })
			s.spend(2 * time.Second)
			s.act(func() {
				for _, c := range s.clients {
					c.mu.Lock()
					if c.run == r && c.user != "" && !c.views["hall"].members["eve"] {
						s.fail("client %d does not see who came meanwhile", c.id)
					}
					c.mu.Unlock()
				}
			})
			s.spend(s.plan.grace) // a pod does not know who left on purpose meanwhile, and who was lost
			s.wantViews()
			s.wantAll(0)
		})
	}
}

func TestEverythingMissingIsNamed(t *testing.T) {
	play(t, "without a bus", func(t *testing.T) {
		s := newScene(t, 2)
		s.act(func() { s.unplug(s.pods[0].run) })
		for range 10 {
			s.want(0, "dc0/pod1")
			s.spend(time.Second)
			s.want(1, "dc0/pod0")
		}
		s.act(func() { s.plug(s.pods[0].run) })
		s.spend(3 * time.Second)
		s.wantAll(0)
	})
	play(t, "by a pod that joins", func(t *testing.T) {
		s := newScene(t, 2, 2)
		s.act(func() { s.unplug(s.pods[0].run) })
		s.spend(time.Second)
		s.goodbye(1)
		s.start(1)
		s.want(1, "dc0/pod0", "dc1/pod2", "dc1/pod3")
		s.spend(time.Second)
		s.want(1, "dc0/pod0")
		s.spend(10 * time.Second)
		s.want(1, "dc0/pod0")
	})
}

func TestClockThatWentBackOverARestart(t *testing.T) {
	for _, tt := range []struct {
		name   string
		killed bool
		by     time.Duration
	}{{"closed", false, -2 * time.Hour}, {"killed", true, -2 * time.Hour}, {"by less than it ran", false, -time.Second}} {
		play(t, tt.name, func(t *testing.T) {
			s := quiet(t, 3)
			for i := range s.pods {
				s.act(func() { s.pods[i].clock.jump(tt.by) })
				s.endAll(tt.killed, []int{i})
				s.spend(100 * time.Millisecond)
				s.start(i)
				s.spend(found)
				s.wantAll(0)
				for j, p := range s.pods {
					for _, r := range p.run.cluster.members.Report() {
						if r.Report.Conflict {
							t.Errorf("pod %d says that two processes are %s", j, r.Name())
						}
					}
				}
			}
		})
	}
}

func TestCrash(t *testing.T) {
	for _, tt := range []struct {
		name string
		dcs  []int
	}{{"in a data center of three", []int{3}}, {"of four", []int{4}}, {"of five", []int{5}}, {"of three elsewhere", []int{3, 1}}} {
		play(t, tt.name, func(t *testing.T) {
			s := quiet(t, tt.dcs...)
			s.kill(0)
			s.spend(crashes)
			s.wantAll(0)
		})
	}
	for _, tt := range []struct {
		name string
		then func(s *scene)
	}{
		{"in a data center of two, until it is back", func(s *scene) { s.start(0) }},
		{"in a data center of two, until it is replaced", func(s *scene) { s.startWith(0, true, s.hosts...) }},
		{"in a data center of two, until it is forgotten", func(s *scene) {
			if err := s.pods[2].run.cluster.Forget("dc0", "pod0"); err != nil {
				s.t.Error(err)
			}
		}},
	} {
		play(t, tt.name, func(t *testing.T) {
			s := quiet(t, 2, 1)
			s.kill(0)
			for range 6 {
				s.spend(10 * time.Second)
				s.want(1, "dc0/pod0")
				s.want(2, "dc0/pod0")
			}
			tt.then(s)
			s.spend(found)
			s.wantAll(0)
		})
	}
}
