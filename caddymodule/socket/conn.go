package socket

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Limits bounds one connection. It is asked for again at each use, so that a reload changes it for open connections.
type Limits struct {
	Frame int64 // bytes of a message; over it the connection is closed with 1009
	// Unfinished counts what the connections of a host hold of messages that have not come whole; a connection that needs
	// more than is left is closed with 4110. If nil, it is not counted.
	Unfinished *Budget
	Queue      int           // bytes waiting to be written; over it the connection is closed with 4100
	Ping       time.Duration // between pings
	Silence    time.Duration // without anything from the peer, after which the connection is dropped
}

// Handler is what a connection works for.
type Handler interface {
	// Limits returns the bounds that hold now. It may be called with locks held, so it must not block.
	Limits() Limits
	// Message takes a message; p is valid until it returns. Messages come one at a time, in order.
	Message(text bool, p []byte)
	// Control tells that the peer sent a ping or pong on its own account.
	Control()
	// Closed tells, once, that nothing will be delivered to the peer any more. It is called on a goroutine of its own
	// or on the reading one, and may come while Message runs.
	Closed(cause Cause)
	// Panicked tells that Message panicked with v. The connection is closed.
	Panicked(v any)
}

// Reason says in a word why a connection ended. Reasons are few and fixed: they label metrics.
type Reason string

// Why connections end.
const (
	ReasonClient      Reason = "client"       // the peer closed
	ReasonReset       Reason = "reset"        // the network connection broke
	ReasonSilent      Reason = "silent"       // nothing came for as long as Limits.Silence
	ReasonSlow        Reason = "slow"         // the queue ran over, or a write was not taken in time
	ReasonTooLarge    Reason = "too_large"    // a message over Limits.Frame
	ReasonUnfinished  Reason = "unfinished"   // a message took longer than messageTimeout, or Limits.Unfinished was full
	ReasonProtocol    Reason = "protocol"     // not RFC 6455
	ReasonRateLimited Reason = "rate_limited" // kept sending frames faster than allowed
	ReasonToken       Reason = "token"        // the token expired
	ReasonOrigin      Reason = "origin"       // another site's page
	ReasonLimit       Reason = "limit"        // the host is full
	ReasonHost        Reason = "host_removed" // the host left the configuration
	ReasonDrain       Reason = "drain"        // the server stops
	ReasonPanic       Reason = "panic"        // a bug of ours
)

// Cause is why a connection ended.
type Cause struct {
	Reason Reason
	Code   int // of the close frame, 0 without one
}

// Counters counts what passed over connections. Frames out include pings, pongs and close frames.
type Counters struct {
	Open atomic.Int64 // connections that are served now

	FramesIn, FramesOut, BytesIn, BytesOut atomic.Uint64
}

// Time bounds that users have no reason to change.
const (
	writeTimeout = 10 * time.Second // for one write to be taken by the kernel
	closeTimeout = time.Second      // for a peer to take the close frame, and then to answer it
	slowTimeout  = 5 * time.Second  // for a slow peer to take what was being written, and the close frame
)

// Conn is one websocket. Push, Queue, Flush and Close may be called from any goroutine.
//
// It is read by whoever owns it: a goroutine while there is something to read, else, if it can be parked, the [Loop].
type Conn struct {
	nc       net.Conn
	handler  Handler
	counters *Counters
	loop     *Loop        // nil for a connection that is refused
	heard    atomic.Int64 // when the peer last gave a sign, see now
	fd       int          // of the kernel, -1 in wayBlocking
	plain    bool         // what is written goes to the kernel as it is
	ended    atomic.Bool  // handler.Closed was called
	asked    atomic.Bool  // a ping was sent, and its pong is to come

	// Whoever reads owns these.
	way     way
	corked  bool       // the kernel holds on to what is written
	woken   bool       // by the loop: there is something to read
	refused bool       // the loop could not park it the last time
	early   []byte     // what came with the handshake
	partial *fragments // nil: nothing

	// mu guards the rest. Nothing is called with it held but the loop.
	mu      sync.Mutex
	parked  bool // the loop owns it
	awaited bool // the loop knows it
	writing bool // somebody has taken it on to empty the queue
	closing bool // a close frame is in the queue or sent, nothing may follow it
	// readerDone tells the writer that it is the last one, and closes.
	readerDone bool
	slot       int16 // of the wheel, guarded by its lock; -1: none. Here it costs no memory
	cause      Cause
	first      piece   // of the queue: most of the time it has one
	more       []piece // the others
	queued     int     // bytes of what is in queue or being written, see charge

	// The wheel's lock guards the links.
	prev, next *Conn
	ping       int64 // when to send the next one
	expires    int64 // end of its login, see now; of no meaning without wallExpiry
	wallExpiry int64 // the same by the wall clock, Unix time in milliseconds; 0: none
}

