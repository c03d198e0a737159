package membership

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// tenure is when the name of a pod is heard or missing: from since on, except for the time from
// left to back. Both are zero if it was never away. Of the times at which it was away, only the
// last one is known: before the one before, it counts as never heard.
type tenure struct{ since, left, back time.Time }

// resume returns the tenure of a pod that is back after it was away since left.
func (t tenure) resume(left, back time.Time) tenure {
	if !t.left.IsZero() {
		t.since = t.back
	}
	if t.left, t.back = left, back; back.Before(left) {
		t.left = back // the goodbye came late
	}
	return t
}

// tenureOf returns the tenure of a new run, which continues that of earlier runs.
func (m *Members) tenureOf(p link.Peer, namesakes []link.Peer, now time.Time) tenure {
	if l := m.lost[nameOf(p)]; l != nil {
		return l.tenure
	}
	if len(namesakes) > 0 {
		return m.pods[namesakes[0]].tenure
	}
	var last ending
	for _, other := range m.named[nameOf(p)] {
		if end, ok := m.ended[other]; ok && !end.at.Before(last.at) {
			last = end
		}
	}
	if last.at.IsZero() {
		return tenure{since: now}
	}
	return last.tenureBack(now)
}

// begin makes the tenure of a pod begin when the pod says that it has started after a goodbye,
// unless this pod has heard that goodbye.
func (t *tenure) begin(told message.Tenure, now time.Time) {
	since := tenureIn(told, now).since
	if heard := !t.left.IsZero() && !since.Before(t.left) && !since.After(t.back); !heard && since.After(t.since) {
		*t = tenure{since: since}
	}
}

// saved returns the tenure for the file. A time that is not known is long ago: the pod counts
// always.
func (t tenure) saved(now time.Time) message.Tenure {
	age := func(at time.Time) uint64 {
		if at.IsZero() {
			return 0
		}
		return max(1, ageOf(now.Sub(at)))
	}
	return message.Tenure{Since: age(t.since), Left: age(t.left), Back: age(t.back)}
}

// tenureIn returns the tenure in a file.
func tenureIn(saved message.Tenure, now time.Time) tenure {
	at := func(age uint64) time.Time {
		if age == 0 {
			return time.Time{}
		}
		return timeBefore(now, age)
	}
	return tenure{since: at(saved.Since), left: at(saved.Left), back: at(saved.Back)}
}
