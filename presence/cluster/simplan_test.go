package cluster

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
)

// simPlan is what a simulation does.
type simPlan struct {
	pods, dcs int
	grace     time.Duration
	faults    simFaults
	deaths    bool // pods are killed, closed and started
	cuts      bool // pods are cut off from others
	pauses    bool // pods are stopped for a while
	clocks    bool // wall clocks jump, and disks fail or are lost
	replay    float64
	time      time.Duration
}

// quietNet reports whether running pods always hear each other.
func (p *simPlan) quietNet() bool { return p.faults == simFaults{} && !p.cuts && !p.pauses }

// heavy reports whether missed heartbeats can make a live pod count as lost.
func (f *simFaults) heavy() bool { return f.lost > 0 || f.delay > time.Second }

func (s *sim) makePlan() {
	p := &s.plan
	p.dcs = 1 + s.rand.IntN(3)
	p.pods = max(2, p.dcs) + s.rand.IntN(7-max(2, p.dcs))
	p.grace = []time.Duration{0, time.Second, 3 * time.Second, 3 * time.Second}[s.rand.IntN(4)]
	p.time = time.Duration(10+s.rand.IntN(15)) * time.Second
	p.clocks = s.rand.IntN(2) == 0
	lossy := simFaults{lost: s.rand.Float64() * 0.3, doubled: s.rand.Float64() * 0.3, slow: s.rand.Float64() * 0.3, delay: 3 * time.Second}
	jumbled := simFaults{doubled: 0.3, slow: 0.5, delay: 100 * time.Millisecond}
	p.deaths = true
	switch s.seed % 8 {
	case 0, 1:
	case 2:
		p.faults = jumbled
	case 3:
		p.cuts = true
	case 4:
		p.pauses = true
	case 5:
		p.cuts, p.pauses = true, true
	case 6:
		p.deaths, p.cuts = false, true
	case 7:
		p.cuts, p.pauses, p.faults = true, true, lossy
	}
	if s.seed%5 == 0 { // an outsider repeats recorded payloads
		p.replay = 0.15
	}
}

// storm makes the network have faults from now on.
func (s *sim) storm(f simFaults) {
	s.ears.Lock()
	defer s.ears.Unlock()
	s.weigh(time.Now())
	s.stormy = f.heavy()
	s.net.setFaults(f)
}

// heal ends all faults and all actions of clients.
func (s *sim) heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.storm(simFaults{})
	if s.plan.faults.heavy() {
		s.calm = time.Now().Add(s.plan.faults.delay)
	}
	s.mend()
	for _, p := range s.pods {
		if p.run != nil {
			s.resume(p.run)
			s.plug(p.run)
		}
	}
	s.later = nil
	s.healed = time.Now()
}

// anyJump returns how far a wall clock jumps.
func (s *sim) anyJump() time.Duration {
	far := []time.Duration{2 * time.Second, time.Minute, 12 * time.Hour}[s.rand.IntN(3)]
	return time.Duration((s.rand.Float64()*2 - 1) * float64(far))
}

// faultStep makes a pod fail or recover.
func (s *sim) faultStep() {
	p := s.pods[s.rand.IntN(len(s.pods))]
	switch n := s.rand.IntN(16); {
	case n < 4 && s.plan.deaths:
		s.dieOrStart(p)
	case n == 4 && s.plan.deaths:
		s.restartMany()
	case n < 8 && s.plan.cuts:
		s.cutSome()
	case n == 8 && s.plan.cuts && p.run != nil && !p.run.paused:
		s.unplug(p.run)
		s.in(time.Duration(s.rand.Float64()*float64(8*time.Second)), func() { s.plug(p.run) })
	case n < 11 && s.plan.pauses:
		s.pause(p)
	case n == 12 && p.run != nil && !p.run.paused:
		s.changeSites(p.run)
	case n == 13 && s.plan.clocks:
		s.jump(p)
	case n == 14 && s.plan.clocks:
		s.trace("the disk of %s fails", p.name)
		p.disk.fail()
	}
}

// jump makes the wall clock of a pod jump.
func (s *sim) jump(p *simPod) {
	by := s.anyJump()
	s.trace("the clock of %s jumps by %v", p.name, by)
	p.clock.jump(by)
}

// restartMany restarts all pods, at once or one after another.
func (s *sim) restartMany() {
	var next time.Duration
	rolling := s.rand.IntN(2) == 0
	s.trace("all pods start again, one after another: %v", rolling)
	for _, p := range s.pods {
		killed := s.rand.IntN(3) == 0
		down := 50*time.Millisecond + time.Duration(s.rand.Float64()*float64(time.Second))
		s.in(next, func() {
			if p.run != nil && !p.run.paused {
				s.endPod(p, killed)
			}
		})
		s.in(next+down, func() {
			if p.run == nil {
				s.startPod(p)
			}
		})
		if rolling {
			next += down + time.Second + time.Duration(s.rand.Float64()*float64(3*time.Second))
		}
	}
}

// cutSome cuts some pods off from others, in one direction or both, or restores some or all.
func (s *sim) cutSome() {
	a, b := s.rand.IntN(len(s.pods)), s.rand.IntN(len(s.pods))
	ways := s.rand.IntN(3)
	side := s.rand.Uint64()
	switch s.rand.IntN(10) {
	case 0, 1, 2:
		s.mend()
		return
	case 3:
		s.cutPair(a, b, false, 0)
		s.look()
		return
	case 4, 5: // any two sides
	case 6: // one pod
		side = 1 << a
	case 7: // one data center
		side, ways = 0, 0
		for i, p := range s.pods {
			if p.dc == s.pods[a].dc {
				side |= 1 << i
			}
		}
	case 8: // two pods, which others may hear
		s.cutPair(a, b, true, ways)
		s.look()
		return
	case 9: // half of each data center
		side, ways = 0, 0
		for i := range s.pods {
			if i/s.plan.dcs%2 == 0 {
				side |= 1 << i
			}
		}
	}
	for i := range s.pods {
		for j := range s.pods {
			if side>>i&1 == 0 && side>>j&1 == 1 {
				s.cutPair(i, j, true, ways)
			}
		}
	}
	s.look()
}

// cutPair cuts two pods off from each other, or restores the way between them: both ways with ways
// 0, one with 1 or 2.
func (s *sim) cutPair(i, j int, cut bool, ways int) {
	if i == j {
		return
	}
	s.trace("cut %v between pod%d and pod%d, ways %d", cut, i, j, ways)
	if ways != 1 {
		s.net.setCut(i, j, cut)
	}
	if ways != 2 {
		s.net.setCut(j, i, cut)
	}
	s.truth.disturb()
}

func (s *sim) mend() {
	s.trace("all is mended")
	for i := range s.pods {
		for j := range s.pods {
			s.net.setCut(i, j, false)
		}
	}
	s.truth.disturb()
	s.look()
}

// lag returns the maximum time, after the last change or fault, until all watchers see the present
// members.
func (s *sim) lag() time.Duration {
	switch p := &s.plan; {
	case p.faults.heavy():
		return s.bound()
	case p.cuts: // after a short cut, no pod knows that payloads were lost
		return timing.Default().Check + timing.Default().Remote + slack
	case p.pauses: // a pod that is back is checked at once
		return found + slack
	case p.faults.delay > 0:
		// An answer to a check, and a second one for changes meanwhile. A probe and a check that
		// were sent before the answer to a probe can arrive after it, and then count as recorded.
		// Each is repeated.
		return 5*p.faults.delay + 2*timing.Default().Repeat
	}
	return slack
}
