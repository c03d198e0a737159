package cluster

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// A complete answer lacks no pod but those that are dead to the pod asked. Which these are follows
// from the heartbeats that the network has delivered, by the rules for a crash: the pod asked has
// not heard the other for 5 s, no pod that it hears has heard that one in the last 3 s, and it
// hears more than half of the pods of that data center.

const (
	// found is the maximum time until a pod that can be heard is known.
	found = 2500 * time.Millisecond
	// told is the maximum time until a pod knows what one that it hears has known: a heartbeat, the
	// time for which two pods may disagree, and a request for the lists.
	told = 4200 * time.Millisecond
	// again is how long a pod that counts as dead is absent after it is heard.
	again = time.Second
	// jitter is how much the times of the network and of a pod may differ.
	jitter = 50 * time.Millisecond
)

// simPair is what one run of a pod has heard of another one, and must know of it. sim.ears guards
// it.
type simPair struct {
	last   time.Time // time at which it last heard a heartbeat of it; zero if never
	streak time.Time // time since which it has heard one every 3 s
	sent   time.Time // time at which the last one was sent
	bye    bool      // it has heard the goodbye

	open  time.Time    // time since which both can hear each other; zero if they cannot
	cut   time.Time    // time since which no question can be sent and answered; zero if one can
	known [2]time.Time // for each host, time at which it must know that the other pod serves it; zero if it need not

	dead  bool      // it may count as crashed
	back  time.Time // time at which it was heard again
	until time.Time // end of the last time in which it may have counted as crashed
}

// pair returns the pair of two runs. s.ears is held.
func (s *sim) pair(a, b *simRun) *simPair {
	for len(a.pairs) <= b.port.order {
		a.pairs = append(a.pairs, &simPair{})
	}
	return a.pairs[b.port.order]
}

// hear records that a run hears a heartbeat or a goodbye of another one. If an outsider repeats it
// across a cut, it is heard if that one is not lost.
func (s *sim) hear(at *simPort, payload *simPayload) {
	of, sent := payload.from, payload.sent
	s.ears.Lock()
	defer s.ears.Unlock()
	if at == of || at.order >= len(s.runs) || of.order >= len(s.runs) {
		return
	}
	a, b, now := s.runs[at.order], s.runs[of.order], time.Now()
	s.bury(a, now)
	p := s.pair(a, b)
	if payload.repeated && (p.last.IsZero() || now.Sub(p.last) >= timing.Default().Gone) {
		return
	}
	if _, bye := payload.message.(*message.Goodbye); bye {
		p.bye = true
		return
	}
	if !sent.After(p.sent) {
		return // it is late, and says nothing about the present
	}
	if gap := now.Sub(latest(p.last, latest(a.resumed, a.plugged))); !p.last.IsZero() && gap >= timing.Default().Gone {
		a.anew[b.dc] = now
	}
	if now.Sub(p.last) >= timing.Default().Suspect {
		p.streak = now
	}
	p.last, p.sent = now, sent
	if p.dead && p.back.IsZero() {
		p.back = now
	}
}

// bury finds the runs that may count as crashed to a. s.ears is held.
func (s *sim) bury(a *simRun, now time.Time) {
	for _, b := range s.runs {
		if b.simPod == a.simPod {
			continue
		}
		p := s.pair(a, b)
		if !p.dead {
			if s.mayCrash(a, b, now) || s.heardOfCrash(a, b, now) {
				p.dead, p.back = true, time.Time{}
			}
			continue
		}
		end := time.Time{}
		if !p.back.IsZero() {
			end = p.back.Add(again)
		} else if at := s.heardElsewhere(a, b); !at.IsZero() {
			end = at.Add(told)
		}
		if !end.IsZero() && now.After(end) {
			p.dead, p.until = false, end
		}
	}
	a.weighed = now
}

// mayCrash reports whether b may have counted as crashed to a at any time since the last call, by
// what a heard itself.
func (s *sim) mayCrash(a, b *simRun, now time.Time) bool {
	if now.Sub(s.pair(a, b).last) < timing.Default().Gone-jitter {
		return false
	}
	if s.crashed(a, b, now) {
		return true
	}
	for _, x := range s.runs { // what changes as time passes
		last, wait := s.pair(a, x).last, timing.Default().Suspect+jitter
		if x == b || last.IsZero() {
			last, wait = s.silentSince(a, b), timing.Default().Gone
		}
		if at := last.Add(wait); at.After(a.weighed) && at.Before(now) && s.crashed(a, b, at) {
			return true
		}
	}
	return false
}

// silentSince returns the start of the silence of b that counts.
func (s *sim) silentSince(a, b *simRun) time.Time {
	since := latest(s.pair(a, b).last, latest(a.began, a.plugged))
	if at := a.anew[b.dc]; at.Sub(since) >= timing.Default().Gone { // it was lost then
		return at
	}
	return since
}

