package authorize

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/internal/oftenlog"
	"github.com/rollcall-gateway/rollcall/presence"
)

const (
	// maxBusy is the maximum number of questions of a host under way.
	maxBusy = 64

	// maxWaiting is the maximum number of calls of Ask that wait for a host.
	maxWaiting = 16_384
)

// host is the state of one host.
type host struct {
	asker    *Asker
	name     presence.HostName
	uses     int         // guarded by Asker.mu
	sweeping *time.Timer // guarded by Asker.mu; nil before the first use has ended
	logged   oftenlog.Limit

	// mu guards the fields below and those of flights.
	mu      sync.Mutex
	kept    kept
	flights map[key]*flight // questions that are queued or under way
	queue   list.List       // of *flight: questions without a slot
	busy    int             // slots in use
	waiters int             // calls of Ask that wait
	failed  time.Time       // time of the last failure
	breaker
}

// flight is one question that is queued or under way.
type flight struct {
	key      key
	user     userHash
	to       *Endpoint
	question Question
	deadline time.Time
	waiters  int
	queued   *list.Element      // nil once it is under way
	timer    *time.Timer        // ends the wait in the queue
	cancel   context.CancelFunc // ends the request; nil while queued
	stale    bool               // forgotten while under way

	done   chan struct{} // closed when the fields below are set
	answer Answer
	err    error // nil if stale is set
}

// ask implements Asker.Ask and Asker.AskAgain.
func (h *host) ask(ctx context.Context, to *Endpoint, q Question, useKept bool) (Answer, error) {
	id := q.keyOf(to)
	deadline := time.Now().Add(to.Timeout)
	for {
		h.mu.Lock()
		if useKept {
			if a, ok := h.kept.get(id, time.Now()); ok {
				h.mu.Unlock()
				return a, nil
			}
		}
		f, err := h.board(id, to, q, deadline)
		h.mu.Unlock()
		if err != nil {
			return Answer{}, err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
		}
		h.leave(f)
		if err := ctx.Err(); err != nil {
			return Answer{}, err
		}
		if !f.stale {
			return f.answer, f.err
		}
		if !time.Now().Before(deadline) {
			return Answer{}, h.refuse(result(backend.ReasonTimeout), "what it said is no longer true")
		}
	}
}

// board returns the flight of the question, a new one if there is none, and counts the caller as
// waiting. The lock is held.
func (h *host) board(id key, to *Endpoint, q Question, deadline time.Time) (*flight, error) {
	now := time.Now()
	if h.waiters >= maxWaiting {
		return nil, h.refuse(resultFull, "too many questions wait")
	}
	f := h.flights[id]
	if f == nil {
		if !h.allows(to.URL, h.busy+h.queue.Len(), now) {
			return nil, h.refuse(resultSuspended, "the backend is down")
		}
		f = &flight{
			key: id, user: hashUser(q.User.ID), to: to, question: q, deadline: deadline, done: make(chan struct{}),
		}
		h.flights[id] = f
		if h.busy < maxBusy {
			h.start(f)
		} else {
			f.queued = h.queue.PushBack(f)
			f.timer = time.AfterFunc(deadline.Sub(now), func() { h.expire(f) }) // stopped when f leaves the queue
		}
	}
	f.waiters++
	h.waiters++
	return f, nil
}

// refuse returns the error for a question that is not asked.
func (h *host) refuse(why result, text string) error {
	h.asker.metrics.count(h.name, why)
	return fmt.Errorf("%w: %s", ErrUnavailable, text)
}

// leave ends the wait of a caller. A queued question that no caller waits for is not asked. One
// that is under way continues, and its answer is kept.
func (h *host) leave(f *flight) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f.waiters--
	h.waiters--
	if f.waiters == 0 && f.queued != nil {
		h.unqueue(f)
		delete(h.flights, f.key)
	}
}

// unqueue takes a flight out of the queue. The lock is held.
func (h *host) unqueue(f *flight) {
	f.timer.Stop()
	h.queue.Remove(f.queued)
	f.queued = nil
}

// start gives a flight a slot. The lock is held.
func (h *host) start(f *flight) {
	h.busy++
	ctx, cancel := context.WithDeadline(h.asker.ctx, f.deadline)
	f.cancel = cancel
	go h.fly(ctx, f) // ends at the deadline
}

