package e2e

import (
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// Users of a pod that is restarted are away for a tenth of a second, and again when they come back
// to it: as long as it starts, because it cannot know yet whether their tokens are revoked. In the
// eyes of the watchers nobody has left.
func TestScenarioNobodyLeavesInARollingRestart(t *testing.T) {
	const grace, long = 3 * time.Second, 2500 * time.Millisecond
	scenario(t, func(t *testing.T) {
		pods := deploy(t, podNames(3, "eu-west"), "grace "+grace.String())
		s := newStage(t, pods)
		for _, m := range s.tenants {
			m.pause = 100 * time.Millisecond
		}
		begin := time.Now()
		for i, p := range pods {
			guests := slices.DeleteFunc(s.on(p), func(m *tenant) bool { return m.view != nil })
			// When their connections end, they go to the pod that was restarted last, and to the
			// next.
			hosts := []*pod{pods[(i+len(pods)-1)%len(pods)], pods[(i+1)%len(pods)]}
			for n, m := range guests {
				m.mu.Lock()
				m.at = hosts[n%2]
				m.mu.Unlock()
			}
			leaving(guests)
			s.down(p, syscall.SIGTERM)
			s.unheard(time.Now(), p)
			s.run(p)
			var moving sync.WaitGroup
			for _, m := range guests {
				moving.Go(func() { m.move(p) })
			}
			moving.Wait()
			s.heard(p)
			for _, m := range s.on(p) {
				m.await(t)
			}
			ws.Poll(t, ws.Patience, p.ready)
		}
		s.within(time.Now(), meetAgain) // longer than the grace period
		late := 0
		for _, m := range s.tenants {
			if s.longAway(m.user, long) {
				late++
			}
		}
		if late > len(pods) {
			t.Errorf("%d users were away for %s, which shows nothing", late, long)
		}
		wrong := 0
		for _, p := range pods {
			events, err := s.views[p].Events()
			if err != nil {
				t.Error(err)
			}
			for _, e := range events {
				if e.User != "" && !e.Joined && e.At.After(begin) && !strings.HasPrefix(e.User, "watcher-") && !s.longAway(e.User, long) {
					wrong++
					t.Errorf("the watcher on %s saw %s leave after %s", p.Pod, e.User, e.At.Sub(begin).Round(time.Millisecond))
				}
			}
		}
		t.Logf("%d false leaves in %d restarts", wrong, len(pods))
		s.judge(begin)
	})
}

// longAway reports whether the user was ever away for long.
func (s *stage) longAway(user string, long time.Duration) bool {
	return slices.ContainsFunc(s.tenants, func(m *tenant) bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.user == user && slices.ContainsFunc(m.aways, func(a away) bool { return a.to.Sub(a.from) > long })
	})
}

// A pod whose clock was set back by two hours before it starts again is the later run.
func TestScenarioClockGoesBack(t *testing.T) {
	const back = -2 * time.Hour
	scenario(t, func(t *testing.T) {
		pods := deploy(t, podNames(3, "eu-west"), "grace 1s")
		s := newStage(t, pods)
		victim := pods[2]
		begin := time.Now()
		s.down(victim, syscall.SIGKILL)
		victim.setup.clock = back
		s.up(victim)
		if off := time.Until(victim.now(t)); off > back+time.Minute || off < back-time.Minute {
			t.Fatalf("the clock of %s is off by %s", victim.Pod, off)
		}
		s.within(time.Now(), meetAgain)
		s.judge(begin)
		for _, p := range pods {
			r, err := p.cluster()
			if err != nil {
				t.Fatal(err)
			}
			for _, other := range r.Pods {
				if other.Conflict {
					t.Errorf("%s says that two processes have the name %s", p.Pod, other.Pod)
				}
			}
			if strings.Contains(p.log.String(), "two processes have the name") {
				t.Errorf("%s logs that two processes have one name", p.Pod)
			}
		}
	})
}
