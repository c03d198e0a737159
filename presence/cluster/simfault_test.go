package cluster

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// startPod starts a pod that serves at least the first host.
func (s *sim) startPod(p *simPod) {
	hosts := s.hosts
	if s.rand.IntN(3) == 0 {
		hosts = hosts[:1]
	}
	failed, lost := p.disk.failing(), false
	if p.last != nil && s.plan.clocks {
		if s.rand.IntN(3) == 0 {
			p.clock.jump(s.anyJump())
		}
		lost = s.rand.IntN(6) == 0
	}
	s.bringUp(p, hosts, failed, lost)
}

// bringUp starts a pod whose disk has failed since a time, if it is not zero, or has lost
// everything.
func (s *sim) bringUp(p *simPod, hosts []presence.HostName, failed time.Time, lost bool) {
	if p.disk.repair(lost); lost {
		p.clock.pass()
		s.events.loseDisk(p)
	}
	p.start(s, hosts)
	p.run.blank = lost
	s.trace("%v starts with %v, without its disk: %v, as %x", p.run, hosts, lost, p.run.cluster.link.Self().Incarnation.Started)
	if p.run.before != nil && !lost {
		s.rememberRuns(p.run, failed)
	}
	s.look()
	s.truth.disturb()
}

// dieOrStart starts a pod that does not run. It closes or kills one that runs, unless it is the
// last one.
func (s *sim) dieOrStart(p *simPod) {
	if p.run == nil {
		s.startPod(p)
		return
	}
	running := 0
	for _, other := range s.pods {
		if other.run != nil {
			running++
		}
	}
	if running < 2 || p.run.paused || s.rand.IntN(2) == 0 {
		return
	}
	s.endPod(p, s.rand.IntN(2) == 0)
}

// endPod kills or closes a pod. Its clients come back later.
func (s *sim) endPod(p *simPod, killed bool) {
	r := p.run
	s.trace("%v ends, killed %v", r, killed)
	for _, h := range s.hosts {
		s.facts.serves(r, h, false)
	}
	s.truth.disturb()
	if killed {
		s.truth.kill()
		r.port.kill()
	} else {
		r.cluster.Drain()
	}
	for _, c := range s.clients {
		if c.run == r {
			joins := c.joins
			if s.disconnect(c); !s.scripted {
				s.comeBack(c, joins)
			}
		}
	}
	p.run = nil
	s.ears.Lock()
	s.weigh(time.Now())
	r.ended, r.closed, r.unsaved = time.Now(), !killed, !p.disk.failing().IsZero()
	s.ears.Unlock()
	s.look()
	s.asking.Go(r.stop)
}

// stop ends an incarnation, whether or not the others receive a goodbye.
func (r *simRun) stop() {
	if err := r.cluster.Close(); err != nil {
		r.sim.fail("close: %v", err)
	}
	r.events.close()
}

// pause stops a pod for a while.
func (s *sim) pause(p *simPod) {
	r := p.run
	if r == nil || r.paused || s.anyRun() == nil {
		return
	}
	s.stopProcess(r)
	s.in(time.Duration(s.rand.Float64()*float64(20*time.Second)), func() { s.resume(r) })
}

func (s *sim) stopProcess(r *simRun) {
	s.trace("%v is stopped", r)
	s.ears.Lock()
	s.weigh(time.Now())
	r.paused, r.stopped = true, time.Now()
	s.ears.Unlock()
	r.port.pause()
	s.look()
	s.truth.disturb()
}

func (s *sim) resume(r *simRun) {
	if !r.paused {
		return
	}
	s.trace("%v continues", r)
	s.ears.Lock()
	r.paused, r.resumed = false, time.Now()
	s.ears.Unlock()
	r.port.resume()
	s.look()
	s.truth.disturb()
}

// unplug takes the bus away from a pod.
func (s *sim) unplug(r *simRun) {
	if r.offline {
		return
	}
	s.trace("%v has no bus", r)
	s.ears.Lock()
	s.weigh(time.Now())
	r.offline, r.lost = true, time.Now()
	s.ears.Unlock()
	s.setBus(r, false)
}

// plug gives the bus back to a pod.
func (s *sim) plug(r *simRun) {
	if r == nil || !r.offline {
		return
	}
	s.trace("%v has the bus again", r)
	s.ears.Lock()
	r.offline, r.plugged = false, time.Now()
	s.ears.Unlock()
	s.setBus(r, true)
}

// setBus connects a pod to the bus, or disconnects it.
func (s *sim) setBus(r *simRun, connected bool) {
	r.port.setUnplugged(!connected)
	r.cluster.members.SetConnected(connected)
	s.look()
	s.truth.disturb()
}

// changeSites makes a pod serve the second host, or stop serving it. Clients that it has there lose
// their connections.
func (s *sim) changeSites(r *simRun) {
	s.truth.disturb()
	s.trace("%v changes its sites, served both: %v", r, r.Serves(s.hosts[1]))
	if !r.Serves(s.hosts[1]) {
		r.setHosts(s.hosts)
		return
	}
	for _, c := range s.clients {
		if c.run == r && c.host == s.hosts[1] {
			joins := c.joins
			s.disconnect(c)
			s.comeBack(c, joins)
		}
	}
	r.setHosts(s.hosts[:1])
}

// linked reports whether two pods can hear each other now.
func (s *sim) linked(a, b *simRun) bool {
	s.ears.Lock()
	defer s.ears.Unlock()
	return !s.pair(a, b).open.IsZero()
}
