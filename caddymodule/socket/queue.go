package socket

// Push queues a whole frame that [Text] built. It never blocks. After a close has started, it drops
// the frame. A frame that does not fit closes the connection with CloseSlow.
func (c *Conn) Push(frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queueLocked(piece{frame, 1}) {
		c.scheduleFlush()
	}
}

// Queue queues n whole frames like [Conn.Push], but leaves writing to [Conn.Flush]. It reports
// whether the caller must call Flush; if not, a writer is already active.
func (c *Conn) Queue(frames []byte, n int) (flush bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queueLocked(piece{frames, n})
}

// Hold delays writing until the caller calls [Conn.Flush], which it must do if Hold returns true.
// An answer that is queued meanwhile is then written by the caller's goroutine instead of another.
func (c *Conn) Hold() (flush bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writing || c.closing || !c.plain {
		return false
	}
	c.writing = true
	return true
}

// queueLocked reports whether the caller must arrange for the queue to be written.
func (c *Conn) queueLocked(p piece) (flush bool) {
	if c.closing {
		return false
	}
	limit := c.handler.Limits().Queue
	n := charge(len(p.b), limit)
	if c.queued+n > limit {
		// Drop the queue: it would arrive too late, and delay the close frame.
		c.first, c.more = piece{}, nil
		c.closeLocked(CloseSlow, "too slow", Cause{Reason: ReasonSlow, Code: CloseSlow})
		return false
	}
	return c.enqueue(p, n)
}

// charge returns how many bytes of the queue a frame of the size counts for. A frame larger than
// half of the queue, like the snapshot of a very large channel, counts as half: it must be
// deliverable, with room for the diffs behind it.
func charge(size, limit int) int { return min(size, limit/2) }

// enqueue adds to the queue. It reports whether no writer is active.
func (c *Conn) enqueue(p piece, n int) (flush bool) {
	if c.first.b == nil {
		c.first = p
	} else {
		c.more = append(c.more, p)
	}
	c.queued += n
	flush = !c.writing
	c.writing = true
	return flush
}

// batch is a part of the queue that is being written.
type batch struct {
	first   piece
	more    []piece
	charged int
}

// popQueue takes everything out of the queue; done is the charge of the previous batch, now
// written. If the queue is empty, ok is false and the caller stops writing; then last reports
// whether the reader is done, so that the caller must close the connection.
func (c *Conn) popQueue(done int) (b batch, ok, last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queued -= done
	if c.first.b == nil {
		c.writing = false
		return batch{}, false, c.readerDone
	}
	b = batch{c.first, c.more, c.queued}
	c.first, c.more = piece{}, nil
	return b, true, false
}

// releaseQueued stops counting a batch that was written.
func (c *Conn) releaseQueued(done int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queued -= done
}

// joinLimit is the maximum size of small frames that are copied together for one write, in bytes. A
// larger frame is written alone.
const joinLimit = 32 << 10

// next removes from the batch what goes into one write: one piece as it is, or several small ones,
// copied together into buf. It returns the zero piece when the batch is empty.
func (b *batch) next(buf []byte) piece {
	p := b.first
	b.first = piece{}
	if p.b == nil {
		if len(b.more) == 0 {
			return piece{}
		}
		p, b.more = b.more[0], b.more[1:]
	}
	if len(b.more) == 0 || len(p.b)+len(b.more[0].b) > joinLimit {
		return p
	}
	joined := piece{append(buf[:0], p.b...), p.frames}
	for len(b.more) > 0 && len(joined.b)+len(b.more[0].b) <= joinLimit {
		joined.b = append(joined.b, b.more[0].b...)
		joined.frames += b.more[0].frames
		b.more[0] = piece{}
		b.more = b.more[1:]
	}
	return joined
}
