package e2e

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// A pod that goes on after a pause of 20 s shows its watchers nobody who has left meanwhile, two
// seconds later.
func TestScenarioNoGhostsAfterAPause(t *testing.T) {
	const pause = 20 * time.Second
	scenario(t, func(t *testing.T) {
		pods := deploy(t, append(podNames(3, "eu-west"), podNames(2, "us-east")...), "grace 1s")
		s := newStage(t, pods)
		victim := pods[2]
		paused := time.Now()
		s.outlooks[victim].Begin(paused, victim.Pod, cluster.Silent)
		victim.signal(t, syscall.SIGSTOP)
		s.unheard(paused.Add(soonestGone), victim)
		var ghosts []string
		for _, m := range slices.Concat(s.on(pods[0]), s.on(pods[3])) {
			if m.view == nil && m.user != "" {
				ghosts = append(ghosts, m.user)
				m.leave()
			}
		}
		<-time.After(time.Until(paused.Add(pause)))
		resumed := time.Now()
		victim.signal(t, syscall.SIGCONT)
		s.heard(victim)
		ws.Poll(t, ws.Patience, func() error {
			_, err := victim.site.Ask("users", `{}`)
			return err
		})
		s.outlooks[victim].End(time.Now(), victim.Pod, cluster.Silent)
		ws.Poll(t, ws.Patience, func() error {
			for _, id := range ghosts {
				if _, left, _ := s.views[victim].Since(resumed, id); left == 0 {
					return fmt.Errorf("the watcher on %s sees %s", victim.Pod, id)
				}
			}
			return nil
		})
		var latest time.Time
		for _, id := range ghosts {
			if _, _, last := s.views[victim].Since(resumed, id); last.After(latest) {
				latest = last
			}
		}
		t.Logf("the last ghost was seen %s after the pause", latest.Sub(resumed).Round(time.Millisecond))
		if latest.Sub(resumed) > backAfter {
			t.Errorf("ghosts were seen for %s", latest.Sub(resumed).Round(time.Millisecond))
		}
		s.within(resumed, meetAgain)
		s.judge(resumed)
	})
}

// Without NATS, and while a pod is joining, an incomplete answer names every pod whose connections
// it lacks.
func TestScenarioMissingNamesAll(t *testing.T) {
	t.Parallel()
	t.Run("NATS is down", func(t *testing.T) {
		scenario(t, func(t *testing.T) {
			opts := server.Options{NoSystemAccount: true, Port: podPort(t)}
			first, second := opts, opts
			n := startNATS(t, &first)
			pods := deployOn(t, n, append(podNames(2, "eu-west"), podNames(2, "us-east")...), "grace 1s")
			pods.await(t)
			s := newStage(t, pods)
			down := time.Now()
			n.end()
			<-time.After(longCut)
			startNATS(t, &second)
			s.within(time.Now(), meetAgain)
			s.judge(down)
		})
	})
	t.Run("joining", func(t *testing.T) {
		scenario(t, func(t *testing.T) {
			pods := deploy(t, podNames(2, "eu-west", "us-east"), "grace 1s")
			s := newStage(t, pods)
			s.down(pods[1], syscall.SIGTERM)
			begin := time.Now()
			s.up(pods[1])
			s.within(time.Now(), meetAgain)
			s.judge(begin)
		})
	})
}