// piece is a part of the queue.
type piece struct {
	b      []byte // whole frames; nil: there is none
	frames int
}

// began is what times of connections count from: they must not change with the clock.
var began = time.Now()

// now is the time in milliseconds since the process began.
func now() int64 { return time.Since(began).Milliseconds() }

func newConn(nc net.Conn, early []byte) *Conn {
	return &Conn{nc: nc, early: early, slot: -1, fd: -1}
}

// Handle says whom the connection works for, and which loop has it while it is idle: nil for one that has a goroutine of its
// own instead. It is called before anything else, the last time before [Conn.Start].
func (c *Conn) Handle(handler Handler, counters *Counters, loop *Loop) {
	c.handler, c.counters, c.loop = handler, counters, loop
	c.way, c.fd = wayBlocking, -1
	if loop != nil && canPoll {
		c.way, c.fd = wayOf(c.nc)
	}
	c.plain = c.way == wayPlain
	c.sign()
}

// Start begins to read; handler.Closed is called when the connection is closed by either side, falls silent or breaks.
func (c *Conn) Start() {
	c.counters.Open.Add(1)
	if tcp, ok := c.nc.(*net.TCPConn); ok && c.corked {
		c.corked = cork(tcp, false)
	}
	if c.way == wayPlain && c.early == nil && c.park() {
		return
	}
	go c.read()
}

// Refuse closes a connection that is not to be served. It is called instead of Start. One that has a handler keeps it, since
// others may know it by now, and be closing it too.
func (c *Conn) Refuse(code int, reason string) {
	if c.handler == nil {
		c.Handle(nobody{}, new(Counters), nil)
	}
	c.Close(code, reason, Cause{}) // before anything is read, so that nothing is delivered
	c.Start()
}

// sign notes that something whole came from the peer.
func (c *Conn) sign() { c.heard.Store(now()) }

// quiet is how long nothing whole has come from the peer.
func (c *Conn) quiet() time.Duration { return time.Duration(now()-c.heard.Load()) * time.Millisecond }

// LastSign returns when anything whole last came from the peer; at first, when reading began.
func (c *Conn) LastSign() time.Time { return time.Now().Add(-c.quiet()) }

// Close sends a close frame behind what is queued, and ends the connection when the peer has answered, or after a
// second. The cause is what handler.Closed gets; it is called soon, on another goroutine.
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
	c.closing, c.cause = true, cause
	// A write under way ends by then, and reading when the peer does not answer.
	wait := closeTimeout
	if code == CloseSlow {
		wait = slowTimeout
	}
	now := time.Now()
	_ = c.nc.SetWriteDeadline(now.Add(wait))
	_ = c.nc.SetReadDeadline(now.Add(wait + closeTimeout))
	if c.enqueue(piece{closeFrame(code, reason), 1}, 0) {
		c.schedule()
	}
	c.wakeLocked()
	go c.end()
}

// Kill ends the connection without a word. It does not block: closing a TLS connection can.
func (c *Conn) Kill() { c.kill(Cause{}) }

// kill is Kill with a cause, unless there is one.
func (c *Conn) kill(cause Cause) {
	past := time.Unix(1, 0)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		c.closing, c.cause = true, cause
	}
	_ = c.nc.SetDeadline(past)
	c.wakeLocked()
}

// end tells the handler, once.
func (c *Conn) end() {
	if c.ended.Swap(true) {
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

// nobody handles a connection that is refused.
type nobody struct{}

func (nobody) Limits() Limits {
	return Limits{Frame: 64 << 10, Queue: 64 << 10}
}
func (nobody) Message(bool, []byte) {}
func (nobody) Control()             {}
func (nobody) Closed(Cause)         {}
func (nobody) Panicked(any)         {}
