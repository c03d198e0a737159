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

// attempt tries to deliver the next batch of a lane. It is a goroutine of the [Courier], and ends
// at the latest with the timeout of the endpoint.
func (q *queue) attempt(l *lane, to *Endpoint) {
	defer q.courier.endTask()
	q.mu.Lock()
	l.hasNew = false
	from := l.next
	q.mu.Unlock()

	b, err := q.courier.store.batch(q.stream, l.channel, from, q.courier.kind.batchLimit(to))
	if err == nil && b.open {
		err = q.courier.committer.seal(q, l.channel, b.mark)
	}
	r := removal{queue: q, lane: l, channel: l.channel, mark: b.mark}
	switch {
	case err != nil:
		q.courier.diskFailed(err)
		q.retry(l, "", outcome{why: ReasonDisk, err: err})
		return
	case b.last == 0:
		q.laneEmpty(l)
		return
	case b.damage != nil:
		q.discard(r, b, outcome{why: ReasonDamaged, err: b.damage})
		return
	}
	attempt, refusals := q.countAttempt(l, b.first)
	ctx, span := q.courier.tracer.New(q.courier.ctx, "webhook")
	o := post(ctx, q.courier.client, to, b.id, q.courier.kind.write(to, b), attempt)
	span.End(q.stream.Host.String(), o.status, string(o.why))
	switch {
	case o.why == "":
		q.delivered(r, len(b.bodies))
	case q.courier.ctx.Err() != nil:
		q.done(l, time.Now()) // the process ends
	default:
		why, givenUp := to.mayGiveUp(b, o.final && refusals >= maxRefusals, time.Now())
		if !givenUp {
			q.retry(l, b.id, o)
			return
		}
		q.courier.observer.Failed(q.stream, o.why)
		o.why = why
		q.discard(r, b, o)
	}
}

// countAttempt returns which attempt at a message follows, and which refusal that would be. The
// message is another one than before if that was purged.
func (q *queue) countAttempt(l *lane, first uint64) (attempt, refusals int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.tried != first {
		l.tried, l.attempts, l.refusals = first, 0, 0
	}
	return l.attempts + 1, l.refusals + 1
}

// delivered removes a delivered batch of n messages, and schedules the next one of its lane.
func (q *queue) delivered(r removal, n int) {
	q.courier.observer.Delivered(q.stream, n)
	q.mu.Lock()
	down, warned := q.succeed(time.Now())
	if down >= outage {
		q.makeAllDue()
	}
	waiting := q.count
	q.mu.Unlock()
	if warned {
		q.courier.logger.Info(q.courier.kind.words.again,
			zap.Stringer("host", q.stream.Host), zap.Duration("duration", down), zap.Int("waiting", waiting))
	}
	q.finish(r)
}

// discard removes a batch that cannot be delivered.
func (q *queue) discard(r removal, b batch, o outcome) {
	q.courier.observer.Dropped(q.stream, o.why, max(len(b.bodies), 1))
	q.courier.logger.Error(q.courier.kind.words.givenUp,
		append(o.fields(), zap.Stringer("host", q.stream.Host), zap.String("id", b.id))...)
	q.finish(r)
	if q.courier.lost != nil {
		q.courier.lost(q.stream, r.channel)
	}
}

// finish schedules the removal of a batch, and the next one of its lane.
func (q *queue) finish(r removal) {
	q.mu.Lock()
	r.lane.next, r.lane.attempts, r.lane.refusals = r.last+1, 0, 0
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

// retry ends a failed attempt. The same batch is due again later.
func (q *queue) retry(l *lane, id string, o outcome) {
	q.courier.observer.Failed(q.stream, o.why)
	now := time.Now()
	q.mu.Lock()
	l.attempts++
	if o.final {
		l.refusals++
	}
	q.lastFailure = o.failure(now)
	attempts, waiting := l.attempts, q.count
	warn := !o.final && o.why != ReasonDisk && q.fail(l, o, now)
	q.mu.Unlock()
	if warn {
		q.courier.logger.Warn(q.courier.kind.words.waits,
			append(o.fields(), zap.Stringer("host", q.stream.Host), zap.Int("waiting", waiting))...)
	}
	if attempts == stuckAfter {
		q.courier.logger.Warn(q.courier.kind.words.stuck,
			append(o.fields(), zap.Stringer("host", q.stream.Host), zap.String("id", id), zap.Int("attempts", attempts))...)
	}
	q.done(l, now.Add(max(pause(attempts), o.after)))
}
