package socket

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Limits are the bounds of one connection. They are read again at each use, so that a reload
// changes them for open connections.
type Limits struct {
	Frame int64 // size of a message in bytes; a larger one closes the connection with 1009
	// Unfinished counts the bytes of unfinished messages of all connections of a host. A connection
	// that exceeds it is closed with 4110. If nil, they are not counted.
	Unfinished *Budget
	Queue      int           // bytes that wait to be written; more close the connection with 4100
	Ping       time.Duration // interval of pings
	Silence    time.Duration // time without anything from the peer after which the connection is dropped
	TellSilent bool          // a dropped connection receives a close frame with CloseSilent
}

// Handler receives what happens on a connection.
type Handler interface {
	// Limits returns the bounds in effect. It may be called with locks held, so it must not block.
	Limits() Limits
	// Message handles a message. p is valid until it returns. Messages come one at a time, in
	// order.
	Message(text bool, p []byte)
	// Control is called for each unsolicited ping or pong of the peer.
	Control()
	// Closed is called once, when nothing more will be delivered to the peer: on a goroutine of its
	// own or on the reading one, possibly while Message runs.
	Closed(cause Cause)
	// Panicked is called when Message or Control panicked with v. The connection is closed.
	Panicked(v any)
}

// Translator is a [Handler] of a protocol that has close codes of its own.
type Translator interface {
	// Translate returns the code and the reason that the peer receives in place of those of this
	// package, and whole frames for it to receive before; nil for none. It may be called with locks
	// held, so it must not block.
	Translate(code int, reason string) (peerCode int, peerReason string, before []byte)
}

// Reason is a word for why a connection ended. Reasons are few and fixed, because they label
// metrics.
type Reason string

// Reasons for the end of a connection.
const (
	ReasonClient       Reason = "client"       // the peer closed
	ReasonReset        Reason = "reset"        // the network connection broke
	ReasonSilent       Reason = "silent"       // nothing came for Limits.Silence
	ReasonSlow         Reason = "slow"         // the queue overflowed, or a write timed out
	ReasonTooLarge     Reason = "too_large"    // a message exceeded Limits.Frame
	ReasonUnfinished   Reason = "unfinished"   // a message took longer than messageTimeout, or Limits.Unfinished was exhausted
	ReasonProtocol     Reason = "protocol"     // the peer violated RFC 6455
	ReasonRateLimited  Reason = "rate_limited" // the client kept sending frames above its rate
	ReasonToken        Reason = "token"        // the token expired
	ReasonDisconnected Reason = "disconnected" // the backend disconnected it, or revoked its token
	ReasonOrigin       Reason = "origin"       // the page's origin is not allowed
	ReasonLimit        Reason = "limit"        // the host is full
	ReasonHost         Reason = "host_removed" // the host left the configuration
	ReasonDrain        Reason = "drain"        // the server stops
	ReasonPanic        Reason = "panic"        // a bug in this program
)

// Cause is why a connection ended.
type Cause struct {
	Reason Reason
	Code   int // code of the close frame; 0 without one
}

// Counters counts the traffic of connections. Outgoing frames include pings, pongs and close
// frames.
type Counters struct {
	Open atomic.Int64 // connections that are open now

	FramesIn, FramesOut, BytesIn, BytesOut atomic.Uint64
}

// Timeouts that users have no reason to change.
const (
	writeTimeout = 10 * time.Second // for the kernel to accept one write
	closeTimeout = time.Second      // for a peer to read the close frame, and again to answer it
	slowTimeout  = 5 * time.Second  // for a slow peer to read the pending write and the close frame
)

// Conn is one websocket. Push, Queue, Flush and Close may be called from any goroutine.
//
// Only its owner reads it: a goroutine while there is something to read, otherwise the [Loop], if
// the connection can be parked.
type Conn struct {
	nc           stream // nil while only the descriptor is left, see detach; changed under mu
	handler      Handler
	counters     *Counters
	loop         *Loop        // nil for a refused connection
	lastSign     atomic.Int64 // time of the last complete message or control frame, see now
	fd           int          // file descriptor; -1 in modeBlocking, and when a detached connection is shut
	plain        bool         // writes go to the kernel unencrypted, without blocking
	closedCalled atomic.Bool  // handler.Closed was called
	pingSent     atomic.Bool  // a ping was sent, and its pong has not arrived

	// The reader owns the fields below.
	mode       ioMode
	corked     bool       // the kernel holds back writes
	readable   bool       // set by the loop: there is something to read
	parkFailed bool       // the last attempt to park it failed
	early      []byte     // bytes that came with the handshake
	partial    *fragments // message that is not yet complete; nil if none

	// mu guards the fields below. While it is held, only the loop and Handler.Limits are called.
	mu      sync.Mutex
	parked  bool // the loop owns the connection
	awaited bool // the loop has registered the connection
	writing bool // a writer will empty the queue
	closing bool // a close frame is queued or sent; nothing may follow it
	// readerDone means that reading has ended: the writer closes the network connection.
	readerDone bool
	slot       int16 // slot in the wheel, guarded by its lock; -1 if none. In this place it costs no memory
	cause      Cause
	first      piece   // head of the queue, which rarely has more than one piece
	more       []piece // rest of the queue
	queued     int     // bytes that are queued or being written, see charge

	// The wheel's lock guards the fields below.
	prev, next *Conn
	ping       int64 // time of the next ping, see now
	expires    int64 // end of the login, see now; meaningless unless wallExpiry is set
	wallExpiry int64 // the same in Unix milliseconds, by the wall clock; 0 if none
}

