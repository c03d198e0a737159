package cluster

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// whole checks at each moment, until the pod has answered completely for a while, that it has the
// assignment of ada if it answers completely. It returns the time until the first complete answer.
func (p *keeperPod) whole(host presence.HostName, complete func() bool) time.Duration {
	p.t.Helper()
	const step, within = 100 * time.Microsecond, 20 * time.Second
	begin, first := time.Now(), time.Duration(-1)
	for time.Since(begin) < within {
		time.Sleep(step)
		is := complete()
		if mode := p.run.book.Mode(host, "ada", "sales"); is && mode != assignment.Receive {
			p.t.Errorf("%s answers completely after %s, and has the mode %v", p.name, time.Since(begin), mode)
			return -1
		}
		switch {
		case first < 0 && is:
			first = time.Since(begin)
		case first >= 0 && time.Since(begin) > first+2*time.Second:
			return first
		}
	}
	p.t.Errorf("%s did not answer completely for %s", p.name, within)
	return -1
}

// A pod that starts, or hears others again after a cut, answers completely only when it has the changes
// that were complete without it.
func TestPodIsCompleteOnlyWithWhatOthersCompleted(t *testing.T) {
	tests := map[string]struct {
		clocks [3]time.Duration // wall clocks of the pods
		away   func(net *simNet, pods []*keeperPod)
		back   func(net *simNet, pods []*keeperPod)
	}{
		"it starts": {
			away: func(*simNet, []*keeperPod) {},
			back: func(_ *simNet, pods []*keeperPod) { pods[2].start() },
		},
		"it starts, and its clock is behind": {
			clocks: [3]time.Duration{2: -time.Hour},
			away:   func(*simNet, []*keeperPod) {},
			back:   func(_ *simNet, pods []*keeperPod) { pods[2].start() },
		},
		"it was cut off": {
			away: func(net *simNet, pods []*keeperPod) {
				pods[2].start()
				time.Sleep(10 * time.Second)
				cutApart(net, true, pods[:2], pods[2:])
			},
			back: func(net *simNet, pods []*keeperPod) { cutApart(net, false, pods[:2], pods[2:]) },
		},
		"it was cut off, and its clock is ahead": {
			clocks: [3]time.Duration{2: time.Hour},
			away: func(net *simNet, pods []*keeperPod) {
				pods[2].start()
				time.Sleep(10 * time.Second)
				cutApart(net, true, pods[:2], pods[2:])
			},
			back: func(net *simNet, pods []*keeperPod) { cutApart(net, false, pods[:2], pods[2:]) },
		},
		"it was stopped": {
			away: func(_ *simNet, pods []*keeperPod) {
				pods[2].start()
				time.Sleep(10 * time.Second)
				pods[2].run.port.pause()
			},
			back: func(_ *simNet, pods []*keeperPod) { pods[2].run.port.resume() },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(5) {
				synctest.Test(t, func(t *testing.T) {
					net, pods := keepersOf(t, seed, "eu", "eu", "eu")
					host := mustHost(t, "example.com")
					for i, p := range pods {
						p.clock = tt.clocks[i]
					}
					pods[0].start()
					pods[1].start()
					time.Sleep(5 * time.Second)
					tt.away(net, pods)
					for n := 0; !pods[0].run.change(host, assignment.Receive, "ada", "sales"); n++ {
						if n == 100 {
							t.Fatal("no complete change in 100")
						}
						time.Sleep(100 * time.Millisecond)
					}
					time.Sleep(2 * time.Second) // it knows that it is cut off
					tt.back(net, pods)
					took := pods[2].whole(host, func() bool { return pods[2].run.Spread(t.Context(), host, nil).Complete })
					t.Logf("complete after %s", took)
				})
			}
		})
	}
}

// Around the silence after which a pod counts as ended, the two sides of a cut do not agree on whether it
// was long enough.
func TestPodIsCompleteOnlyWithWhatOthersCompletedInAShortCut(t *testing.T) {
	missed := 0
	for length := 3500 * time.Millisecond; length < 7*time.Second; length += 100 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			net, pods := keepersOf(t, uint64(length), "eu", "eu", "eu")
			host := mustHost(t, "example.com")
			for _, p := range pods {
				p.start()
				time.Sleep(300 * time.Millisecond)
			}
			time.Sleep(5*time.Second + length/10)
			cutApart(net, true, pods[:2], pods[2:])
			heals := time.Now().Add(length)
			complete := false
			for time.Now().Before(heals) {
				complete = complete || pods[0].run.change(host, assignment.Receive, "ada", "sales")
				time.Sleep(10 * time.Millisecond)
			}
			cutApart(net, false, pods[:2], pods[2:])
			if complete {
				missed++
				pods[2].whole(host, func() bool { return pods[2].run.hearsAll(host) }) // it may not know that it was cut off
			}
		})
	}
	if missed == 0 {
		t.Error("no change was complete during a cut")
	}
	t.Logf("in %d cuts, a change was complete", missed)
}
