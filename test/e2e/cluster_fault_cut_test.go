package e2e

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
)

// meetAgain is when all answers must be complete after a cut.
const meetAgain = 6 * time.Second

// crashKnown is when all answers must be complete after a pod of three has crashed.
const crashKnown = 7 * time.Second

// deafen drops all packets from one pod to another; other pods receive packets of both. TCP needs
// both directions, so the second pod receives nothing from then on, and the first pod nothing once
// one of them gives up the connection.
func (c *continents) deafen(t *testing.T, from, to cluster.Pod) {
	t.Helper()
	mustRun(t, "ip", "-n", c.machines[c.index(from)], "route", "add", "blackhole", machineAddress(c.index(to))+"/32")
}

func (c *continents) undeafen(t *testing.T, from, to cluster.Pod) {
	t.Helper()
	mustRun(t, "ip", "-n", c.machines[c.index(from)], "route", "del", "blackhole", machineAddress(c.index(to))+"/32")
}

// changed is the setup with another option in its cluster block.
func (s setup) changed() setup {
	s.globals = strings.Replace(s.globals, "cluster {", "cluster {\nquery_timeout 600ms 1600ms", 1)
	return s
}

// A pod that starts, or gets another cluster block, while it is cut off from another data center,
// knows that there is one.
func TestScenarioStartedWithinACut(t *testing.T) {
	scenario(t, func(t *testing.T) {
		c := newContinents(t, podNames(2, "eu-west", "us-east"))
		s := newStage(t, c.deployApart(t, "grace 1s"))
		started, reloaded := s.pods[0], s.pods[1]
		cut := time.Now()
		c.cutDC(t, "us-east")
		s.down(started, syscall.SIGTERM)
		s.up(started)
		reloaded.reconfigure(t, reloaded.setup.changed())
		<-time.After(time.Until(cut.Add(longCut)))
		for _, p := range []*pod{started, reloaded} {
			a := assignTo(t, p.site, "adduser", assignment("salesRoom", "USER_1"))
			if a.Status != http.StatusCreated || a.Header.Get("Rollcall-Complete") != "false" ||
				!strings.Contains(a.Header.Get("Rollcall-Missing"), "us-east/") {
				t.Errorf("adduser of %s: status %d, headers %v", p.Pod, a.Status, a.Header)
			}
		}
		healed := time.Now()
		c.mendDC(t, "us-east")
		s.within(healed, meetAgain)
		s.judge(cut)
	})
}

// When a cut between data centers ends, their pods hear each other one by one: by chance, or
// because links come back one by one. Until the last one, answers are incomplete.
func TestScenarioCutHeals(t *testing.T) {
	scenario(t, func(t *testing.T) {
		c := newContinents(t, append(podNames(2, "eu-west"), podNames(3, "us-east")...))
		s := newStage(t, c.deployApart(t, "grace 1s"))
		near, far := c.pods[:2], c.pods[2:]
		begin := time.Now()
		c.cutDC(t, "us-east")
		<-time.After(longCut)
		healed := time.Now()
		c.mendDC(t, "us-east")
		s.within(healed, meetAgain)
		t.Logf("the first cut healed %s after it began", healed.Sub(begin))

		between := func(other cluster.Pod, change func(t *testing.T, from, to cluster.Pod)) {
			for _, p := range near {
				change(t, p, other)
				change(t, other, p)
			}
		}
		for _, p := range far {
			between(p, c.deafen)
		}
		second := time.Now()
		<-time.After(longCut)
		for _, p := range far {
			t.Logf("%s is back %s after the first cut began", p, time.Since(begin))
			between(p, c.undeafen)
			<-time.After(time.Second)
		}
		s.within(time.Now(), meetAgain)
		t.Logf("the second cut began %s after the first", second.Sub(begin))
		s.judge(begin)
	})
}

// Two pairs of pods do not reach each other, one of them in one direction. The others hear all.
func TestScenarioTwoPodsDoNotReachEachOther(t *testing.T) {
	scenario(t, func(t *testing.T) {
		c := newContinents(t, append(podNames(3, "eu-west"), podNames(2, "us-east")...))
		s := newStage(t, c.deployApart(t, "grace 1s"))
		pairs := [][2]cluster.Pod{{c.pods[0], c.pods[3]}, {c.pods[3], c.pods[0]}, {c.pods[1], c.pods[4]}}
		apart := time.Now()
		for _, p := range pairs {
			c.deafen(t, p[0], p[1])
		}
		<-time.After(longCut + 2*time.Second)
		for _, p := range pairs {
			c.undeafen(t, p[0], p[1])
		}
		s.within(time.Now(), meetAgain)
		s.judge(apart)
	})
}

// The halves of a data center that is cut in two never answer completely, because neither can know
// whether the other has crashed.
func TestScenarioHalves(t *testing.T) {
	scenario(t, func(t *testing.T) {
		c := newContinents(t, podNames(4, "eu-west"))
		s := newStage(t, c.deployApart(t, "grace 1s"))
		each := func(change func(t *testing.T, from, to cluster.Pod)) {
			for _, p := range c.pods[:2] {
				for _, other := range c.pods[2:] {
					change(t, p, other)
					change(t, other, p)
				}
			}
		}
		cut := time.Now()
		each(c.deafen)
		<-time.After(longCut)
		each(c.undeafen)
		s.within(time.Now(), meetAgain)
		s.judge(cut)
	})
}

// A pod of three that is killed counts as crashed, and answers are complete without it. The only
// neighbor of a pod that is killed cannot know whether it is cut off, and answers incompletely
// until the pod is back.
func TestScenarioCrash(t *testing.T) {
	t.Parallel()
	t.Run("of a third", func(t *testing.T) {
		scenario(t, func(t *testing.T) {
			pods := deploy(t, podNames(3, "eu-west"), "grace 1s")
			s := newStage(t, pods)
			s.down(pods[2], syscall.SIGKILL)
			killed := time.Now()
			s.within(killed, crashKnown)
			s.judge(killed)
		})
	})
	t.Run("of a half", func(t *testing.T) {
		scenario(t, func(t *testing.T) {
			pods := deploy(t, podNames(2, "eu-west"), "grace 1s")
			s := newStage(t, pods)
			s.down(pods[1], syscall.SIGKILL)
			killed := time.Now()
			<-time.After(longCut)
			all, complete := s.askers[pods[0]].Since(killed)
			if complete > 0 {
				t.Errorf("%d of %d answers are complete while the other pod is silent", complete, all)
			}
			s.up(pods[1])
			s.within(time.Now(), meetAgain)
			s.judge(killed)
		})
	})
}