// fly asks the backend.
func (h *host) fly(ctx context.Context, f *flight) {
	began := time.Now()
	ctx, span := h.asker.tracer.New(ctx, "authorize")
	a, status, failure := post(ctx, h.asker.client, f.to, f.question.encode())
	why := ""
	if failure != nil {
		why = string(failure.why)
	}
	span.End(h.name.String(), status, why)
	f.cancel()
	h.land(f, a, failure, began)
}

// land records the answer of a flight, and starts the next one.
func (h *host) land(f *flight, a Answer, failure *failure, began time.Time) {
	report := func() {}
	h.mu.Lock()
	h.busy--
	switch {
	case f.stale: // the answer is from before Forget, or there is none
	case failure != nil:
		h.fail(f, failure, time.Now())
		h.finish(f, Answer{}, ErrUnavailable)
		report = func() { h.logFailure(failure) }
	default:
		h.kept.put(f.key, f.user, a, f.to.Cache, time.Now())
		if down, tripped := h.succeed(f.to.URL, time.Now()); tripped {
			report = func() { h.logAnswer(down) }
		}
		h.finish(f, a, nil)
	}
	if !f.stale {
		h.asker.metrics.asked(h.name, resultOf(a, failure), time.Since(began))
	}
	for h.busy < maxBusy && h.queue.Len() > 0 {
		next := h.queue.Front().Value.(*flight) //nolint:forcetypeassert // only board adds to it
		h.unqueue(next)
		h.start(next)
	}
	h.mu.Unlock()
	report()
}

func resultOf(a Answer, f *failure) result {
	switch {
	case f != nil:
		return f.why
	case a.Allow:
		return resultAllowed
	}
	return resultDenied
}

// finish ends a flight, except for its slot. The lock is held.
func (h *host) finish(f *flight, a Answer, err error) {
	f.answer, f.err = a, err
	delete(h.flights, f.key)
	close(f.done)
}

// expire ends a flight that got no slot in time.
func (h *host) expire(f *flight) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.queued == nil {
		return
	}
	h.unqueue(f)
	h.asker.metrics.count(h.name, result(backend.ReasonTimeout))
	h.finish(f, Answer{}, fmt.Errorf("%w: too many questions are under way", ErrUnavailable))
}

// fail records a failure. The lock is held.
func (h *host) fail(f *flight, failure *failure, now time.Time) {
	h.failed = now
	if !failure.down() || !h.breaker.fail(f.to.URL, now) {
		return
	}
	for h.queue.Len() > 0 { // they would wait for a backend that is down
		waiting := h.queue.Front().Value.(*flight) //nolint:forcetypeassert // only board adds to it
		h.unqueue(waiting)
		h.finish(waiting, Answer{}, h.refuse(resultSuspended, "the backend is down"))
	}
}

// logPause is the minimum time between two log lines about failures of a host.
const logPause = 10 * time.Second

func (h *host) logFailure(failure *failure) {
	if skipped, ok := h.logged.Allow(logPause); ok {
		h.asker.logger.Warn("backend does not answer authorize, joins are refused",
			zap.Stringer("host", h.name), zap.String("reason", string(failure.why)), zap.Int("status", failure.status),
			zap.Error(failure.err), zap.Int("not_logged_before", skipped))
	}
}

func (h *host) logAnswer(down time.Duration) {
	h.asker.logger.Info("backend answers authorize again", zap.Stringer("host", h.name), zap.Duration("duration", down))
}

// isIdle reports whether nothing would be lost with the state. The breaker and the limit of log
// lines count until their pauses are over. It does not wait for the lock, because other hosts would
// wait for it, too.
func (h *host) isIdle(now time.Time) bool {
	if !h.mu.TryLock() {
		return false
	}
	defer h.mu.Unlock()
	return h.kept.len() == 0 && h.busy == 0 && h.queue.Len() == 0 && now.Sub(h.failed) > max(logPause, maxPause)
}

// forget implements Asker.Forget, and Asker.ForgetAll with nil. A queued question has not been
// asked yet, so its answer is used.
func (h *host) forget(users map[userHash]bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.kept.forget(users)
	for _, f := range h.flights {
		if (users == nil || users[f.user]) && f.queued == nil {
			f.stale = true
			f.cancel() // the same text is asked once at a time
			h.finish(f, Answer{}, nil)
		}
	}
}
