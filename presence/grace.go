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

// graceHeap holds the lost members of a channel. The member whose grace period ends first is at
// index 0.
type graceHeap []*memberOverlay

// Len implements [heap.Interface].
func (g graceHeap) Len() int { return len(g) }

// Less implements [heap.Interface].
func (g graceHeap) Less(i, j int) bool { return g[i].until < g[j].until }

// Swap implements [heap.Interface].
func (g graceHeap) Swap(i, j int) {
	g[i], g[j] = g[j], g[i]
	g[i].graceIndex, g[j].graceIndex = int32(i), int32(j)
}

// Push implements [heap.Interface].
func (g *graceHeap) Push(x any) {
	t := x.(*memberOverlay)
	t.graceIndex = int32(len(*g))
	*g = append(*g, t)
}

// Pop implements [heap.Interface].
func (g *graceHeap) Pop() any {
	last := len(*g) - 1
	t := (*g)[last]
	(*g)[last] = nil
	*g = (*g)[:last]
	t.graceIndex = -1
	return t
}

func (g *graceHeap) remove(t *memberOverlay) { heap.Remove(g, int(t.graceIndex)) }

// now returns the time since the registry was created. Grace periods use it because it is monotonic
// and smaller than a time.Time.
func (r *Registry) now() time.Duration { return time.Since(r.epoch) }

// startGrace keeps m visible until its grace period ends, if watchers have seen it.
func (h *Host) startGrace(m *member) {
	ch := m.channel
	grace := h.rules().Grace
	if grace <= 0 || !m.counted || len(ch.watchers) == 0 {
		return
	}
	t := m.ensureOverlay()
	t.until = h.registry.now() + grace
	heap.Push(&ch.ensureOverlay().inGrace, t)
	h.scheduleExpiry(ch, t.until)
}

// holdLost keeps counting n lost connections until their grace period ends, if ch lists no users.
func (h *Host) holdLost(ch *channel, n int) {
	grace := h.rules().Grace
	if grace <= 0 || n <= 0 || len(ch.watchers) == 0 || ch.class.Kind == Authenticated {
		return
	}
	o := ch.ensureOverlay()
	until := h.registry.now() + grace
	o.lostConns += n
	if i := len(o.lossBatches) - 1; i >= 0 {
		newest := &o.lossBatches[i]
		if until >= newest.until && until-newest.until < lossWindow {
			newest.conns += n
			return
		}
	}
	o.lossBatches = append(o.lossBatches, lossBatch{until, n})
	h.scheduleExpiry(ch, until)
}

// replaceLost makes n new connections replace lost ones that still count, the oldest first.
func (ch *channel) replaceLost(n int) {
	o := ch.overlay
	if o == nil {
		return
	}
	for n > 0 && len(o.lossBatches) > 0 {
		oldest := &o.lossBatches[0]
		replaced := min(n, oldest.conns)
		n -= replaced
		o.lostConns -= replaced
		if oldest.conns -= replaced; oldest.conns == 0 {
			o.lossBatches = o.lossBatches[1:]
		}
	}
}

// scheduleExpiry makes the channel's timer fire at until, unless it fires earlier.
func (h *Host) scheduleExpiry(ch *channel, until time.Duration) {
	o := ch.overlay
	if o.due != 0 && o.due <= until {
		return
	}
	o.due = until
	wait := until - h.registry.now()
	if o.timer != nil {
		o.timer.Reset(wait)
		return
	}
	o.timer = time.AfterFunc(wait, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if ch.overlay == o { // otherwise the channel is no longer watched
			h.expireGrace(ch)
		}
	})
}

// stopTimer stops the expiry timer. The overlay must not be used afterwards.
func (o *overlay) stopTimer() {
	if o.timer != nil {
		o.timer.Stop()
	}
}

// expireGrace removes members and stops counting connections whose grace period has ended.
func (h *Host) expireGrace(ch *channel) {
	o, now := ch.overlay, h.registry.now()
	o.due = 0
	for len(o.inGrace) > 0 && o.inGrace[0].until <= now {
		h.updateMember(o.inGrace[0].member, true, false)
	}
	if len(o.inGrace) > 0 {
		h.scheduleExpiry(ch, o.inGrace[0].until)
	}
	running := o.lossBatches[:0]
	for _, b := range o.lossBatches {
		if b.until <= now {
			o.lostConns -= b.conns
			continue
		}
		running = append(running, b)
		h.scheduleExpiry(ch, b.until)
	}
	o.lossBatches = running
	h.scheduleFlush(ch)
}
