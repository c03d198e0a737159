package cluster

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// scene is a simulation in which only what the test says happens. Each pod has connections, and
// each is asked all the time.
type scene struct {
	*sim
	kind int // of the last question
}

// newScene starts pods, the given number in each data center. They are numbered in this order.
func newScene(t *testing.T, dcs ...int) *scene {
	t.Helper()
	s := &scene{sim: newSim(t, 1)}
	s.scripted, s.plan.cuts = true, true
	s.plan.grace = 3 * time.Second
	s.rules = &presence.Rules{Classifier: simClassifier{}, Grace: s.plan.grace}
	for dc, n := range dcs {
		for range n {
			s.addPod(dc)
		}
	}
	for i := range s.pods {
		s.start(i)
	}
	t.Cleanup(func() {
		s.end()
		s.net.close()
	})
	s.spend(3 * time.Second)
	return s
}

// quiet returns a scene in which pods hear each other: answers are incomplete only with a reason,
// and nobody is seen to leave who does not.
func quiet(t *testing.T, dcs ...int) *scene {
	s := newScene(t, dcs...)
	s.plan.cuts = false
	return s
}

// act does something as the driver of the simulation.
func (s *scene) act(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

// start starts a pod with the memory of its last run, and connects clients to it.
func (s *scene) start(pod int) { s.startWith(pod, false, s.hosts...) }

func (s *scene) startWith(pod int, blank bool, hosts ...presence.HostName) {
	s.act(func() {
		p := s.pods[pod]
		s.bringUp(p, hosts, p.disk.failing(), blank)
		for _, user := range []string{"ann", p.name, ""} {
			s.visit(pod, user)
		}
	})
}

// visit connects a client to a pod. It watches the hall.
func (s *scene) visit(pod int, user string) *simClient {
	c := &simClient{sim: s.sim, id: len(s.clients), host: s.hosts[0], user: user, out: &simOutbox{}}
	s.clients = append(s.clients, c)
	s.connectTo(c, s.pods[pod].run, map[string]presence.Watch{"hall": presence.WatchList})
	return c
}

func (s *scene) kill(pods ...int)    { s.endAll(true, pods) }
func (s *scene) goodbye(pods ...int) { s.endAll(false, pods) }

func (s *scene) endAll(killed bool, pods []int) {
	s.act(func() {
		for _, pod := range pods {
			s.endPod(s.pods[pod], killed)
		}
	})
}

// cut cuts pods off from all others.
func (s *scene) cut(side ...int) {
	s.act(func() {
		for i := range s.pods {
			for _, j := range side {
				if !slices.Contains(side, i) {
					s.cutPair(i, j, true, 0)
				}
			}
		}
		s.look()
	})
}

// bridge cuts two pods off from each other, both ways or only the way from a to b.
func (s *scene) bridge(a, b int, oneWay bool) {
	s.act(func() {
		ways := 0
		if oneWay {
			ways = 2
		}
		s.cutPair(a, b, true, ways)
		s.look()
	})
}

func (s *scene) mendAll() { s.act(s.mend) }

func (s *scene) mendPair(a, b int) {
	s.act(func() {
		s.cutPair(a, b, false, 0)
		s.look()
	})
}

// spend lets time pass, and asks every pod about its host all the time. Each answer is judged.
func (s *scene) spend(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end) && !s.hasFailed(); {
		s.kind++
		for _, p := range s.pods {
			if p.run != nil && !p.run.paused {
				s.ask(p.run, s.hosts[s.kind/6%2], s.kind%6)
			}
		}
		s.pass(50 * time.Millisecond)
	}
	s.asking.Wait()
}

// want asks a pod about the first host, and compares which pods are missing. The answer is complete
// if none is.
func (s *scene) want(pod int, missing ...string) {
	s.t.Helper()
	a := s.query(s.pods[pod].run, s.hosts[0], 1)
	s.judge(a)
	if got := a.truth.Missing; !slices.Equal(missing, got) || a.truth.Complete != (len(missing) == 0) {
		s.t.Errorf("at %s: %v\n  want %v as missing", time.Now().Format("05.000"), a, missing)
	}
}

// wantWithin is like want, after at most d.
func (s *scene) wantWithin(d time.Duration, pod int, missing ...string) {
	s.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end) && !s.hasFailed(); s.spend(100 * time.Millisecond) {
		a := s.query(s.pods[pod].run, s.hosts[0], 1)
		if slices.Equal(missing, a.truth.Missing) && a.truth.Complete == (len(missing) == 0) {
			return
		}
	}
	s.want(pod, missing...)
}

// wantAll waits for complete answers of all pods.
func (s *scene) wantAll(within time.Duration) {
	s.t.Helper()
	for i, p := range s.pods {
		if p.run != nil {
			s.wantWithin(within, i)
		}
	}
}

// wantNotBoth checks for a while that not both pods, which are on two sides of a cut, answer
// completely.
func (s *scene) wantNotBoth(host presence.HostName, one, other int) {
	s.t.Helper()
	for range 10 {
		s.spend(2 * time.Second)
		a, b := s.query(s.pods[one].run, host, 0), s.query(s.pods[other].run, host, 0)
		if a.truth.Complete && b.truth.Complete {
			s.t.Fatalf("both are complete:\n%v\n%v", a, b)
		}
	}
}

// wantViews checks that all watchers see exactly who is there.
func (s *scene) wantViews() { s.act(s.settled) }

func play(t *testing.T, name string, do func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, do) })
}
