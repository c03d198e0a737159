package cluster

import (
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// want adds a check of the channel with the pod to this step.
func (s *syncer) want(w *watch, p peer) {
	q := question{p, w.host}
	if s.wanted[q] == nil {
		s.wanted[q] = make(map[*watch]bool)
	}
	s.wanted[q][w] = true
}

// recheckPeer wants checks of all channels that the pod may have. Joins that wait for their first
// answer wait for the pod too.
func (s *syncer) recheckPeer(p peer) {
	for host, h := range s.hosts {
		serves := slices.Contains(s.members.serving(host, ScopeAll, true), p)
		awaited := serves && slices.Contains(s.members.serving(host, ScopeAll, false), p)
		for _, w := range h.channels {
			if serves || s.holds(w, p) {
				s.want(w, p)
			}
			if awaited && !w.ready {
				w.waiting[p] = true
			}
		}
	}
}

// holds reports whether the registry has a part of the pod. A pod that no longer serves the host is
// checked until it answers that its part is empty.
func (s *syncer) holds(w *watch, p peer) bool { return w.replicas[p] != nil && s.clock(w, p) != 0 }

func (s *syncer) clock(w *watch, p peer) uint64 { return s.reg.Clock(w.host, w.channel, s.alive[p]) }

// round wants checks of the hosts whose turn it is, and of channels with gaps.
func (s *syncer) round(now time.Time) {
	if len(s.gaps) > 0 && !now.Before(s.gapsAt) {
		for k := range s.gaps {
			r := k.replicas[k.peer] // nil if the pod has left
			if r != nil && r.behind && !k.over {
				s.resynced.Add(1)
				s.want(k.watch, k.peer)
			}
		}
		clear(s.gaps)
		s.gapsAt = now.Add(gapWait)
	}
	if len(s.hosts) == 0 || now.Before(s.slotAt) {
		return
	}
	for host, h := range s.hosts {
		if h.slot == s.slot {
			s.checkHost(now, host, h)
		}
	}
	for _, a := range s.assembly {
		a.expire(now)
	}
	s.slot = (s.slot + 1) % slots
	s.slotAt = now.Add(s.timing.check / slots)
}

func (s *syncer) checkHost(now time.Time, host presence.HostName, h *watchedHost) {
	serving := s.members.serving(host, ScopeAll, true)
	for _, w := range h.channels {
		for _, p := range serving {
			r := w.replicas[p]
			if _, ok := s.alive[p]; ok && (r == nil || r.behind || now.Sub(r.followed) >= busy) {
				s.want(w, p)
			}
		}
		for p := range w.replicas {
			switch {
			case slices.Contains(serving, p):
			case s.holds(w, p):
				s.want(w, p)
			default:
				delete(w.replicas, p)
			}
		}
	}
}

// ask sends the wanted checks: one for all channels of a host, if it is not too long.
func (s *syncer) ask(now time.Time) {
	for q, watches := range s.wanted {
		asked := make(map[string]*watch, len(watches))
		whole := &message.Check{Host: q.host, Channels: make([]message.CheckChannel, 0, len(watches))}
		for w := range watches {
			asked[w.channel] = w
			whole.Channels = append(whole.Channels, message.CheckChannel{Channel: w.channel, Clock: s.clock(w, q.peer)})
		}
		for _, m := range message.SplitCheck(whole) {
			s.lastID++
			m.ID = s.lastID
			c := &check{id: m.ID, to: q.peer, watches: make([]*watch, len(m.Channels))}
			for i := range m.Channels {
				w := asked[m.Channels[i].Channel]
				r := w.replica(q.peer)
				r.check, r.behind, r.live = c.id, false, 0
				c.watches[i] = w
			}
			s.checks[c.id] = c
			s.checking.add(now.Add(2*s.timing.remote), c)
			s.link.send(s.link.inbox(q.peer), m)
		}
	}
	clear(s.wanted)
}

func (w *watch) replica(p peer) *replica {
	r := w.replicas[p]
	if r == nil {
		r = &replica{}
		w.replicas[p] = r
	}
	return r
}

// handle handles a message of a pod that is alive.
func (s *syncer) handle(p parcel) {
	from := p.from
	switch m := p.message.(type) {
	case *message.Delta:
		s.handleDelta(from, m, p.live)
	case *message.CheckDone:
		if c := s.checks[m.ID]; c != nil && c.to == from {
			for _, w := range c.watches {
				w.raiseFloor(from, c.id, m.Clock)
			}
			s.finish(c)
			for _, w := range c.watches {
				s.answered(w, from)
			}
		}
	}
}

// raiseFloor records the end of a check. A live delta that was merged meanwhile and is not later
// than the answer may have been recorded by an outsider, if the answer has no part. So the channel
// is checked again.
func (w *watch) raiseFloor(from peer, check, clock uint64) {
	r := w.replicas[from]
	if w.over || r == nil {
		return
	}
	r.floor = max(r.floor, clock)
	if r.check == check && r.live != 0 && r.live <= clock {
		r.behind = true
	}
}

// handleDelta merges a delta of another pod. live is set if the pod published it to all.
func (s *syncer) handleDelta(from peer, m *message.Delta, live bool) {
	h := s.hosts[m.Host]
	if h == nil || h.channels[m.Channel] == nil {
		return // no longer watched
	}
	w, d := h.channels[m.Channel], m.Delta
	if m.Parts > 1 {
		a := s.assembly[from]
		if a == nil {
			a = newAssembler()
			s.assembly[from] = a
		}
		var whole bool
		if d, whole = a.add(time.Now(), w.place, m); !whole {
			return
		}
	}
	r := w.replica(from)
	if live && d.Clock <= r.floor {
		return
	}
	r.live = 0
	if live {
		r.live = d.Clock
	}
	switch s.reg.MergeDelta(m.Host, m.Channel, s.alive[from], d) {
	case presence.Merged:
		if d.Base == 0 && r.check != 0 && r.seen != 0 && !r.behind {
			s.resynced.Add(1) // only the check has found it
		}
		// A first delta can arrive after the delta that follows it, which could not be merged.
		r.behind = d.Clock < r.seen
		if d.Base != 0 {
			r.followed = time.Now()
		}
	case presence.Gap:
		r.behind = true
	case presence.Stale, presence.Unwanted:
	}
	r.seen = max(r.seen, d.Clock)
	if r.behind && r.check == 0 {
		s.gaps[replicaKey{w, from}] = true
	}
}

// finish ends a check that was answered or has timed out. It repeats the check if a delta was
// missed meanwhile, because answers and deltas arrive in any order.
func (s *syncer) finish(c *check) {
	delete(s.checks, c.id)
	for _, w := range c.watches {
		r := w.replicas[c.to]
		if w.over || r == nil || r.check != c.id { // another check was sent
			continue
		}
		r.check = 0
		if r.behind {
			s.gaps[replicaKey{w, c.to}] = true
		}
	}
}

// answered removes a pod from those that the first joins wait for.
func (s *syncer) answered(w *watch, p peer) {
	delete(w.waiting, p)
	s.answerIfReady(w)
}

// answerIfReady answers the first joins if they no longer wait for a pod.
func (s *syncer) answerIfReady(w *watch) {
	if w.ready || w.over || w.early || len(w.waiting) > 0 {
		return
	}
	w.ready = true
	s.reg.Ready(w.host, w.channel)
}

// expire ends what has timed out.
func (s *syncer) expire(now time.Time) {
	for w, ok := s.pending.pop(now); ok; w, ok = s.pending.pop(now) {
		w.early = false
		for p := range w.waiting {
			if !s.members.remote(p) {
				delete(w.waiting, p)
			}
		}
		s.answerIfReady(w)
	}
	for w, ok := s.distant.pop(now); ok; w, ok = s.distant.pop(now) {
		clear(w.waiting)
		s.answerIfReady(w)
	}
	for c, ok := s.checking.pop(now); ok; c, ok = s.checking.pop(now) {
		if s.checks[c.id] == c {
			s.finish(c)
		}
	}
	for sub, ok := s.idling.pop(now); ok; sub, ok = s.idling.pop(now) {
		if s.idle[sub.place] == sub && !now.Before(sub.until) {
			delete(s.idle, sub.place)
			sub.in.end()
		}
	}
}
