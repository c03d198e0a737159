package e2e

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

const (
	deathGrace = time.Second
	// lateness is the time after the death of a pod by which answers are right and complete.
	lateness = 6 * time.Second
	// backAfter is the time by which the users of a resumed pod are in answers again.
	backAfter = 2 * time.Second
	// soonestGone is the minimum time until a silent pod counts as gone: 5 s after its last
	// heartbeat, which was up to a second before it fell silent. A tenth of a second is for a late
	// tick.
	soonestGone = 5*time.Second - time.Second - 100*time.Millisecond
	// someAnswers are enough to check a pod's answers in all shapes.
	someAnswers = 16
)

// startScene runs six pods in two data centers, and starts to ask and to load all except the
// victim.
func startScene(t *testing.T, grace time.Duration) (s *scene, victim *pod, others []*pod) {
	t.Helper()
	pods := deploy(t, podNames(3, "eu-west", "us-east"), "grace "+grace.String())
	victim, others = pods[2], slices.Delete(slices.Clone(pods), 2, 3)
	s = newScene(t, pods)
	s.awaitViews(pods, s.members())
	for _, p := range others {
		// Under the load, its own heartbeat can be late. Then it does not know which pods are
		// alive.
		s.outlook.Begin(time.Now(), p.Pod, cluster.MayNameNone)
		s.ask(p, s.outlook, 0)
	}
	s.startLoad(others)
	s.awaitAnswers(time.Now(), someAnswers)
	return s, victim, others
}

// TestKilledPodUnderLoad kills a pod. From the first answer on, each is right and complete, or
// names the pod as missing. After six seconds, all are complete. Its users leave once.
func TestKilledPodUnderLoad(t *testing.T) {
	s, victim, others := startScene(t, deathGrace)
	killed := time.Now()
	s.outlook.Begin(killed, victim.Pod, cluster.Unsure, cluster.MayMiss)
	s.outlook.End(killed.Add(lateness), victim.Pod, cluster.MayMiss)
	victim.signal(t, syscall.SIGKILL)
	victim.await(t, ws.Patience)
	s.outlook.Begin(time.Now(), victim.Pod, cluster.Absent)

	s.awaitLeaves(others, killed, alone(victim))
	s.awaitAnswers(killed.Add(lateness), someAnswers)
	s.stopLoading()
	s.stopAsking("killed", killed)
	s.awaitViews(others, s.members(victim))
	for _, p := range others {
		s.expectEvents(p, killed, deathGrace, alone(victim), 0, 1)
		s.expectEvents(p, killed, deathGrace, s.members(victim), 0, 0)
	}
}

// awaitLeaves waits until all watchers have seen all of the users leave.
func (s *scene) awaitLeaves(pods []*pod, begin time.Time, ids []string) {
	s.t.Helper()
	var latest time.Time
	ws.Poll(s.t, ws.Patience, func() error {
		for _, p := range pods {
			for _, id := range ids {
				_, left, last := s.views[p].Since(begin, id)
				if left == 0 {
					return fmt.Errorf("the watcher on %s did not see %s leave", p.Pod, id)
				}
				if last.After(latest) {
					latest = last
				}
			}
		}
		return nil
	})
	s.t.Logf("the last watcher saw the last user leave after %s", latest.Sub(begin).Round(10*time.Millisecond))
}

// TestPausedPodUnderLoad stops a pod for 20 seconds: the others answer as if it were dead. When it
// resumes, its users are in answers and join within two seconds, and it has not declared the others
// dead.
func TestPausedPodUnderLoad(t *testing.T) {
	t.Parallel()
	const pause = 20 * time.Second
	s, victim, others := startScene(t, deathGrace)
	paused := time.Now()
	s.outlook.Begin(paused, victim.Pod, cluster.Unsure, cluster.MayMiss)
	s.outlook.End(paused.Add(lateness), victim.Pod, cluster.MayMiss)
	victim.signal(t, syscall.SIGSTOP)
	s.outlook.Begin(time.Now(), victim.Pod, cluster.Absent, cluster.MustMiss)
	s.outlook.End(paused.Add(soonestGone), victim.Pod, cluster.MustMiss)

	s.awaitLeaves(others, paused, alone(victim))
	s.awaitAnswers(paused.Add(lateness), someAnswers)
	<-time.After(time.Until(paused.Add(pause)))
	resumed := time.Now()
	s.outlook.Begin(resumed, victim.Pod, cluster.MayMiss)
	s.outlook.End(resumed, victim.Pod, cluster.Absent)
	s.outlook.End(resumed.Add(backAfter), victim.Pod, cluster.Unsure, cluster.MayMiss)
	itself := cluster.NewOutlook(s.pods.names())
	// Its own answers are right at once, or incomplete until the others have confirmed that they
	// hear it, and name those that do not know yet that it is back.
	itself.Begin(resumed, victim.Pod, cluster.MayNameNone)
	itself.End(resumed.Add(backAfter), victim.Pod, cluster.MayNameNone)
	for _, p := range others {
		itself.Begin(resumed, p.Pod, cluster.MayMiss)
		itself.End(resumed.Add(backAfter), p.Pod, cluster.MayMiss)
	}
	victim.signal(t, syscall.SIGCONT)
	s.ask(victim, itself, 0)

	s.awaitAnswers(resumed.Add(backAfter), someAnswers)
	s.stopLoading()
	s.stopAsking("paused", paused)
	s.awaitViews(s.pods, s.members())
	for _, p := range others {
		s.expectEvents(p, paused, deathGrace, alone(victim), 1, 1)
		for _, id := range alone(victim) {
			if _, _, back := s.views[p].Since(resumed, id); back.After(resumed.Add(backAfter)) {
				t.Errorf("the watcher on %s saw %s join after %s", p.Pod, id, back.Sub(resumed))
			}
		}
		s.expectEvents(p, paused, deathGrace, s.members(victim), 0, 0)
	}
	s.expectEvents(victim, paused, deathGrace, s.members(), 0, 0)
}