// piece is a part of the queue.
type piece struct {
	b      []byte // whole frames; nil in the zero piece
	frames int
}

// processStart is the origin of a connection's times, so that they do not change with the wall
// clock.
var processStart = time.Now()

// now returns the time since processStart in milliseconds.
func now() int64 { return time.Since(processStart).Milliseconds() }

func newConn(nc net.Conn, early []byte) *Conn {
	return &Conn{nc: nc, early: early, slot: -1, fd: -1}
}

// Handle sets the connection's handler, and the loop in which it is parked while idle. If loop is
// nil, the connection has a goroutine of its own. Handle is called before all other methods; it may
// be called again until [Conn.Start].
func (c *Conn) Handle(handler Handler, counters *Counters, loop *Loop) {
	c.handler, c.counters, c.loop = handler, counters, loop
	c.mode, c.fd = modeBlocking, -1
	if loop != nil && canPoll {
		c.mode, c.fd = modeOf(c.nc)
	}
	c.plain = c.mode == modePlain
	c.recordSign()
}

// Start starts reading. handler.Closed is called when either side closes the connection, or when it
// falls silent or breaks.
func (c *Conn) Start() {
	c.counters.Open.Add(1)
	if tcp, ok := c.nc.(*net.TCPConn); ok && c.corked {
		c.corked = cork(tcp, false)
	}
	if c.mode == modePlain && c.early == nil && c.park() {
		return
	}
	go c.read()
}

// Refuse closes a connection that is not to be served. It is called instead of Start. A handler
// that was set stays, because others may already know the connection, and may be closing it too;
// otherwise by translates the code, unless it is nil.
func (c *Conn) Refuse(code int, reason string, by Translator) {
	if c.handler == nil {
		c.Handle(refusedHandler{by}, new(Counters), nil)
	}
	c.Close(code, reason, Cause{}) // before anything is read, so that nothing is delivered
	c.Start()
}

// recordSign records that a complete message or control frame arrived.
func (c *Conn) recordSign() { c.lastSign.Store(now()) }

func (c *Conn) sinceLastSign() time.Duration {
	return time.Duration(now()-c.lastSign.Load()) * time.Millisecond
}

// LastSign returns when the last complete message or control frame arrived; before the first, when
// the handler was set.
func (c *Conn) LastSign() time.Time { return time.Now().Add(-c.sinceLastSign()) }

// Close queues a close frame, and ends the connection when the peer has answered, or after
// closeTimeout. handler.Closed receives the cause soon, on another goroutine.
func (c *Conn) Close(code int, reason string, cause Cause) {
	cause.Code = code
	c.close(code, reason, cause)
}

func (c *Conn) close(code int, reason string, cause Cause) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		c.closeLocked(code, reason, cause)
	}
}

func (c *Conn) closeLocked(code int, reason string, cause Cause) {
	wait := closeTimeout
	if code == CloseSlow {
		wait = slowTimeout
	}
	if t, ok := c.handler.(Translator); ok {
		var before []byte
		code, reason, before = t.Translate(code, reason)
		cause.Code = code
		if before != nil && c.enqueue(piece{before, 1}, 0) {
			c.scheduleFlush()
		}
	}
	c.closing, c.cause = true, cause
	// A pending write ends by the first deadline, and reading by the second if the peer does not
	// answer.
	now := time.Now()
	nc := c.attach()
	_ = nc.SetWriteDeadline(now.Add(wait))
	_ = nc.SetReadDeadline(now.Add(wait + closeTimeout))
	if c.enqueue(piece{closeFrame(code, reason), 1}, 0) {
		c.scheduleFlush()
	}
	c.wakeLocked()
	go c.notifyClosed()
}

// endSilent ends a connection whose peer is silent. It is told only by a protocol that has a code
// for it.
func (c *Conn) endSilent() {
	cause := Cause{Reason: ReasonSilent}
	if c.handler.Limits().TellSilent {
		c.Close(CloseSilent, "no sign of life", cause)
		return
	}
	c.kill(cause)
}

// Kill ends the connection without a close frame. It does not block: closing a TLS connection can.
func (c *Conn) Kill() { c.kill(Cause{}) }

// kill is Kill with a cause, which an earlier cause overrides.
func (c *Conn) kill(cause Cause) {
	past := time.Unix(1, 0)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		c.closing, c.cause = true, cause
	}
	if nc := c.attach(); nc != nil {
		_ = nc.SetDeadline(past)
	}
	c.wakeLocked()
}

// notifyClosed calls handler.Closed, once.
func (c *Conn) notifyClosed() {
	if c.closedCalled.Swap(true) {
		return
	}
	c.mu.Lock()
	c.closing = true
	cause := c.cause
	c.mu.Unlock()
	if cause.Reason == "" {
		cause.Reason = ReasonReset
	}
	c.handler.Closed(cause)
}

// refusedHandler is the handler of a refused connection without one.
type refusedHandler struct{ by Translator } // nil: nothing is translated

func (refusedHandler) Limits() Limits {
	return Limits{Frame: 64 << 10, Queue: 64 << 10}
}
func (refusedHandler) Message(bool, []byte) {}
func (refusedHandler) Control()             {}
func (refusedHandler) Closed(Cause)         {}
func (refusedHandler) Panicked(any)         {}
func (h refusedHandler) Translate(code int, reason string) (int, string, []byte) {
	if h.by == nil {
		return code, reason, nil
	}
	return h.by.Translate(code, reason)
}
