package presence

import (
	"container/heap"
	"time"
)

// tokenStep is how close in time connections are lost that one token stands for.
const lossWindow = 10 * time.Millisecond

// token stands for lost connections that still count.
type lossBatch struct {
	until time.Duration // by Registry.now
	conns int
}

// absences are the lost members of a channel, as a heap: the first is the one whose grace ends
// first.
type graceHeap []*memberOverlay

// Len, Less, Swap, Push and Pop implement [heap.Interface].
func (a graceHeap) Len() int { return len(a) }

// Less see Len.
func (a graceHeap) Less(i, j int) bool { return a[i].until < a[j].until }

// Swap see Len.
func (a graceHeap) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].graceIndex, a[j].graceIndex = i, j
}

// Push see Len.
func (a *graceHeap) Push(x any) {
	t := x.(*memberOverlay)
	t.graceIndex = len(*a)
	*a = append(*a, t)
}

// Pop see Len.
func (a *graceHeap) Pop() any {
	last := len(*a) - 1
	t := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	t.graceIndex = -1
	return t
}

func (a *graceHeap) remove(t *memberOverlay) { heap.Remove(a, t.graceIndex) }

// now is the time since the registry was made. It is what graces are kept in: monotonic, and
// smaller than a time.Time.
func (r *Registry) now() time.Duration { return time.Since(r.epoch) }

// miss keeps a lost member there for the grace, if watchers know of it.
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

// hold has lost connections of a channel without users count on for the grace.
func (h *Host) holdLost(ch *channel, conns int) {
	grace := h.rules().Grace
	if grace <= 0 || conns <= 0 || len(ch.watchers) == 0 || ch.class.Kind == Authenticated {
		return
	}
	o := ch.ensureOverlay()
	until := h.registry.now() + grace
	o.lostConns += conns
	if last := len(o.lossBatches) - 1; last >= 0 && until >= o.lossBatches[last].until && until-o.lossBatches[last].until < lossWindow {
		o.lossBatches[last].conns += conns
		return
	}
	o.lossBatches = append(o.lossBatches, lossBatch{until, conns})
	h.scheduleExpiry(ch, until)
}

// redeem has connections that came take the place of those that were lost, the oldest first.
func (ch *channel) replaceLost(conns int) {
	o := ch.overlay
	if o == nil {
		return
	}
	for conns > 0 && len(o.lossBatches) > 0 {
		n := min(conns, o.lossBatches[0].conns)
		conns -= n
		o.lostConns -= n
		if o.lossBatches[0].conns -= n; o.lossBatches[0].conns == 0 {
			o.lossBatches = o.lossBatches[1:]
		}
	}
}

// arm has the channel's timer fire at the given time, if not before.
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
		if ch.overlay == o { // else nobody watches now
			h.expireGrace(ch)
		}
	})
}

// stop ends the timer for good.
func (o *overlay) stopTimer() {
	if o.timer != nil {
		o.timer.Stop()
	}
}

// expire ends what graces are over.
func (h *Host) expireGrace(ch *channel) {
	o, now := ch.overlay, h.registry.now()
	o.due = 0
	for len(o.inGrace) > 0 && o.inGrace[0].until <= now {
		h.updateMember(o.inGrace[0].member, true, false)
	}
	if len(o.inGrace) > 0 {
		h.scheduleExpiry(ch, o.inGrace[0].until)
	}
	left := o.lossBatches[:0]
	for _, t := range o.lossBatches {
		if t.until <= now {
			o.lostConns -= t.conns
			continue
		}
		left = append(left, t)
		h.scheduleExpiry(ch, t.until)
	}
	o.lossBatches = left
	h.scheduleFlush(ch)
}