// crashed reports whether b may have counted as crashed to a at a time, by what a heard itself.
func (s *sim) crashed(a, b *simRun, now time.Time) bool {
	return now.Sub(s.silentSince(a, b)) >= timing.Default().Gone-jitter && !s.heardByAnother(a, b, now) && s.majority(a, b, now)
}

// hears reports whether a has heard b lately, and neither its goodbye nor a later run.
func (s *sim) hears(a, b *simRun, now time.Time) bool {
	p := s.pair(a, b)
	if p.bye || p.last.IsZero() || now.Sub(p.last) >= timing.Default().Suspect+jitter {
		return false
	}
	for r := b.simPod.last; r != b && r != nil; r = r.before {
		if !s.pair(a, r).last.IsZero() {
			return false
		}
	}
	return true
}

// heardByAnother reports whether a pod that a hears has heard b in the last 3 s, and had begun to
// when it sent its last heartbeat.
func (s *sim) heardByAnother(a, b *simRun, now time.Time) bool {
	margin := jitter
	if s.stormy || now.Sub(s.calm) < 2*timing.Default().Gone && !s.calm.IsZero() {
		margin = 2 * timing.Default().Gone // it can take long until b is known
	}
	for _, x := range s.runs {
		if x == a || x == b || !s.hears(a, x, now) {
			continue
		}
		told, p := s.pair(a, x).sent, s.pair(x, b)
		switch lately := timing.Default().Suspect - jitter; {
		case p.last.After(told) && p.streak.Before(told.Add(-margin)) && now.Sub(p.last) < lately,
			!p.last.IsZero() && !p.last.After(told) && now.Sub(p.sent) < lately:
			return true
		}
	}
	return false
}

// majority reports whether a hears more than half of the pods of b's data center, heard and lost. A
// pod that came after the loss counts only if a run of it was heard or lost at that time.
func (s *sim) majority(a, b *simRun, now time.Time) bool {
	lost := s.pair(a, b).last
	if lost.IsZero() && a.before != nil {
		lost = a.lastOf(b)
	}
	total, heard := 1, 0
	for _, pod := range s.pods {
		q := pod.last
		if pod.dc != b.dc || pod == b.simPod || q == nil {
			continue
		}
		came := !lost.IsZero() && q.began.After(lost)
		switch p := s.pair(a, q); {
		case came && !s.there(a, q, lost):
		case q == a || s.hears(a, q, now):
			total, heard = total+1, heard+1
		case came || p.bye || q.closed || p.known[0].IsZero() && (p.dead || p.last.IsZero()): // it may not be known
		default:
			total++
		}
	}
	return 2*heard > total
}

// lastOf returns when an earlier run of the pod last heard b.
func (r *simRun) lastOf(b *simRun) (last time.Time) {
	for at := r.before; at != nil; at = at.before {
		if t := r.sim.pair(at, b).last; t.After(last) {
			last = t
		}
	}
	return last
}

// there reports whether an earlier run of the pod may have been heard by a or lost to it at that
// time.
func (s *sim) there(a, q *simRun, at time.Time) bool {
	for r := q.before; r != nil; r = r.before {
		ended := r.closed && (r.simPod == a.simPod && !r.unsaved || s.pair(a, r).bye && !r.ended.After(at))
		if !r.began.After(at) && !ended {
			return true
		}
	}
	return false
}

// heardOfCrash reports whether a pod that a hears may have told it that b has crashed, and had
// heard b at least as late, or was told by a, while b was silent, when a had heard it.
func (s *sim) heardOfCrash(a, b *simRun, now time.Time) bool {
	for _, x := range s.runs {
		if x == a || x == b || !s.hears(a, x, now) {
			continue
		}
		ab, xa := s.pair(a, b), s.pair(x, a)
		toldBy := !xa.last.IsZero() && xa.sent.Sub(ab.last) >= timing.Default().Suspect-jitter
		if p := s.pair(x, b); p.dead && p.back.IsZero() && (toldBy || !ab.sent.After(p.sent)) {
			return true
		}
	}
	return false
}

// heardElsewhere returns the time since which a hears a pod that hears b; zero if there is none.
func (s *sim) heardElsewhere(a, b *simRun) (since time.Time) {
	if s.stormy {
		return time.Time{}
	}
	for _, x := range s.runs {
		if x == a || x == b || x.end() || b.end() {
			continue
		}
		ax, xb := s.pair(a, x), s.pair(x, b)
		if ax.open.IsZero() || xb.open.IsZero() || xb.dead {
			continue
		}
		if at := latest(latest(ax.open, s.calm), xb.open.Add(again)); since.IsZero() || at.Before(since) {
			since = at
		}
	}
	return since
}

