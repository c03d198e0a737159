package backend

import (
	"time"

	"go.uber.org/zap"
)

const (
	// maxRefusals is the number of answers that must call a message wrong before it is discarded.
	maxRefusals = 5

	// stuckAfter is the number of failed attempts at a message after which that is logged.
	stuckAfter = 10
)

// attempt tries to deliver the next message of a lane. It is a goroutine of the [Courier], and ends
// at the latest with the timeout of the endpoint.
func (q *queue) attempt(l *lane, to *Endpoint) {
	defer q.courier.endTask()
	q.mu.Lock()
	l.hasNew = false
	from, attempt, refusals := l.next, l.attempts+1, l.refusals+1
	q.mu.Unlock()

	number, record, err := q.courier.store.first(q.host, l.channel, from)
	switch {
	case err != nil:
		q.courier.diskFailed(err)
		q.retry(l, "", outcome{why: ReasonDisk, err: err})
		return
	case record == nil:
		q.laneEmpty(l)
		return
	}
	r := removal{queue: q, lane: l, channel: l.channel, number: number, size: len(record)}
	id, body, err := decodeRecord(record)
	if err == nil && !belongs(body, id, q.host) {
		err = errForeign
	}
	if err != nil {
		q.discard(r, id, outcome{why: ReasonDamaged, err: err})
		return
	}
	o := post(q.courier.ctx, q.courier.client, to, id, body, attempt)
	switch {
	case o.why == "":
		q.delivered(r)
	case q.courier.ctx.Err() != nil:
		q.done(l, time.Now()) // the process ends
	case o.final && refusals >= maxRefusals:
		q.courier.observer.Failed(q.host, o.why)
		q.discard(r, id, o)
	default:
		q.retry(l, id, o)
	}
}

// delivered removes a delivered message, and schedules the next one of its lane.
func (q *queue) delivered(r removal) {
	q.courier.observer.Delivered(q.host)
	q.mu.Lock()
	down, warned := q.succeed(time.Now())
	if down >= outage {
		q.makeAllDue()
	}
	waiting := q.count
	q.mu.Unlock()
	if warned {
		q.courier.logger.Info("backend takes copies again",
			zap.Stringer("host", q.host), zap.Duration("duration", down), zap.Int("waiting", waiting))
	}
	q.finish(r)
}

// discard removes a message that cannot be delivered.
func (q *queue) discard(r removal, id string, o outcome) {
	q.courier.observer.Dropped(q.host, o.why)
	q.courier.logger.Error("copy given up", append(o.fields(), zap.Stringer("host", q.host), zap.String("id", id))...)
	q.finish(r)
}

// finish schedules the removal of a message, and the next message of its lane.
func (q *queue) finish(r removal) {
	q.mu.Lock()
	r.lane.next, r.lane.attempts, r.lane.refusals = r.number+1, 0, 0
	r.lane.removing++
	q.mu.Unlock()
	q.courier.committer.remove(r)
	q.done(r.lane, time.Now())
}

// done ends an attempt. The lane is due again at the given time.
func (q *queue) done(l *lane, due time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.busy--
	q.push(l, due)
	q.wakeRun()
}

// laneEmpty ends an attempt that found nothing to deliver.
func (q *queue) laneEmpty(l *lane) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.busy--
	if l.hasNew {
		q.push(l, time.Now()) // a message was added after the disk was read
	} else {
		l.state = laneIdle
		q.drop(l)
	}
	q.wakeRun()
}

// retry ends a failed attempt. The same message is due again later.
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
