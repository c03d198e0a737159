package socket

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
	"unicode/utf8"
)

// readBuffers holds buffers for what is read. A connection has one while there is something to read.
var readBuffers = sync.Pool{New: func() any { b := make([]byte, readBuffer); return &b }}

// readBuffer is how many bytes one read takes at most. Frames from browsers are small, and many may have come.
const readBuffer = 8 << 10

// blockingBuffer is the same for a connection that is not parked, which has its buffer for life.
const blockingBuffer = 512

// read is the goroutine of a connection that has something to read, or cannot be parked. It ends when the connection is
// parked or over. At most one runs for a connection.
func (c *Conn) read() {
	if c.way == wayBlocking {
		c.readAll(make([]byte, blockingBuffer))
		c.finish()
		return
	}
	for {
		buf, _ := readBuffers.Get().(*[]byte)
		why := c.readAll(*buf)
		readBuffers.Put(buf)
		switch {
		case why == stopParked:
			return
		case why == stopEnded || !c.readNext():
			c.finish()
			return
		}
	}
}

// stop is why readAll returns.
type stop uint8

const (
	stopParked  stop = iota // the connection belongs to whoever wakes it
	stopEnded               // nothing more is to be read
	stopRefused             // there is nothing to read now, and the connection could not be parked
)

// readAll reads until the connection is parked or ended, or there is nothing to read and it cannot be parked.
func (c *Conn) readAll(buf []byte) stop {
	if early := c.early; early != nil {
		c.early = nil
		if !c.take(early) {
			return stopEnded
		}
	}
	for {
		n, err := c.fill(buf)
		if n > 0 && !c.take(buf[:n]) {
			return stopEnded
		}
		switch {
		case err == nil:
			// A read that was not filled has most likely taken all. If not, the kernel says so at once.
			if n < len(buf) && c.way == wayPlain && c.park() {
				return stopParked
			}
		case errors.Is(err, errNothing):
			if c.park() {
				return stopParked
			}
			if c.refused {
				return stopRefused
			}
		default:
			c.broken(err)
			return stopEnded
		}
	}
}

// readNext waits for what comes next to a connection that could not be parked. It returns false when nothing more is to be
// read, otherwise parking is tried again: a peer sends a pong for each ping at least.
func (c *Conn) readNext() bool {
	buf := make([]byte, blockingBuffer)
	c.setReadDeadline(time.Time{})
	n, err := c.nc.Read(buf)
	if n > 0 && !c.take(buf[:n]) {
		return false
	}
	if err != nil {
		c.broken(err)
	}
	return err == nil
}

// take takes apart what was read, and hands on what is whole. It returns false when nothing more is to be read. What is in p
// is changed.
func (c *Conn) take(p []byte) bool {
	limit := c.handler.Limits().Frame
	own := false // p is what is kept of a frame
	if f := c.partial; f != nil {
		n := min(f.skip, uint64(len(p)))
		f.skip -= n
		p = p[n:]
		f.spent += int64(len(p))
		// In fragments of one byte each, a message takes seven times its size. Fragments without any content would never
		// reach the limit on messages.
		if f.kind != 0 && f.spent > 8*limit+readBuffer {
			c.tooLarge()
			return false
		}
		if len(f.rest) > 0 {
			f.rest = append(f.rest, p...)
			p, f.rest, own = f.rest, nil, true
		}
	}
	for len(p) > 0 {
		h, wrong, ok := parseHeader(p)
		if wrong == "" && ok {
			wrong = c.check(h)
		}
		switch {
		case wrong != "":
			return c.violated(CloseProtocol, wrong)
		case ok && h.opcode < opClose && h.size > uint64(max(0, limit-c.collected())):
			c.tooLarge()
			p, own = c.skip(h, p[h.length:]), false
			continue
		case !ok || uint64(len(p))-h.length < h.size:
			if !c.keep(p, own) && ok {
				c.skip(h, p[h.length:])
			}
			return true
		}
		payload := p[h.length : h.length+h.size]
		p, own = p[h.length+h.size:], false
		unmask(payload, h.mask)
		if !c.frame(h, payload) {
			return false
		}
		if f := c.partial; f != nil && f.kind == 0 {
			f.stop() // what follows is another message
		}
	}
	if f := c.partial; f != nil && f.kind == 0 && f.skip == 0 {
		c.discard()
	}
	return true
}

