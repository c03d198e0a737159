package e2e

import (
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/model"
	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// stage is a deployment to which something happens. Each pod has tenants and a watcher, who come
// back when their connection ends, and is asked all the time.
//
// Answers are judged by what complete promises: a connection that is open from 100 ms before the
// request until the answer ends is in the answer, unless its pod is named as missing. An incomplete
// answer that lacks nothing may name no pod. Any pod may be named; a scenario says how long.
type stage struct {
	t        *testing.T
	pods     deployment
	history  *cluster.History
	outlooks map[*pod]*cluster.Outlook // by the pod that answers
	askers   map[*pod]*cluster.Asker
	tenants  []*tenant
	views    map[*pod]*cluster.View // of the watchers

	stop   chan struct{} // closed: tenants leave for good
	living sync.WaitGroup
}

// tenantsOfAPod is the number of users of each pod, besides an anonymous one and the watcher.
const tenantsOfAPod = 4

// newStage connects the tenants and begins to ask.
func newStage(t *testing.T, pods deployment) *stage {
	t.Helper()
	s := &stage{
		t: t, pods: pods, history: new(cluster.History), stop: make(chan struct{}),
		outlooks: make(map[*pod]*cluster.Outlook), askers: make(map[*pod]*cluster.Asker), views: make(map[*pod]*cluster.View),
	}
	t.Cleanup(sync.OnceFunc(func() {
		close(s.stop)
		s.living.Wait()
	}))
	for _, p := range pods {
		for i := range tenantsOfAPod {
			s.tenant(p, fmt.Sprintf("own-%s-%s-%d", p.DC, p.Name, i), nil)
		}
		s.tenant(p, "", nil)
		s.views[p] = new(cluster.View)
		s.tenant(p, watcherOf(p), s.views[p])
	}
	for _, m := range s.tenants {
		m.await(t)
	}
	ws.Poll(t, ws.Patience, func() error {
		for _, p := range pods {
			if n, err := s.views[p].Count(); err != nil || n != len(pods)*(tenantsOfAPod+1) {
				return fmt.Errorf("the watcher on %s sees %d users (%w)", p.Pod, n, err)
			}
		}
		return nil
	})
	begin := time.Now()
	for _, p := range pods {
		o := cluster.NewOutlook(pods.names())
		for _, other := range pods {
			o.Begin(begin, other.Pod, cluster.MayMiss, cluster.MayMissPart)
		}
		o.Begin(begin, p.Pod, cluster.MayNameNone)
		s.outlooks[p] = o
		k := &cluster.Asker{
			Pod: p.Pod, Site: p.site, History: s.history, Outlook: o, Pace: 40 * time.Millisecond, Margin: cluster.Kept,
		}
		s.askers[p] = k
		k.Start()
		t.Cleanup(func() { _ = k.Stop() })
	}
	s.awaitComplete(begin)
	return s
}

// down ends a pod by a signal. From just before, its connections count as closing.
func (s *stage) down(p *pod, how syscall.Signal) {
	s.t.Helper()
	s.outlooks[p].Begin(time.Now(), p.Pod, cluster.Silent)
	leaving(s.on(p))
	p.signal(s.t, how)
	p.await(s.t, ws.Patience)
}

// up starts a pod that is down. Until a second after another pod has heard it, nobody can know what
// it has.
func (s *stage) up(p *pod) {
	s.t.Helper()
	s.unheard(time.Now(), p)
	s.run(p)
	s.heard(p)
}

// run starts a pod, and returns when it answers.
func (s *stage) run(p *pod) {
	s.t.Helper()
	p.run(s.t)
	s.outlooks[p].End(time.Now(), p.Pod, cluster.Silent)
}

// unheard begins the one exception: what nobody can know who answers.
func (s *stage) unheard(at time.Time, p *pod) {
	for _, other := range s.pods {
		if other != p {
			s.outlooks[other].Begin(at, p.Pod, cluster.Unsure)
		}
	}
}

// heard ends the exception one second after another pod has heard the pod, or now if it has.
func (s *stage) heard(p *pod) {
	s.t.Helper()
	ws.Poll(s.t, ws.Patience, func() error {
		for _, other := range s.pods {
			if other != p && other.hears(p) {
				return nil
			}
		}
		return fmt.Errorf("no pod hears %s", p.Pod)
	})
	for _, other := range s.pods {
		if other != p {
			s.outlooks[other].End(time.Now().Add(time.Second), p.Pod, cluster.Unsure)
		}
	}
}

// hears reports whether the pod takes this run of another for alive.
func (p *pod) hears(other *pod) bool {
	own, err := other.cluster()
	if err != nil {
		return false
	}
	incarnation := ""
	for _, r := range own.Pods {
		if r.State == "self" {
			incarnation = r.Incarnation
		}
	}
	r, err := p.cluster()
	if err != nil {
		return false
	}
	for _, r := range r.Pods {
		if r.DataCenter == other.DC && r.Pod == other.Name {
			return r.State == "alive" && r.Incarnation == incarnation
		}
	}
	return false
}

// awaitComplete waits until each pod that runs has answered completely in every shape, asked after
// a time.
func (s *stage) awaitComplete(begin time.Time) {
	s.t.Helper()
	ws.Poll(s.t, ws.Patience, func() error {
		for _, p := range s.running() {
			if all, complete := s.askers[p].Since(begin); complete < len(model.Shapes) {
				return fmt.Errorf("%s has answered %d times, %d times completely", p.Pod, all, complete)
			}
		}
		return nil
	})
}

// within fails the test if the answers of each pod that runs are not complete again a time after
// the event.
func (s *stage) within(event time.Time, most time.Duration) {
	s.t.Helper()
	late := event.Add(most)
	s.awaitComplete(late)
	for _, p := range s.running() {
		if all, complete := s.askers[p].Since(late); all != complete {
			s.t.Errorf("%s after the event, %d of %d answers of %s are incomplete", most, all-complete, all, p.Pod)
		}
	}
}

// running returns the pods whose process has not ended.
func (s *stage) running() deployment {
	return slices.DeleteFunc(slices.Clone(s.pods), func(p *pod) bool {
		select {
		case <-p.ended:
			return true
		default:
			return false
		}
	})
}

// judge ends all questions. Every wrong answer is an error; times are given since an event.
func (s *stage) judge(event time.Time) {
	s.t.Helper()
	for _, p := range s.pods {
		k := s.askers[p]
		err := k.Stop()
		all, complete := k.Since(event)
		wrong := k.Wrong()
		s.t.Logf("%s gave %d answers since, %d of them complete, and %d wrong ones", p.Pod, all, complete, len(wrong))
		if len(wrong) > 0 {
			s.t.Errorf("%s: %d wrong answers, from %s to %s after the event:\n%.300v", p.Pod, len(wrong),
				wrong[0].Sub(event).Round(time.Millisecond), wrong[len(wrong)-1].Sub(event).Round(time.Millisecond), err)
		}
	}
}
