package socket

import (
	"errors"
	"os"
	"sync"
	"time"
)

// joinBuffers holds the buffers of writers. A connection with nothing to write has none.
var joinBuffers = sync.Pool{New: func() any { b := make([]byte, 0, joinLimit); return &b }}

// scheduleFlush has another goroutine write the queue: the caller may hold locks.
func (c *Conn) scheduleFlush() {
	if c.plain {
		c.loop.add(c)
		return
	}
	go c.write(piece{}, batch{})
}

// Flush writes the queue without blocking; a goroutine writes what the kernel does not accept. It
// must be called when [Conn.Queue] or [Conn.Hold] says so, and only then.
func (c *Conn) Flush() {
	if !c.plain {
		go c.write(piece{}, batch{}) // TLS waits for the kernel
		return
	}
	buf, _ := joinBuffers.Get().(*[]byte)
	if c.flush(*buf) {
		joinBuffers.Put(buf)
	}
}

// flushRounds is how many times flush empties the queue before it yields to other connections.
const flushRounds = 8

// flush is Flush with a buffer. It returns false if another goroutine now uses the buffer.
func (c *Conn) flush(buf []byte) bool {
	done := 0
	for round := 0; ; round++ {
		if round == flushRounds {
			c.releaseQueued(done)
			c.loop.add(c)
			return true
		}
		b, ok, last := c.popQueue(done)
		if last {
			c.shut()
		}
		if !ok {
			return true
		}
		done = b.charged
		for p := b.next(buf); p.b != nil; p = b.next(buf) {
			n, err := writeNow(c.fd, p.b)
			c.counters.BytesOut.Add(uint64(n))
			if err != nil {
				c.writeFailed(err)
				break
			}
			if n < len(p.b) {
				p.b = p.b[n:]
				go c.write(p, b)
				return false
			}
			c.counters.FramesOut.Add(uint64(p.frames))
		}
	}
}

// write empties the queue, after a piece and a batch that flush left, and blocks where it must.
// Then it ends. A connection has at most one writer.
func (c *Conn) write(p piece, b batch) {
	buf, _ := joinBuffers.Get().(*[]byte)
	defer joinBuffers.Put(buf)
	for {
		for ; p.b != nil; p = b.next(*buf) {
			if err := c.writeBytes(p); err != nil {
				c.writeFailed(err)
				break
			}
		}
		var ok, last bool
		b, ok, last = c.popQueue(b.charged)
		if last {
			c.shut()
		}
		if !ok {
			return
		}
		p = b.next(*buf)
	}
}

func (c *Conn) writeBytes(p piece) error {
	c.mu.Lock()
	nc := c.attach()
	if !c.closing {
		_ = nc.SetWriteDeadline(time.Now().Add(writeTimeout))
	}
	c.mu.Unlock()
	n, err := nc.Write(p.b)
	c.counters.BytesOut.Add(uint64(n))
	if err == nil {
		c.counters.FramesOut.Add(uint64(p.frames))
	}
	return err
}

// writeFailed ends the connection after an error: the peer reads too slowly, or is gone.
func (c *Conn) writeFailed(err error) {
	cause := Cause{Reason: ReasonReset}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		cause = Cause{Reason: ReasonSlow}
	}
	c.mu.Lock()
	c.first, c.more = piece{}, nil
	c.mu.Unlock()
	c.kill(cause) // reading ends
}