// learn records what each pod must know by now. s.ears is held.
func (s *sim) learn(now time.Time) {
	for _, a := range s.runs {
		for _, b := range s.runs {
			if a.end() || b.end() || a == b {
				continue
			}
			p := s.pair(a, b)
			for h, since := range b.serving {
				if since.IsZero() || !p.known[h].IsZero() {
					continue
				}
				if at := latest(latest(p.open, s.calm), since).Add(found); !p.open.IsZero() && !s.stormy && !now.Before(at) {
					p.known[h] = at
					continue
				}
				if at := s.toldBy(a, b, h); !at.IsZero() && !now.Before(at) {
					p.known[h] = at
				}
			}
		}
	}
}

// toldBy returns the time at which a must know from another pod that b serves a host; zero if it
// need not.
func (s *sim) toldBy(a, b *simRun, host int) (first time.Time) {
	if s.stormy {
		return time.Time{}
	}
	for _, x := range s.runs {
		if x == a || x == b || x.end() {
			continue
		}
		ax, xb := s.pair(a, x), s.pair(x, b)
		if ax.open.IsZero() || xb.known[host].IsZero() || xb.dead {
			continue
		}
		if at := latest(latest(ax.open, s.calm), xb.known[host]).Add(told); first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

// joinedWith reports whether a must know from the pods with which it has joined that b serves a
// host.
func (s *sim) joinedWith(a, b *simRun, host int) bool {
	if s.stormy {
		return false
	}
	since := b.serving[host].Add(found)
	if s.pair(a, b).open.Equal(a.began) && !since.After(a.began) {
		return true
	}
	for _, x := range s.runs {
		if x == a || x == b || x.end() || !s.pair(a, x).open.Equal(a.began) {
			continue
		}
		if xb := s.pair(x, b); !xb.known[host].IsZero() && !xb.known[host].After(a.began) && !xb.dead {
			return true
		}
	}
	return false
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// absent returns why b may be absent from an answer of a that was asked at began, or "" if it may
// not. joined is whether a says that it knows all pods. s.ears is held.
func (s *sim) absent(a, b *simRun, host presence.HostName, began time.Time, joined bool) string {
	h := s.indexOf(host)
	p := s.pair(a, b)
	switch {
	case b.serving[h].IsZero() || b.serving[h].After(began.Add(-found)):
		return "it joins"
	case p.dead || p.until.After(began.Add(-slack)):
		return "it counts as crashed"
	case !p.known[h].IsZero() && !p.known[h].After(began), joined && s.joinedWith(a, b, h):
		return ""
	}
	return "it was never heard of"
}

func (s *sim) indexOf(host presence.HostName) int {
	if host == s.hosts[0] {
		return 0
	}
	return 1
}

// look records which pods can hear each other now.
func (s *sim) look() {
	s.ears.Lock()
	defer s.ears.Unlock()
	now := time.Now()
	s.weigh(now)
	for _, a := range s.runs {
		for _, b := range s.runs {
			p := s.pair(a, b)
			cut := a.offline || b.offline || s.net.isCut(a.index, b.index) || s.net.isCut(b.index, a.index)
			switch {
			case !cut:
				p.cut = time.Time{}
			case p.cut.IsZero():
				p.cut = now
			}
			switch open := a != b && !a.end() && !b.end() && !a.paused && !b.paused && !cut; {
			case !open:
				p.open = time.Time{}
			case p.open.IsZero():
				p.open = now
			}
		}
	}
}

// weigh updates what all pods may and must know. s.ears is held.
func (s *sim) weigh(now time.Time) {
	for range 2 { // one pod can tell another
		for _, a := range s.runs {
			if !a.end() && !a.paused {
				s.bury(a, now)
			}
		}
	}
	s.learn(now)
}

// rememberRuns makes a run know what the one before has known, from disk, which failed since then
// if the time is not zero.
func (s *sim) rememberRuns(r *simRun, failed time.Time) {
	s.ears.Lock()
	defer s.ears.Unlock()
	saved := failed
	if failed.IsZero() && !r.before.closed { // what a run that is killed has just heard is not on disk
		saved = r.before.ended.Add(-slack - jitter)
	}
	for _, b := range s.runs {
		if b.simPod == r.simPod {
			continue
		}
		old, p := s.pair(r.before, b), s.pair(r, b)
		p.dead, p.back, p.until = old.dead, old.back, old.until
		if !saved.IsZero() && (p.dead && p.back.After(saved) || p.until.After(saved)) {
			p.dead, p.back = true, time.Time{} // the disk does not say that it was heard again
		}
		for h, at := range old.known {
			if !at.IsZero() && (failed.IsZero() || at.Before(failed)) {
				p.known[h] = r.began
			}
		}
	}
}
