package presence

import (
	"container/heap"
	"time"
)

// lossWindow is how long after the first loss of a lossBatch further losses are added to it.
const lossWindow = 10 * time.Millisecond

// lossBatch is a number of connections, lost at about the same time, that still count.
type lossBatch struct {
	until time.Duration // end of the grace period, see Registry.now
	conns int
}

// losses has what watchers of a channel still see of lost connections, until the grace period of
// each has ended.
type losses struct {
	members graceHeap
	batches []lossBatch   // in order of loss; empty if the channel is authenticated
	conns   int           // connections of all batches
	timer   *time.Timer   // nil before the first loss
	due     time.Duration // time at which the timer fires, see Registry.now; 0: never
}

// lostConns returns the number of connections of all batches.
func (o *overlay) lostConns() int {
	if o.losses == nil {
		return 0
	}
	return o.losses.conns
}

// ensureLosses returns the losses of the channel, which it creates if necessary.
func (ch *channel) ensureLosses() *losses {
	o := ch.ensureOverlay()
	if o.losses == nil {
		o.losses = new(losses)
	}
	return o.losses
}

// lostMember is a member in its grace period.
type lostMember struct {
	member *member
	until  time.Duration // end of the grace period, see Registry.now
	index  int           // index in losses.members
}

// graceHeap holds the lost members of a channel. The member whose grace period ends first is at
// index 0.
type graceHeap []*lostMember

// Len implements [heap.Interface].
func (g graceHeap) Len() int { return len(g) }

// Less implements [heap.Interface].
func (g graceHeap) Less(i, j int) bool { return g[i].until < g[j].until }

// Swap implements [heap.Interface].
func (g graceHeap) Swap(i, j int) {
	g[i], g[j] = g[j], g[i]
	g[i].index, g[j].index = i, j
}

// Push implements [heap.Interface].
func (g *graceHeap) Push(x any) {
	lost := x.(*lostMember)
	lost.index = len(*g)
	lost.member.ensureOverlay().lost = lost
	*g = append(*g, lost)
}

// Pop implements [heap.Interface].
func (g *graceHeap) Pop() any {
	last := len(*g) - 1
	lost := (*g)[last]
	(*g)[last] = nil
	*g = (*g)[:last]
	lost.member.overlay.lost = nil
	return lost
}

// endGrace ends the grace period of a member.
func (m *member) endGrace() { heap.Remove(&m.channel.overlay.losses.members, m.overlay.lost.index) }

// now returns the time since the registry was created. Grace periods use it because it is monotonic
// and smaller than a time.Time.
func (r *Registry) now() time.Duration { return time.Since(r.epoch) }

// startGrace keeps m visible until its grace period ends, if watchers have seen it.
func (h *Host) startGrace(m *member) {
	ch := m.channel
	grace := h.rules().Grace
	if grace <= 0 || m.seen == seenNothing || len(ch.watchers) == 0 {
		return
	}
	l, until := ch.ensureLosses(), h.registry.now()+grace
	heap.Push(&l.members, &lostMember{member: m, until: until})
	h.scheduleExpiry(ch, l, until)
}

// holdLost keeps counting n lost connections until their grace period ends, if ch lists no users.
func (h *Host) holdLost(ch *channel, n int) {
	grace := h.rules().Grace
	if grace <= 0 || n <= 0 || len(ch.watchers) == 0 || ch.class.Kind == Authenticated {
		return
	}
	l, until := ch.ensureLosses(), h.registry.now()+grace
	l.conns += n
	if i := len(l.batches) - 1; i >= 0 {
		newest := &l.batches[i]
		if until >= newest.until && until-newest.until < lossWindow {
			newest.conns += n
			return
		}
	}
	l.batches = append(l.batches, lossBatch{until, n})
	h.scheduleExpiry(ch, l, until)
}

// replaceLost makes n new connections replace lost ones that still count, the oldest first.
func (ch *channel) replaceLost(n int) {
	if ch.overlay == nil || ch.overlay.losses == nil {
		return
	}
	l := ch.overlay.losses
	for n > 0 && len(l.batches) > 0 {
		oldest := &l.batches[0]
		replaced := min(n, oldest.conns)
		n -= replaced
		l.conns -= replaced
		if oldest.conns -= replaced; oldest.conns == 0 {
			l.batches = l.batches[1:]
		}
	}
}

// scheduleExpiry makes the timer of the losses fire at until, unless it fires earlier.
func (h *Host) scheduleExpiry(ch *channel, l *losses, until time.Duration) {
	if l.due != 0 && l.due <= until {
		return
	}
	l.due = until
	wait := until - h.registry.now()
	if l.timer != nil {
		l.timer.Reset(wait)
		return
	}
	l.timer = time.AfterFunc(wait, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if ch.overlay != nil && ch.overlay.losses == l { // otherwise the channel is no longer watched
			h.expireGrace(ch, l)
		}
	})
}

// expireGrace removes members and stops counting connections whose grace period has ended.
func (h *Host) expireGrace(ch *channel, l *losses) {
	now := h.registry.now()
	l.due = 0
	for len(l.members) > 0 && l.members[0].until <= now {
		h.updateMember(l.members[0].member, true, false)
	}
	if len(l.members) > 0 {
		h.scheduleExpiry(ch, l, l.members[0].until)
	}
	running := l.batches[:0]
	for _, b := range l.batches {
		if b.until <= now {
			l.conns -= b.conns
			continue
		}
		running = append(running, b)
		h.scheduleExpiry(ch, l, b.until)
	}
	l.batches = running
	if l.due == 0 {
		ch.overlay.losses = nil
	}
	h.scheduleFlush(ch)
}
