package socket

// Push queues a whole frame, as [Text] built it, for the peer. It never blocks. After a close has begun the
// frame is dropped; a frame that does not fit closes the connection with CloseSlow.
func (c *Conn) Push(frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queueLocked(piece{frame, 1}) {
		c.schedule()
	}
}

// Queue queues whole frames, n of them in one piece, like [Conn.Push], and leaves writing to [Conn.Flush]. It reports whether
// the caller is to call that: otherwise somebody is about to write already.
func (c *Conn) Queue(frames []byte, n int) (flush bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queueLocked(piece{frames, n})
}

// Hold has what is queued wait until the caller calls [Conn.Flush], which it owes if Hold returns true: an answer that is about
// to come is then written by the one who asked, and not by another goroutine.
func (c *Conn) Hold() (flush bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writing || !c.plain {
		return false
	}
	c.writing = true
	return true
}

// queueLocked reports whether the caller is to see to it that the queue is written.
func (c *Conn) queueLocked(p piece) (flush bool) {
	if c.closing {
		return false
	}
	limit := c.handler.Limits().Queue
	n := charge(len(p.b), limit)
	if c.queued+n > limit {
		// What waits would come too late, and the peer has to be told soon.
		c.first, c.more = piece{}, nil
		c.closeLocked(CloseSlow, "too slow", Cause{Reason: ReasonSlow, Code: CloseSlow})
		return false
	}
	return c.enqueue(p, n)
}

// charge is how many bytes of the queue a frame takes. One that is larger than half of the queue, a snapshot of a very
// large channel, takes half: it has to be deliverable, and diffs have to find room behind it.
func charge(size, limit int) int { return min(size, limit/2) }

// enqueue adds to the queue. It reports whether nobody is about to write it.
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

// batch is what was taken from the queue to be written.
type batch struct {
	first   piece
	more    []piece
	charged int
}

// takeQueue takes all that is queued, done being what was taken before and is written now. When nothing is queued, ok is
// false and the caller no longer writes; last tells that nobody reads either, so that the caller is to close.
func (c *Conn) takeQueue(done int) (b batch, ok, last bool) {
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

// written tells that what was taken is written.
func (c *Conn) written(done int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queued -= done
}

// joinLimit is how many bytes of small frames are copied together for one write. A larger frame is written by itself.
const joinLimit = 32 << 10

// next takes from the batch what goes out in one write: a piece as it is, or several small ones, copied together into
// the buffer. It returns none when the batch is empty.
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
