package replication

import (
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/membership"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// want adds a check of the channel with the pod to this step.
func (r *Replicator) want(w *watch, p link.Peer) {
	q := question{p, w.host}
	if r.wanted[q] == nil {
		r.wanted[q] = make(map[*watch]bool)
	}
	r.wanted[q][w] = true
}

// recheckPeer wants checks of all channels that the pod may have. Joins that wait for their first
// answer wait for the pod too.
func (r *Replicator) recheckPeer(p link.Peer) {
	for host, h := range r.hosts {
		serves := slices.Contains(r.members.Serving(host, membership.ScopeAll, true), p)
		awaited := serves && slices.Contains(r.members.Serving(host, membership.ScopeAll, false), p)
		for _, w := range h.channels {
			if serves || r.holds(w, p) {
				r.want(w, p)
			}
			if awaited && !w.ready {
				w.waiting[p] = true
			}
		}
	}
}

// holds reports whether the registry has a part of the pod. A pod that no longer serves the host is
// checked until it answers that its part is empty.
func (r *Replicator) holds(w *watch, p link.Peer) bool {
	return w.replicas[p] != nil && r.clock(w, p) != 0
}

func (r *Replicator) clock(w *watch, p link.Peer) uint64 {
	return r.reg.Clock(w.host, w.channel, r.alive[p])
}

// round wants checks of the hosts whose turn it is, and of channels with gaps.
func (r *Replicator) round(now time.Time) {
	if len(r.gaps) > 0 && !now.Before(r.gapsAt) {
		for k := range r.gaps {
			rep := k.replicas[k.Peer] // nil if the pod has left
			if rep != nil && rep.behind && !k.over {
				r.resynced.Add(1)
				r.want(k.watch, k.Peer)
			}
		}
		clear(r.gaps)
		r.gapsAt = now.Add(gapWait)
	}
	if len(r.hosts) == 0 || now.Before(r.slotAt) {
		return
	}
	for host, h := range r.hosts {
		if h.slot == r.slot {
			r.checkHost(now, host, h)
		}
	}
	for _, a := range r.assembly {
		a.expire(now)
	}
	r.slot = (r.slot + 1) % slots
	r.slotAt = now.Add(r.timing.Check / slots)
}

func (r *Replicator) checkHost(now time.Time, host presence.HostName, h *watchedHost) {
	serving := r.members.Serving(host, membership.ScopeAll, true)
	for _, w := range h.channels {
		for _, p := range serving {
			rep := w.replicas[p]
			if _, ok := r.alive[p]; ok && (rep == nil || rep.behind || now.Sub(rep.followed) >= busy) {
				r.want(w, p)
			}
		}
		for p := range w.replicas {
			switch {
			case slices.Contains(serving, p):
			case r.holds(w, p):
				r.want(w, p)
			default:
				delete(w.replicas, p)
			}
		}
	}
}

// ask sends the wanted checks: one for all channels of a host, if it is not too long.
func (r *Replicator) ask(now time.Time) {
	for q, watches := range r.wanted {
		asked := make(map[string]*watch, len(watches))
		whole := &message.Check{Host: q.host, Channels: make([]message.CheckChannel, 0, len(watches))}
		for w := range watches {
			asked[w.channel] = w
			whole.Channels = append(whole.Channels, message.CheckChannel{Channel: w.channel, Clock: r.clock(w, q.Peer)})
		}
		for _, m := range message.SplitCheck(whole) {
			r.lastID++
			m.ID = r.lastID
			c := &check{id: m.ID, to: q.Peer, host: q.host, watches: make([]*watch, len(m.Channels)), heard: now}
			for i := range m.Channels {
				w := asked[m.Channels[i].Channel]
				rep := w.replica(q.Peer)
				rep.check, rep.behind, rep.live = c.id, false, 0
				c.watches[i] = w
			}
			r.checks[c.id] = c
			r.checking.Add(now.Add(r.timing.Check), c)
			r.scheduleRepeat(c.heard.Add(r.timing.Repeat))
			r.link.Send(r.link.Inbox(q.Peer), m)
		}
	}
	clear(r.wanted)
}

func (w *watch) replica(p link.Peer) *replica {
	rep := w.replicas[p]
	if rep == nil {
		rep = &replica{}
		w.replicas[p] = rep
	}
	return rep
}

// handleParcel handles a message of a pod that is alive.
func (r *Replicator) handleParcel(p parcel) {
	from := p.from
	switch m := p.message.(type) {
	case *message.Delta:
		r.handleDelta(from, m, p.live)
	case *message.CheckDone:
		if c := r.checks[m.ID]; c != nil && c.to == from && !r.lacksParts(c) {
			for _, w := range c.watches {
				w.raiseFloor(from, c.id, m.Clock)
			}
			r.endCheck(c)
			for _, w := range c.watches {
				r.answered(w, from)
			}
		}
	}
}

// raiseFloor records the end of a check. A live delta that was merged meanwhile and is not later
// than the answer may have been recorded by an outsider, if the answer has no part. So the channel
// is checked again.
func (w *watch) raiseFloor(from link.Peer, check, clock uint64) {
	rep := w.replicas[from]
	if w.over || rep == nil {
		return
	}
	rep.floor = max(rep.floor, clock)
	if rep.check == check && rep.live != 0 && rep.live <= clock {
		rep.behind = true
	}
}

// handleDelta merges a delta of another pod. live is set if the pod published it to all.
func (r *Replicator) handleDelta(from link.Peer, m *message.Delta, live bool) {
	h := r.hosts[m.Host]
	if h == nil || h.channels[m.Channel] == nil {
		return // no longer watched
	}
	w, d := h.channels[m.Channel], m.Delta
	if !live {
		r.recordAnswer(w, from)
	}
	if m.Parts > 1 {
		a := r.assembly[from]
		if a == nil {
			a = newAssembler()
			r.assembly[from] = a
		}
		var whole bool
		if d, whole = a.add(time.Now(), w.place, m); !whole {
			return
		}
	}
	rep := w.replica(from)
	if live && d.Clock <= rep.floor {
		return
	}
	rep.live = 0
	if live {
		rep.live = d.Clock
	}
	switch r.reg.MergeDelta(m.Host, m.Channel, r.alive[from], d) {
	case presence.Merged:
		if d.Base == 0 && rep.check != 0 && rep.seen != 0 && !rep.behind {
			r.resynced.Add(1) // only the check has found it
		}
		// A first delta can arrive after the delta that follows it, which could not be merged.
		rep.behind = d.Clock < rep.seen
		if d.Base != 0 {
			rep.followed = time.Now()
		}
	case presence.Gap:
		rep.behind = true
	case presence.Stale, presence.Unwanted:
	}
	rep.seen = max(rep.seen, d.Clock)
	if rep.behind && rep.check == 0 {
		r.gaps[replicaKey{w, from}] = true
	}
}

// endCheck ends a check that was answered or has timed out. It repeats the check if a delta was
// missed meanwhile, because answers and deltas arrive in any order.
func (r *Replicator) endCheck(c *check) {
	delete(r.checks, c.id)
	for _, w := range c.watches {
		rep := w.replicas[c.to]
		if w.over || rep == nil || rep.check != c.id { // another check was sent
			continue
		}
		rep.check = 0
		if rep.behind {
			r.gaps[replicaKey{w, c.to}] = true
		}
	}
}

// answered removes a pod from those that the first joins wait for.
func (r *Replicator) answered(w *watch, p link.Peer) {
	delete(w.waiting, p)
	r.answerIfReady(w)
}

// answerIfReady answers the first joins if they no longer wait for a pod.
func (r *Replicator) answerIfReady(w *watch) {
	if w.ready || w.over || w.early || len(w.waiting) > 0 {
		return
	}
	w.ready = true
	r.reg.Ready(w.host, w.channel)
}

// expire ends what has timed out.
func (r *Replicator) expire(now time.Time) {
	for w, ok := r.pending.Pop(now); ok; w, ok = r.pending.Pop(now) {
		w.early = false
		for p := range w.waiting {
			if !r.members.Remote(p) {
				delete(w.waiting, p)
			}
		}
		r.answerIfReady(w)
	}
	for w, ok := r.distant.Pop(now); ok; w, ok = r.distant.Pop(now) {
		clear(w.waiting)
		r.answerIfReady(w)
	}
	for c, ok := r.checking.Pop(now); ok; c, ok = r.checking.Pop(now) {
		if r.checks[c.id] == c {
			r.endCheck(c)
		}
	}
	for sub, ok := r.idling.Pop(now); ok; sub, ok = r.idling.Pop(now) {
		if r.idle[sub.place] == sub && !now.Before(sub.until) {
			delete(r.idle, sub.place)
			sub.in.End()
		}
	}
}
