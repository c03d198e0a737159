package presence

import (
	"maps"
	"math"
	"slices"
)

// MergeResult is the outcome of [Pods.MergeDelta].
type MergeResult uint8

// Outcomes of a merge.
const (
	Merged   MergeResult = iota // the delta was merged
	Stale                       // this delta or a later one was merged before
	Gap                         // a delta before this one is missing: request the whole part
	Unwanted                    // the channel has no watchers on this pod
)

// MergeDelta merges a Delta of another pod, so that the watchers of the channel see it. The Delta
// may come from the network without validation: a wrong one affects only the part of its pod.
// Nothing of it is retained.
func (p Pods) MergeDelta(host HostName, channelName, pod string, d Delta) MergeResult {
	result := Unwanted
	if isRoster(channelName) {
		p.r.withRoster(host, channelName, func(h *Host, shard *roster) { result = h.mergeRoster(shard, pod, d) })
		return result
	}
	p.r.withWatched(host, channelName, func(h *Host, ch *channel) {
		if result = h.mergeDelta(ch, pod, d); result == Merged {
			h.scheduleFlush(ch)
		}
	})
	return result
}

// Ready answers the joins that have waited for other pods since [Relay].Watched.
func (p Pods) Ready(host HostName, channelName string) {
	if isRoster(channelName) {
		p.r.withRoster(host, channelName, func(h *Host, shard *roster) { h.rosterReady(shard) })
		return
	}
	p.r.withWatched(host, channelName, func(h *Host, ch *channel) {
		if ch.overlay.syncing {
			ch.overlay.syncing = false
			h.flush(ch)
		}
	})
}

// Clock returns the clock of the last merged [Delta] of the pod. It is 0 if the pod's part is
// unknown or empty.
func (p Pods) Clock(host HostName, channelName, pod string) uint64 {
	var clock uint64
	if isRoster(channelName) {
		p.r.withRoster(host, channelName, func(_ *Host, shard *roster) {
			if part := shard.parts[pod]; part != nil && len(part.users) > 0 {
				clock = part.clock
			}
		})
		return clock
	}
	p.r.withWatched(host, channelName, func(_ *Host, ch *channel) {
		if p := ch.overlay.parts.get(pod); p != nil && !p.isEmpty() {
			clock = p.clock
		}
	})
	return clock
}

// Names returns the names of the pods that have a part of a channel here, in no order.
func (p Pods) Names() []string {
	names := make(map[string]bool)
	for _, h := range p.r.Hosts() {
		h.mu.Lock()
		for _, ch := range h.channels {
			if ch.overlay != nil {
				for i := range ch.overlay.parts {
					names[ch.overlay.parts[i].pod] = true
				}
			}
		}
		for _, shard := range h.rosters {
			for name := range shard.parts {
				names[name] = true
			}
		}
		h.mu.Unlock()
	}
	return slices.Collect(maps.Keys(names))
}

// Forget removes the parts of a pod from all channels. Its users and connections count as lost.
func (p Pods) Forget(pod string) {
	for _, h := range p.r.Hosts() {
		h.mu.Lock()
		for _, ch := range h.channels {
			if ch.overlay == nil {
				continue
			}
			if part := ch.overlay.parts.get(pod); part != nil {
				part.clock = 0
				h.mergeDelta(ch, pod, Delta{Clock: 1})
				ch.overlay.parts.remove(pod)
				h.scheduleFlush(ch)
			}
		}
		for _, shard := range h.rosters {
			h.forgetRosterPart(shard, pod)
		}
		h.mu.Unlock()
	}
}

func (h *Host) mergeDelta(ch *channel, pod string, d Delta) MergeResult {
	o := ch.overlay
	var known uint64 // clock of the part
	if p := o.parts.get(pod); p != nil {
		known = p.clock
	}
	switch {
	case d.Clock <= known:
		return Stale
	case d.Base != 0 && d.Base != known:
		return Gap
	}
	p := o.parts.ensure(pod)
	p.clock = d.Clock

	left := d.Left
	if d.Base == 0 {
		left = p.missingUsers(d)
		p.users.reserve(len(d.Joined))
	}
	for _, user := range left {
		h.mergeLeft(ch, p, user)
	}
	for i := range d.Joined {
		h.mergeJoined(ch, p, &d.Joined[i])
	}

	conns := min(max(d.Conns, 0), math.MaxInt32) // the limit of the bus
	before := int(p.conns)
	lost := min(max(d.Lost, 0), before)
	if d.Base == 0 {
		lost = max(lost, before-conns)
	}
	came := conns - before + lost
	p.conns = int32(conns)
	p.userless = int32(min(max(d.Userless, 0), conns))
	h.holdLost(ch, lost)
	ch.replaceLost(came)
	return Merged
}

// missingUsers returns the users that left according to a whole part. A user that d does not
// mention is lost.
func (p *podPart) missingUsers(d Delta) []Departure {
	if p.users.len() == 0 {
		return d.Left
	}
	listed := make(map[string]bool, len(d.Joined)+len(d.Left))
	for _, u := range d.Joined {
		listed[u.ID] = true
	}
	for _, user := range d.Left {
		listed[user.ID] = true
	}
	left := slices.Clip(d.Left)
	for id := range p.users.ids() {
		if !listed[id] {
			left = append(left, Departure{ID: id, Lost: true})
		}
	}
	return left
}

// mergeLeft removes a user from the part of a pod.
func (h *Host) mergeLeft(ch *channel, p *podPart, left Departure) {
	known := p.users.remove(left.ID)
	m := h.users[left.ID].in(ch)
	switch {
	case m == nil:
	case known:
		m.overlay.pods--
		h.updateMember(m, true, left.Lost)
	case m.inGrace():
		h.updateMember(m, true, left.Lost) // the user came back to that pod in between, and left
	}
}

// mergeJoined adds a user to the part of a pod, or updates what the pod knows of it.
func (h *Host) mergeJoined(ch *channel, p *podPart, u *Member) {
	here := h.users[u.ID]
	before, known := p.users.get(u.ID)
	id, now := u.remote(here, before)
	p.users.set(id, now)
	if shared := now.extra.shared(); shared != nil && here != nil && here.conns > 0 {
		h.learn(here, shared)
	}
	if ch.class.Kind == Authenticated {
		h.countPod(ch, id, known)
	}
}

// countPod counts one more pod that has the user, unless the pod is known to have it.
func (h *Host) countPod(ch *channel, id string, known bool) {
	m := ch.member(h.userNamed(id))
	was := m.visible()
	if !known {
		m.ensureOverlay().pods++
	}
	h.updateMember(m, was, false)
}
