package presence

import (
	"container/heap"
	"time"
)

// tokenStep is how close in time connections are lost that one token stands for.
const tokenStep = 10 * time.Millisecond

// token stands for lost connections that still count.
type token struct {
	until time.Duration // by Registry.now
	conns int
}

// absences are the lost members of a channel, as a heap: the first is the one whose grace ends
// first.
type absences []*trace

// Len, Less, Swap, Push and Pop implement [heap.Interface].
func (a absences) Len() int { return len(a) }

// Less see Len.
func (a absences) Less(i, j int) bool { return a[i].until < a[j].until }

// Swap see Len.
func (a absences) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].place, a[j].place = i, j
}

// Push see Len.
func (a *absences) Push(x any) {
	t := x.(*trace)
	t.place = len(*a)
	*a = append(*a, t)
}

// Pop see Len.
func (a *absences) Pop() any {
	last := len(*a) - 1
	t := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	t.place = -1
	return t
}

func (a *absences) remove(t *trace) { heap.Remove(a, t.place) }

// now is the time since the registry was made. It is what graces are kept in: monotonic, and
// smaller than a time.Time.
func (r *Registry) now() time.Duration { return time.Since(r.epoch) }

// miss keeps a lost member there for the grace, if watchers know of it.
func (h *Host) miss(m *member) {
	ch := m.channel
	if h.rules.Grace <= 0 || !m.told || len(ch.watchers) == 0 {
		return
	}
	t := m.traced()
	t.until = h.registry.now() + h.rules.Grace
	heap.Push(&ch.extra().absent, t)
	h.arm(ch, t.until)
}

// hold has lost connections of a channel without users count on for the grace.
func (h *Host) hold(ch *channel, conns int) {
	if h.rules.Grace <= 0 || conns <= 0 || len(ch.watchers) == 0 || ch.class.Kind == Authenticated {
		return
	}
	o := ch.extra()
	until := h.registry.now() + h.rules.Grace
	o.held += conns
	if last := len(o.tokens) - 1; last >= 0 && until >= o.tokens[last].until && until-o.tokens[last].until < tokenStep {
		o.tokens[last].conns += conns
		return
	}
	o.tokens = append(o.tokens, token{until, conns})
	h.arm(ch, until)
}

// redeem has connections that came take the place of those that were lost, the oldest first.
func (ch *channel) redeem(conns int) {
	o := ch.overlay
	if o == nil {
		return
	}
	for conns > 0 && len(o.tokens) > 0 {
		n := min(conns, o.tokens[0].conns)
		conns -= n
		o.held -= n
		if o.tokens[0].conns -= n; o.tokens[0].conns == 0 {
			o.tokens = o.tokens[1:]
		}
	}
}

// arm has the channel's timer fire at the given time, if not before.
func (h *Host) arm(ch *channel, until time.Duration) {
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
			h.expire(ch)
		}
	})
}

// stop ends the timer for good.
func (o *overlay) stop() {
	if o.timer != nil {
		o.timer.Stop()
	}
}

// expire ends what graces are over.
func (h *Host) expire(ch *channel) {
	o, now := ch.overlay, h.registry.now()
	o.due = 0
	for len(o.absent) > 0 && o.absent[0].until <= now {
		h.follow(o.absent[0].member, true, false)
	}
	if len(o.absent) > 0 {
		h.arm(ch, o.absent[0].until)
	}
	left := o.tokens[:0]
	for _, t := range o.tokens {
		if t.until <= now {
			o.held -= t.conns
			continue
		}
		left = append(left, t)
		h.arm(ch, t.until)
	}
	o.tokens = left
	h.changed(ch)
}
