package socket

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
	"unicode/utf8"
)

// readBuffers holds read buffers. A connection has one only while there is something to read.
var readBuffers = sync.Pool{New: func() any { b := make([]byte, readBuffer); return &b }}

// readBuffer is the size of a read in bytes. Frames from browsers are small, and many may have
// arrived.
const readBuffer = 8 << 10

// blockingBuffer is the size of a read in bytes for a connection that keeps its buffer while it
// waits.
const blockingBuffer = 512

// read is the goroutine of a connection that has something to read, or cannot be parked. It ends
// when the connection is parked or over. A connection has at most one.
func (c *Conn) read() {
	if c.mode == modeBlocking {
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

// stopReason is why readAll returned.
type stopReason uint8

const (
	stopParked  stopReason = iota // the connection belongs to the goroutine that wakes it
	stopEnded                     // nothing more is to be read
	stopRefused                   // there is nothing to read, and parking failed
)

// readAll reads until the connection is parked or ended, or until there is nothing to read and
// parking fails.
func (c *Conn) readAll(buf []byte) stopReason {
	if early := c.early; early != nil {
		c.early = nil
		if !c.parse(early) {
			return stopEnded
		}
	}
	for {
		n, err := c.readSome(buf)
		if n > 0 && !c.parse(buf[:n]) {
			return stopEnded
		}
		switch {
		case err == nil:
			// A short read has most likely emptied the kernel's buffer. If not, the loop wakes c at
			// once.
			if n < len(buf) && c.mode == modePlain && c.park() {
				return stopParked
			}
		case errors.Is(err, errNoData):
			if c.park() {
				return stopParked
			}
			if c.parkFailed {
				return stopRefused
			}
		default:
			c.readFailed(err)
			return stopEnded
		}
	}
}

// readNext waits for the next bytes of a connection that could not be parked. It returns false when
// nothing more is to be read. Otherwise, the caller tries again to park it: a peer sends at least a
// pong for each ping.
func (c *Conn) readNext() bool {
	buf := make([]byte, blockingBuffer)
	c.setReadDeadline(time.Time{})
	n, err := c.nc.Read(buf)
	if n > 0 && !c.parse(buf[:n]) {
		return false
	}
	if err != nil {
		c.readFailed(err)
	}
	return err == nil
}

// parse handles the complete frames in p and keeps the rest. It changes p, and returns false when
// nothing more is to be read.
func (c *Conn) parse(p []byte) bool {
	limit := c.handler.Limits().Frame
	own := false // p is memory of the connection, taken from partial
	if f := c.partial; f != nil {
		n := min(f.skip, uint64(len(p)))
		f.skip -= n
		p = p[n:]
		f.spent += int64(len(p))
		// In fragments of one byte each, a message takes seven times its size. Empty fragments
		// would never reach the limit on messages.
		if f.kind != 0 && f.spent > 8*limit+readBuffer {
			c.closeTooLarge()
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
			wrong = c.checkOrder(h)
		}
		switch {
		case wrong != "":
			return c.protocolError(CloseProtocol, wrong)
		case ok && h.opcode < opClose && h.size > uint64(max(0, limit-c.collected())):
			c.closeTooLarge()
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
		if !c.handleFrame(h, payload) {
			return false
		}
		if f := c.partial; f != nil && f.kind == 0 {
			f.stopTimer() // the next bytes are another message
		}
	}
	if f := c.partial; f != nil && f.kind == 0 && f.skip == 0 {
		c.discard()
	}
	return true
}

// skip discards a payload that is too large. p is the part that has arrived; skip returns the bytes
// behind it. If the connection were closed with bytes unread, the kernel would reset it, and a peer
// that is still sending would not receive the reason.
func (c *Conn) skip(h frameHeader, p []byte) []byte {
	n := min(h.size, uint64(len(p)))
	c.discard()
	c.partial = &fragments{skip: h.size - n}
	if !h.final {
		c.partial.kind = opBinary // never delivered
	}
	return p[n:]
}

// checkOrder checks a frame against the one before it (RFC 6455 section 5.4).
func (c *Conn) checkOrder(h frameHeader) (wrong string) {
	started := c.partial != nil && c.partial.kind != 0
	switch {
	case h.opcode == opContinuation && !started:
		return "a continuation without a message to continue"
	case (h.opcode == opText || h.opcode == opBinary) && started:
		return "a message starts within another"
	}
	return ""
}

// handleFrame handles a complete frame. It returns false when nothing more is to be read.
func (c *Conn) handleFrame(h frameHeader, payload []byte) bool {
	switch h.opcode {
	case opText, opBinary:
		if !h.final {
			f := c.startPartial()
			f.kind, f.spent = h.opcode, 0
			c.collect(f, payload)
			return true
		}
		return c.handleMessage(h.opcode == opText, payload)
	case opContinuation:
		f := c.partial
		if !h.final {
			c.collect(f, payload)
			return true
		}
		c.discard()
		return c.handleMessage(f.kind == opText, append(f.message, payload...))
	case opPing:
		c.recordSign()
		c.notifyControl()
		c.Push(pongFrame(payload))
	case opPong:
		c.recordSign()
		if !c.pingSent.Swap(false) {
			c.notifyControl()
		}
	case opClose:
		code, wrong := parseClose(payload)
		if wrong != "" {
			return c.protocolError(code, wrong)
		}
		c.close(code, "", Cause{Reason: ReasonClient, Code: code})
		return false
	}
	return true
}

// handleMessage handles a complete message. It returns false when nothing more is to be read.
func (c *Conn) handleMessage(text bool, p []byte) bool {
	if text && !utf8.Valid(p) {
		return c.protocolError(CloseNotUTF8, "the text message is not UTF-8")
	}
	c.recordSign()
	c.deliver(text, p)
	return true
}

// protocolError closes a connection whose peer violates RFC 6455. It returns false.
func (c *Conn) protocolError(code int, wrong string) bool {
	c.close(code, wrong, Cause{Reason: ReasonProtocol, Code: code})
	return false
}

// closeTooLarge closes a connection whose peer exceeds Limits.Frame.
func (c *Conn) closeTooLarge() {
	c.close(CloseTooLarge, "the message is too large", Cause{Reason: ReasonTooLarge, Code: CloseTooLarge})
}

// deliver passes a message to the handler. A panic ends this connection only.
func (c *Conn) deliver(text bool, p []byte) {
	c.mu.Lock()
	closing := c.closing
	c.mu.Unlock()
	if closing {
		return // waiting only for the peer's close frame
	}
	defer c.recoverPanic()
	c.counters.FramesIn.Add(1)
	c.counters.BytesIn.Add(uint64(len(p)))
	c.handler.Message(text, p)
}

// notifyControl tells the handler of a control frame.
func (c *Conn) notifyControl() {
	defer c.recoverPanic()
	c.handler.Control()
}

// recoverPanic is deferred around calls of the handler.
func (c *Conn) recoverPanic() {
	if v := recover(); v != nil {
		c.handler.Panicked(v)
		c.Close(CloseInternal, "internal error", Cause{Reason: ReasonPanic})
	}
}

// readFailed records why reading ended. If a close has started, its cause stays.
func (c *Conn) readFailed(err error) {
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

// finish lets the writer send the queue, in particular an answer to the peer's close frame, then
// closes the connection.
func (c *Conn) finish() {
	c.notifyClosed()
	c.discard()
	c.mu.Lock()
	writing := c.writing
	if writing {
		_ = c.attach().SetWriteDeadline(time.Now().Add(closeTimeout))
	}
	c.readerDone = true
	c.mu.Unlock()
	if !writing { // otherwise the writer closes it when it is done
		c.shut()
	}
}

// shut closes the network connection, once. TLS waits up to 5 s for the peer to accept its alert.
func (c *Conn) shut() {
	if c.loop != nil {
		c.loop.forget(c)
	}
	c.mu.Lock()
	nc, fd := c.nc, c.fd
	if nc == nil {
		c.fd = -1 // another connection can have the descriptor now
	}
	c.mu.Unlock()
	if nc != nil {
		_ = nc.Close()
	} else {
		closeNow(fd)
	}
	c.counters.Open.Add(-1)
}
