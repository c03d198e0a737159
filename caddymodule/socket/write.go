package socket

import (
	"errors"
	"os"
	"sync"
	"time"
)

// joinLimit is how many bytes of small frames are copied together for one write. A larger frame is written by itself.
const joinLimit = 32 << 10

var joined = sync.Pool{New: func() any { b := make([]byte, 0, joinLimit); return &b }}

// write empties the queue, then ends. At most one runs for a connection.
func (c *Conn) write() {
	inFlight := 0
	for {
		c.mu.Lock()
		c.queued -= inFlight
		batch := c.queue
		if len(batch) == 0 {
			c.writing = false
			last := c.readerDone
			c.mu.Unlock()
			if last {
				c.shut()
			}
			return
		}
		c.queue, inFlight = nil, c.queued
		if !c.closing {
			_ = c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
		}
		c.mu.Unlock()

		if err := c.writeAll(batch); err != nil {
			c.writeFailed(err)
		}
	}
}

// writeAll writes the frames in as few writes as copying pays for.
func (c *Conn) writeAll(batch [][]byte) error {
	if len(batch) == 1 {
		return c.writeBytes(batch[0], 1)
	}
	buf, _ := joined.Get().(*[]byte)
	defer joined.Put(buf)
	b, frames := (*buf)[:0], 0
	for i, frame := range batch {
		if len(b) > 0 && len(b)+len(frame) > joinLimit {
			if err := c.writeBytes(b, frames); err != nil {
				return err
			}
			b, frames = b[:0], 0
		}
		if len(frame) > joinLimit {
			if err := c.writeBytes(frame, 1); err != nil {
				return err
			}
			continue
		}
		b = append(b, frame...)
		frames++
		batch[i] = nil
	}
	if frames == 0 {
		return nil
	}
	return c.writeBytes(b, frames)
}

func (c *Conn) writeBytes(b []byte, frames int) error {
	n, err := c.nc.Write(b)
	c.counters.BytesOut.Add(uint64(n))
	if err == nil {
		c.counters.FramesOut.Add(uint64(frames))
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
	c.queue = nil
	if !c.closing {
		c.closing, c.cause = true, cause
	}
	c.mu.Unlock()
	c.Kill() // the read loop ends
}
