package backend

import (
	"time"

	"go.uber.org/zap"
)

const (
	// maxRefusals is how many answers have to say that a message is wrong before it is given up.
	maxRefusals = 5

	// stuckAfter is the failed attempt at a message that is logged.
	stuckAfter = 10
)

// attempt tries to deliver the next message of a lane. It is a goroutine of the [Courier], and ends with the timeout of
// the endpoint at the latest.
func (q *queue) attempt(l *lane, to *Endpoint) {
	defer q.courier.end()
	q.mu.Lock()
	l.fresh = false
	from, attempt, refusals := l.next, l.attempts+1, l.refusals+1
	q.mu.Unlock()

	number, record, err := q.courier.store.first(q.host, l.channel, from)
	switch {
	case err != nil:
		q.courier.diskFailed(err)
		q.retry(l, "", outcome{why: ReasonDisk, err: err})
		return
	case record == nil:
		q.emptied(l)
		return
	}
	r := removal{queue: q, lane: l, channel: l.channel, number: number, size: len(record)}
	id, body, err := decodeRecord(record)
	if err == nil && !belongs(body, id, q.host) {
		err = errForeign
	}
	if err != nil {
		q.give(r, id, outcome{why: ReasonDamaged, err: err})
		return
	}
	o := post(q.courier.ctx, q.courier.client, to, id, body, attempt)
	switch {
	case o.why == "":
		q.delivered(r)
	case q.courier.ctx.Err() != nil:
		q.done(l, time.Now()) // it was cut at the end of the process
	case o.final && refusals >= maxRefusals:
		q.courier.observer.Failed(q.host, o.why)
		q.give(r, id, o)
	default:
		q.retry(l, id, o)
	}
}

// delivered goes on with the next message after a success.
func (q *queue) delivered(r removal) {
	q.courier.observer.Delivered(q.host)
	q.mu.Lock()
	down, warned := q.succeed(time.Now())
	if down >= outage {
		q.hurry()
	}
	waiting := q.count
	q.mu.Unlock()
	if warned {
		q.courier.logger.Info("backend takes copies again",
			zap.Stringer("host", q.host), zap.Duration("duration", down), zap.Int("waiting", waiting))
	}
	q.finish(r)
}

// give gives a message up.
func (q *queue) give(r removal, id string, o outcome) {
	q.courier.observer.Dropped(q.host, o.why)
	q.courier.logger.Error("copy given up", append(o.fields(), zap.Stringer("host", q.host), zap.String("id", id))...)
	q.finish(r)
}

// finish has a message removed and goes on with the next one.
func (q *queue) finish(r removal) {
	q.mu.Lock()
	r.lane.next, r.lane.attempts, r.lane.refusals = r.number+1, 0, 0
	r.lane.removing++
	q.mu.Unlock()
	q.courier.committer.remove(r)
	q.done(r.lane, time.Now())
}

// done ends an attempt: the lane is due for the next one.
func (q *queue) done(l *lane, due time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.busy--
	q.push(l, due)
	q.kick()
}

// emptied ends an attempt that had nothing to deliver.
func (q *queue) emptied(l *lane) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.busy--
	if l.fresh {
		q.push(l, time.Now()) // it was added just after the disk was looked at
	} else {
		l.state = laneIdle
		q.drop(l)
	}
	q.kick()
}

// retry ends an attempt that failed: the same message is due later.
func (q *queue) retry(l *lane, id string, o outcome) {
	q.courier.observer.Failed(q.host, o.why)
	now := time.Now()
	q.mu.Lock()
	l.attempts++
	if o.final {
		l.refusals++
	}
	attempts, waiting := l.attempts, q.count
	warn := !o.final && o.why != ReasonDisk && q.fail(l, o, now)
	q.mu.Unlock()
	if warn {
		q.courier.logger.Warn("backend does not take copies, they wait",
			append(o.fields(), zap.Stringer("host", q.host), zap.Int("waiting", waiting))...)
	}
	if attempts == stuckAfter {
		q.courier.logger.Warn("copy not delivered, trying on",
			append(o.fields(), zap.Stringer("host", q.host), zap.String("id", id), zap.Int("attempts", attempts))...)
	}
	q.done(l, now.Add(max(pause(attempts), o.after)))
}
