package socket

import (
	"errors"
	"os"
	"sync"
	"time"
)

// joined holds the buffers of those who write. A connection that has nothing to write has none.
var joined = sync.Pool{New: func() any { b := make([]byte, 0, joinLimit); return &b }}

// schedule has the queue written soon, by somebody else: the caller has locks.
func (c *Conn) schedule() {
	if c.plain {
		c.loop.add(c)
		return
	}
	go c.write(piece{}, batch{})
}

// Flush writes what is queued, as far as the kernel takes it at once; what it does not take, a goroutine writes. It is called
// by the one who was told to by [Conn.Queue].
func (c *Conn) Flush() {
	if !c.plain {
		go c.write(piece{}, batch{}) // TLS waits for the kernel
		return
	}
	buf, _ := joined.Get().(*[]byte)
	if c.flush(*buf) {
		joined.Put(buf)
	}
}

// flushRounds is how often the queue is emptied before it is somebody else's turn.
const flushRounds = 8

// flush is Flush with a buffer. It returns false when somebody else has that now.
func (c *Conn) flush(buf []byte) bool {
	done := 0
	for round := 0; ; round++ {
		if round == flushRounds {
			c.written(done)
			c.loop.add(c)
			return true
		}
		b, ok, last := c.takeQueue(done)
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

// write empties the queue and waits for the kernel where it must, first with what somebody else began. Then it ends. At most
// one writes for a connection.
func (c *Conn) write(p piece, b batch) {
	buf, _ := joined.Get().(*[]byte)
	defer joined.Put(buf)
	for {
		for ; p.b != nil; p = b.next(*buf) {
			if err := c.writeBytes(p); err != nil {
				c.writeFailed(err)
				break
			}
		}
		var ok, last bool
		b, ok, last = c.takeQueue(b.charged)
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
	if !c.closing {
		_ = c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
	}
	c.mu.Unlock()
	n, err := c.nc.Write(p.b)
	c.counters.BytesOut.Add(uint64(n))
	if err == nil {
		c.counters.FramesOut.Add(uint64(p.frames))
	}
	return err
}

// writeFailed gives the connection up: the peer did not take what was written, or is gone.
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
