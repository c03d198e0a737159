package cluster

import (
	"slices"
	"time"
)

// fault makes something fail, and plans its end.
func (s *historySim) fault() {
	p := s.pods[s.rand.IntN(len(s.pods))]
	switch n := s.rand.IntN(10); {
	case n < 3:
		s.cut(s.rand.Uint64())
	case n < 4:
		s.cut(1 << p.index)
	case n < 5: // of two pods alone
		other := s.pods[s.rand.IntN(len(s.pods))]
		s.cutWays(func(i, j int) bool { return i == p.index && j == other.index || j == p.index && i == other.index })
	case n < 8:
		s.restart(p, s.rand.IntN(2) == 0)
	default:
		s.stop(p)
	}
}

// cut cuts the pods in two, in one direction or both, for a while.
func (s *historySim) cut(side uint64) {
	ways := max(0, s.rand.IntN(5)-2)
	s.cutWays(func(i, j int) bool {
		from, to := side>>i&1, side>>j&1
		return from == 0 && to == 1 && ways != 1 || from == 1 && to == 0 && ways != 2
	})
}

func (s *historySim) cutWays(cut func(i, j int) bool) {
	var ways [][2]int
	for i := range s.pods {
		for j := range s.pods {
			if i != j && cut(i, j) && !s.net.isCut(i, j) {
				s.net.setCut(i, j, true)
				ways = append(ways, [2]int{i, j})
			}
		}
	}
	s.trace("CUT %v", ways)
	s.in(s.upTo(12*time.Second), func() {
		s.trace("MENDED %v", ways)
		for _, way := range ways {
			s.net.setCut(way[0], way[1], false)
		}
	})
}

// restart ends a pod, and plans its next start.
func (s *historySim) restart(p *keeperPod, killed bool) {
	r := p.run
	if r == nil || s.paused[r] {
		return
	}
	s.trace("%s ENDS, killed %v", p.name, killed)
	s.mu.Lock()
	p.run = nil
	s.mu.Unlock()
	r.end(killed)
	s.in(50*time.Millisecond+s.upTo([]time.Duration{time.Second, 8 * time.Second}[s.rand.IntN(2)]), func() { s.begins(p) })
}

func (s *historySim) begins(p *keeperPod) {
	if p.run == nil {
		s.trace("%s STARTS", p.name)
		r := p.starting()
		s.mu.Lock()
		p.run = r
		s.mu.Unlock()
	}
}

// stop stops the process of a pod for a while.
func (s *historySim) stop(p *keeperPod) {
	r := p.run
	if r == nil || s.paused[r] {
		return
	}
	s.trace("%s STOPS", p.name)
	s.setPaused(r, true)
	s.in(s.upTo(10*time.Second), func() {
		s.trace("%s CONTINUES", p.name)
		s.setPaused(r, false)
	})
}

func (s *historySim) setPaused(r *keeperRun, paused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused[r] = paused
	if paused {
		r.port.pause()
	} else {
		r.port.resume()
	}
}

// move makes a pod begin or cease to serve the second host. What is complete is lost if no pod is
// left that has it, so there must be another pod that serves the host, and answers completely.
func (s *historySim) move() {
	p, host := s.pods[s.rand.IntN(len(s.pods))], s.hosts[1]
	if r := p.run; r == nil || s.paused[r] || !r.members.Joined(s.hosts[0]) {
		return
	}
	serves := func(q *keeperPod) bool { return slices.Contains(q.serves, host) }
	if !slices.ContainsFunc(s.pods, func(q *keeperPod) bool {
		return q != p && serves(q) && q.run != nil && !s.paused[q.run] && q.run.hearsAll(host)
	}) {
		return
	}
	if serves(p) {
		s.trace("%s ceases to serve %v", p.name, host)
		p.serves = s.hosts[:1]
	} else {
		s.trace("%s begins to serve %v", p.name, host)
		p.serves = s.hosts
	}
	p.run.serve(p.serves...)
}
