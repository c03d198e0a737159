package replication

import (
	"cmp"
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// A check or its answer can be lost. Above all, a pod ignores the checks of a pod that it does not
// know yet, or has counted as lost. So checks are repeated until they are answered, for
// Timing.Check. Then the gap of the shard that is still open makes a new one.
const (
	// repeatWait is the minimum time between two looks for checks to repeat.
	repeatWait = 50 * time.Millisecond
	// maxRepeats limits the repetitions that one pod has not answered within Timing.Repeat, as
	// approximate memory in bytes: about a thousand checks of few channels.
	maxRepeats = 256 << 10
)

func (r *Replicator) scheduleRepeat(at time.Time) {
	if r.repeatAt.IsZero() || at.Before(r.repeatAt) {
		r.repeatAt = at
	}
}

// recordAnswer records that a pod is answering the check of a channel. It returns false if no check
// is in progress or about to be sent: what the answer says can have ended before the last check,
// which then found nothing that a later delta or sum would correct.
func (r *Replicator) recordAnswer(w *watch, from *pod) bool {
	if w == nil || w.replicas[from] == nil {
		return false
	}
	rep := w.replicas[from]
	c := r.checks[rep.check]
	if c != nil {
		c.heard = time.Now()
	}
	return c != nil || rep.behind
}

// lacks reports whether a delta of the answer to a check, or a part of one, was lost, and then
// makes it count as unanswered. Parts that have arrived are kept for the next answer.
func (c *check) lacks(m *message.CheckDone) bool {
	for _, a := range m.Answers {
		if a.Index >= len(c.watches) {
			return true
		}
		if rep := c.waiting(c.watches[a.Index]); rep != nil && rep.seen < a.Clock {
			c.heard = time.Now()
			return true
		}
	}
	return false
}

// repeat sends checks again that were not answered for Timing.Repeat, as many as maxRepeats allows.
func (r *Replicator) repeat(now time.Time) {
	if len(r.checks) == 0 || r.repeatAt.IsZero() || now.Before(r.repeatAt) {
		return
	}
	r.repeatAt = time.Time{}
	var silent []*check
	unanswered := make(map[*pod]int)
	for _, c := range r.checks {
		if c.to.gone {
			delete(r.checks, c.id)
		} else if due := c.heard.Add(r.timing.Repeat); now.Before(due) {
			unanswered[c.to] += c.again
			r.scheduleRepeat(due)
		} else {
			silent = append(silent, c)
		}
	}
	slices.SortFunc(silent, func(a, b *check) int { return cmp.Or(a.heard.Compare(b.heard), cmp.Compare(a.id, b.id)) })
	for _, c := range silent {
		if unanswered[c.to] < maxRepeats {
			r.sendAgain(now, c)
			unanswered[c.to] += c.again
		}
		r.scheduleRepeat(c.heard.Add(r.timing.Repeat))
	}
	if soonest := now.Add(repeatWait); r.repeatAt.Before(soonest) {
		r.repeatAt = soonest
	}
}

// sendAgain repeats a check, with the clocks of now. It ends a check of which no channel is left.
// With other channels, it is another check: an answer names them by their position.
func (r *Replicator) sendAgain(now time.Time, c *check) {
	asked := len(c.watches)
	c.watches = slices.DeleteFunc(c.watches, func(w *watch) bool { return c.waiting(w) == nil })
	if len(c.watches) == 0 {
		r.endCheck(c)
		return
	}
	m := r.questions(hostOf{c.to, c.host}, c.watches)[0]
	for _, w := range c.watches[len(m.Channels):] { // the clocks have grown too long for one payload
		r.want(w, c.to)
	}
	c.watches = c.watches[:len(m.Channels)]
	if len(c.watches) < asked {
		delete(r.checks, c.id)
		r.lastID++
		c.id = r.lastID
		r.checks[c.id] = c
		for _, w := range c.watches {
			w.replicas[c.to].check = c.id
		}
	}
	m.ID = c.id
	c.heard, c.again = now, memorySize(m)
	r.link.Send(r.link.Inbox(c.to.peer), m)
}
