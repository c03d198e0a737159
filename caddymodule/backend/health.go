package backend

import (
	"time"

	"go.uber.org/zap"
)

// health is the state of the backend of a host. The lock of its queue guards it.
//
// A failure delays only its own lane. If many lanes fail and none succeeds, the backend is probably
// at fault rather than a message. Then only one attempt at a time is made, after a pause, until one
// succeeds.
type health struct {
	epoch       uint64    // from 1; incremented after each series of failures
	failed      int       // lanes that failed since the last success
	since       time.Time // time of the first of these failures
	pauses      int       // pauses since the last success
	pausedUntil time.Time // end of the pause
	retryAt     time.Time // end of the pause that the backend has asked for
	warned      bool      // the failures were logged
}

const (
	// warnAfter is how long a backend may fail before that is logged.
	warnAfter = 2 * time.Second

	// outage is the time without a success after which the next success makes all lanes due.
	outage = 5 * time.Second
)

// allowed returns how many attempts may be pending, and for how long none may start.
func (h *health) allowed(now time.Time) (parallel int, pausing time.Duration) {
	parallel = maxParallel
	if h.failed >= maxParallel {
		parallel = 1
	}
	return parallel, max(h.pausedUntil.Sub(now), h.retryAt.Sub(now))
}

// fail records a failure of the lane. A lane counts once in an epoch. fail reports whether it is
// time to warn.
func (h *health) fail(l *lane, o outcome, now time.Time) (warn bool) {
	if h.failed == 0 {
		h.since = now
	}
	if l.failedEpoch != h.epoch {
		h.failed++
	}
	l.failedEpoch = h.epoch
	if o.after > 0 {
		h.retryAt = now.Add(o.after)
	}
	if h.failed >= maxParallel && !now.Before(h.pausedUntil) { // attempts from before a pause do not extend it
		h.pauses++
		h.pausedUntil = now.Add(pause(h.pauses))
	}
	if h.warned || now.Sub(h.since) < warnAfter {
		return false
	}
	h.warned = true
	return true
}

// succeed records a success. It returns how long nothing had succeeded, and whether that was
// logged.
func (h *health) succeed(now time.Time) (down time.Duration, warned bool) {
	if h.failed == 0 {
		return 0, false
	}
	down, warned = now.Sub(h.since), h.warned
	*h = health{epoch: h.epoch + 1, retryAt: h.retryAt}
	return down, warned
}

// fields returns the log fields of an attempt.
func (o outcome) fields() []zap.Field {
	return []zap.Field{zap.String("reason", string(o.why)), zap.Int("status", o.status), zap.Error(o.err)}
}
