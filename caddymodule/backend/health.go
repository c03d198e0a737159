package backend

import (
	"time"

	"go.uber.org/zap"
)

// health is how the backend of a host does. The lock of its queue guards it.
//
// A failure makes its own lane wait. When so many lanes have failed, and none succeeded, that it is rather the backend
// than a message, one attempt at a time is made, after a pause, until one succeeds.
type health struct {
	epoch  uint64    // from 1; grows each time that failures end
	failed int       // lanes that failed since the last success
	since  time.Time // when the first of them did
	pauses int       // since the last success
	paused time.Time // until when nothing is tried
	asked  time.Time // the same, because the backend asked for it
	warned bool
}

const (
	// warnAfter is how long a backend may fail before a line is logged.
	warnAfter = 2 * time.Second

	// outage is how long nothing must have succeeded for the first success to mean that all is well again.
	outage = 5 * time.Second
)

// allowed returns how many attempts may be under way, and for how long none may begin.
func (h *health) allowed(now time.Time) (parallel int, pausing time.Duration) {
	parallel = maxParallel
	if h.failed >= maxParallel {
		parallel = 1
	}
	return parallel, max(h.paused.Sub(now), h.asked.Sub(now))
}

// fail takes a failure into account. The epochs of lanes tell those that have failed already from others. It reports
// whether it is time to warn.
func (h *health) fail(l *lane, o outcome, now time.Time) (warn bool) {
	if h.failed == 0 {
		h.since = now
	}
	if l.failedIn != h.epoch {
		h.failed++
	}
	l.failedIn = h.epoch
	if o.after > 0 {
		h.asked = now.Add(o.after)
	}
	if h.failed >= maxParallel && !now.Before(h.paused) { // what began before a pause does not make it longer
		h.pauses++
		h.paused = now.Add(pause(h.pauses))
	}
	if h.warned || now.Sub(h.since) < warnAfter {
		return false
	}
	h.warned = true
	return true
}

// succeed takes a success into account. It returns how long nothing had succeeded, and whether that was warned of.
func (h *health) succeed(now time.Time) (down time.Duration, warned bool) {
	if h.failed == 0 {
		return 0, false
	}
	down, warned = now.Sub(h.since), h.warned
	*h = health{epoch: h.epoch + 1, asked: h.asked}
	return down, warned
}

// fields say in a log line how an attempt went.
func (o outcome) fields() []zap.Field {
	return []zap.Field{zap.String("reason", string(o.why)), zap.Int("status", o.status), zap.Error(o.err)}
}