// skip passes over a payload that is too large, of which p has come, and returns what is behind it. Were the connection closed
// with bytes unread, the kernel would reset it, and a peer that is sending would not learn why.
func (c *Conn) skip(h frameHeader, p []byte) []byte {
	n := min(h.size, uint64(len(p)))
	c.discard()
	c.partial = &fragments{skip: h.size - n}
	if !h.final {
		c.partial.kind = opBinary // delivered to nobody
	}
	return p[n:]
}

// check holds a frame against the one before it (RFC 6455 section 5.4).
func (c *Conn) check(h frameHeader) (wrong string) {
	begun := c.partial != nil && c.partial.kind != 0
	switch {
	case h.opcode == opContinuation && !begun:
		return "a continuation of nothing"
	case (h.opcode == opText || h.opcode == opBinary) && begun:
		return "a message within another"
	}
	return ""
}

// frame carries out a whole frame. It returns false when nothing more is to be read.
func (c *Conn) frame(h frameHeader, payload []byte) bool {
	switch h.opcode {
	case opText, opBinary:
		if !h.final {
			f := c.fragmented()
			f.kind, f.spent = h.opcode, 0
			c.collect(f, payload)
			return true
		}
		return c.message(h.opcode == opText, payload)
	case opContinuation:
		f := c.partial
		if !h.final {
			c.collect(f, payload)
			return true
		}
		c.discard()
		return c.message(f.kind == opText, append(f.message, payload...))
	case opPing:
		c.sign()
		c.control()
		c.Push(pongFrame(payload))
	case opPong:
		c.sign()
		if !c.asked.Swap(false) {
			c.control()
		}
	case opClose:
		code, wrong := parseClose(payload)
		if wrong != "" {
			return c.violated(code, wrong)
		}
		c.close(code, "", Cause{Reason: ReasonClient, Code: code})
		return false
	}
	return true
}

// message handles a whole message. It returns false when nothing more is to be read.
func (c *Conn) message(text bool, p []byte) bool {
	if text && !utf8.Valid(p) {
		return c.violated(CloseNotUTF8, "a text message is not UTF-8")
	}
	c.sign()
	c.deliver(text, p)
	return true
}

// violated ends a connection whose peer does not keep to RFC 6455, and returns false.
func (c *Conn) violated(code int, wrong string) bool {
	c.close(code, wrong, Cause{Reason: ReasonProtocol, Code: code})
	return false
}

// tooLarge closes a connection whose peer sends more than it may.
func (c *Conn) tooLarge() {
	c.close(CloseTooLarge, "the message is too large", Cause{Reason: ReasonTooLarge, Code: CloseTooLarge})
}

// deliver hands a message on; a panic ends this connection and nothing else.
func (c *Conn) deliver(text bool, p []byte) {
	c.mu.Lock()
	closing := c.closing
	c.mu.Unlock()
	if closing {
		return // only the peer's close frame is waited for
	}
	defer c.recovered()
	c.counters.FramesIn.Add(1)
	c.counters.BytesIn.Add(uint64(len(p)))
	c.handler.Message(text, p)
}

// control tells the handler of a control frame.
func (c *Conn) control() {
	defer c.recovered()
	c.handler.Control()
}

// recovered is deferred around what the handler does.
func (c *Conn) recovered() {
	if v := recover(); v != nil {
		c.handler.Panicked(v)
		c.Close(CloseInternal, "internal error", Cause{Reason: ReasonPanic})
	}
}

// broken notes why reading ended, unless a close had begun, which is then the cause.
func (c *Conn) broken(err error) {
	cause := Cause{Reason: ReasonReset}
	var network net.Error
	if !errors.Is(err, io.EOF) && errors.As(err, &network) && network.Timeout() {
		cause = Cause{Reason: ReasonSilent}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		c.closing, c.cause = true, cause
	}
}

// finish lets the writer send what is queued, an answer to the peer's close frame above all, then closes.
func (c *Conn) finish() {
	c.end()
	c.discard()
	c.mu.Lock()
	_ = c.nc.SetWriteDeadline(time.Now().Add(closeTimeout))
	c.readerDone = true
	writing := c.writing
	c.mu.Unlock()
	if !writing { // otherwise the writer closes when it is done
		c.shut()
	}
}

// shut closes the network connection, once. TLS waits up to 5 s for a peer to take its alert.
func (c *Conn) shut() {
	if c.loop != nil {
		c.loop.forget(c)
	}
	_ = c.nc.Close()
	c.counters.Open.Add(-1)
}
