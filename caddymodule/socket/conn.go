package socket

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// Limits bounds one connection. It is asked for again at each use, so that a reload changes it for open connections.
type Limits struct {
	Frame   int64         // bytes of a message; over it the connection is closed with 1009
	Queue   int           // bytes waiting to be written; over it the connection is closed with 4100
	Ping    time.Duration // between pings
	Silence time.Duration // without anything from the peer, after which the connection is dropped
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

// Counters counts what passed over connections. Frames out include pings, pongs and close frames.
type Counters struct {
	Open atomic.Int64 // connections that read now

	FramesIn, FramesOut, BytesIn, BytesOut atomic.Uint64
}

// Time bounds that users have no reason to change.
const (
	writeTimeout = 10 * time.Second // for one write to be taken by the kernel
	closeTimeout = time.Second      // for a peer to take the close frame, and then to answer it
	slowTimeout  = 5 * time.Second  // for a slow peer to take what was being written, and the close frame
)

// Conn is one websocket. Push and Close may be called from any goroutine.
type Conn struct {
	nc       net.Conn
	in       *gorillaConn
	ws       *websocket.Conn // reads only
	handler  Handler
	counters *Counters
	ended    atomic.Bool  // handler.Closed was called
	asked    atomic.Bool  // a ping was sent, and its pong is to come
	heard    atomic.Int64 // when the peer last gave a sign, as Unix time in milliseconds

	// mu guards the rest. Nothing is called with it held.
	mu      sync.Mutex
	queue   [][]byte
	queued  int // bytes of what is in queue or being written, see charge
	writing bool
	closing bool // a close frame is in the queue or sent, nothing may follow it
	cause   Cause
	// readerDone tells the writer that it is the last one, and closes.
	readerDone bool

	// The wheel's lock guards the links.
	prev, next *Conn
	slot       int
	due        time.Time
}

func newConn(in *gorillaConn, ws *websocket.Conn) *Conn {
	c := &Conn{nc: in.Conn, in: in, ws: ws, slot: -1}
	// gorilla would answer these itself, past the queue.
	ws.SetPingHandler(c.pinged)
	ws.SetPongHandler(c.ponged)
	ws.SetCloseHandler(func(code int, _ string) error {
		c.close(code, "", Cause{Reason: ReasonClient, Code: code})
		return nil
	})
	return c
}

// Handle says whom the connection works for. It is called once, before anything else.
func (c *Conn) Handle(handler Handler, counters *Counters) {
	c.handler, c.counters = handler, counters
}

// Start begins to read, on a goroutine that ends when the connection is closed by either side, falls silent or breaks;
// handler.Closed has been called by then.
func (c *Conn) Start() {
	c.counters.Open.Add(1)
	go c.read()
}

// Refuse closes a connection that is not to be served. It is called instead of Start.
func (c *Conn) Refuse(code int, reason string) {
	c.Handle(nobody{}, new(Counters))
	c.Start()
	c.Close(code, reason, Cause{})
}

// Push queues a whole frame, as [Text] built it, for the peer. It never blocks. After a close has begun the
// frame is dropped; a frame that does not fit closes the connection with CloseSlow.
func (c *Conn) Push(frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return
	}
	limit := c.handler.Limits().Queue
	n := charge(len(frame), limit)
	if c.queued+n > limit {
		// What waits would come too late, and the peer has to be told soon.
		c.queue = nil
		c.closeLocked(CloseSlow, "too slow", Cause{Reason: ReasonSlow, Code: CloseSlow})
		return
	}
	c.enqueue(frame, n)
}

// Queue queues whole frames, n of them in one piece, like [Conn.Push], and leaves writing to [Conn.Flush]. It tells whether
// the caller is to call that: otherwise somebody is about to write already.
func (c *Conn) Queue(frames []byte, n int) (flush bool) {
	c.Push(frames)
	return false
}

// Flush writes what is queued, as far as the kernel takes it at once.
func (c *Conn) Flush() {}

// LastSign returns when anything whole last came from the peer; at first, when reading began.
func (c *Conn) LastSign() time.Time { return time.UnixMilli(c.heard.Load()) }

// charge is how many bytes of the queue a frame takes. One that is larger than half of the queue, a snapshot of a very
// large channel, takes half: it has to be deliverable, and diffs have to find room behind it.
func charge(size, limit int) int { return min(size, limit/2) }

func (c *Conn) enqueue(frame []byte, n int) {
	c.queue = append(c.queue, frame)
	c.queued += n
	if !c.writing {
		c.writing = true
		go c.write()
	}
}

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
	// A write under way ends by then, and the read loop when the peer does not answer.
	wait := closeTimeout
	if code == CloseSlow {
		wait = slowTimeout
	}
	now := time.Now()
	_ = c.nc.SetWriteDeadline(now.Add(wait))
	_ = c.nc.SetReadDeadline(now.Add(wait + closeTimeout))
	c.enqueue(closeFrame(code, reason), 0)
	go c.end()
}

// Kill ends the connection without a word. It does not block: closing a TLS connection can.
func (c *Conn) Kill() {
	past := time.Unix(1, 0)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	_ = c.nc.SetDeadline(past)
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
	return Limits{Frame: 64 << 10, Queue: 64 << 10, Silence: closeTimeout}
}
func (nobody) Message(bool, []byte) {}
func (nobody) Control()             {}
func (nobody) Closed(Cause)         {}
func (nobody) Panicked(any)         {}
