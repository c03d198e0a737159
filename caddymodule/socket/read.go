package socket

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// messages holds buffers for messages on their way through the read loop; an idle connection has none.
var messages = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxKept is the largest buffer in bytes that goes back to the pool.
const maxKept = 64 << 10

// read is the goroutine that a connection has while it lives. Its stack stays small, so it calls nothing deep itself.
func (c *Conn) read() {
	defer c.finish()
	for {
		c.ws.SetReadLimit(c.handler.Limits().Frame)
		c.extend()
		kind, r, err := c.ws.NextReader()
		if err != nil {
			c.broken(err)
			return
		}
		buf, _ := messages.Get().(*bytes.Buffer)
		buf.Reset()
		if _, err = buf.ReadFrom(r); err != nil {
			c.broken(err)
			return
		}
		c.deliver(kind == websocket.TextMessage, buf.Bytes())
		if buf.Cap() <= maxKept {
			messages.Put(buf)
		}
	}
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

// extend moves the moment at which the connection counts as silent, and lets the next frames come.
func (c *Conn) extend() {
	limits := c.handler.Limits()
	c.in.allow(limits.Frame)
	now := time.Now()
	c.heard.Store(now.UnixMilli())
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		_ = c.nc.SetReadDeadline(now.Add(limits.Silence))
	}
}

func (c *Conn) pinged(data string) error {
	c.extend()
	c.control()
	c.Push(pongFrame(data))
	return nil
}

func (c *Conn) ponged(string) error {
	c.extend()
	if !c.asked.Swap(false) {
		c.control()
	}
	return nil
}

// broken notes why reading ended, unless a close had begun, which is then the cause.
func (c *Conn) broken(err error) {
	cause := Cause{Reason: ReasonReset}
	var closed *websocket.CloseError
	var network net.Error
	switch {
	case errors.Is(err, websocket.ErrReadLimit):
		cause = Cause{Reason: ReasonTooLarge, Code: websocket.CloseMessageTooBig}
	case errors.As(err, &closed):
		cause = Cause{Reason: ReasonClient, Code: closed.Code}
		if closed.Code == websocket.CloseAbnormalClosure {
			cause = Cause{Reason: ReasonReset} // gorilla's word for an end without a close frame
		}
	case errors.As(err, &network):
		if network.Timeout() { // gorilla hides os.ErrDeadlineExceeded
			cause = Cause{Reason: ReasonSilent}
		}
	default:
		// gorilla has sent the peer a close frame that says what it did wrong.
		cause = Cause{Reason: ReasonProtocol, Code: websocket.CloseProtocolError}
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
	_ = c.nc.Close()
	c.counters.Open.Add(-1)
}
