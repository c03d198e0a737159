package socket

import (
	"sync/atomic"
	"time"
)

// messageTimeout is how long a message may take from its first byte to its last. Pings between its fragments do not extend
// it.
const messageTimeout = 30 * time.Second

// Bounds of what unfinished messages hold, in bytes. A browser sends a message whole, so few are unfinished at any moment.
const (
	freePart      = 1 << 10  // of each connection, not counted
	maxUnfinished = 64 << 20 // of all connections that share a Budget, or four messages if they are larger
)

// Budget counts the bytes that unfinished messages hold, for all connections of a host. The zero value is ready to use.
type Budget struct{ held atomic.Int64 }

// change adds n bytes, which can be negative. It reports false, and adds nothing, if that exceeds the limit.
func (b *Budget) change(n, limit int64) bool {
	if b.held.Add(n) <= limit || n <= 0 {
		return true
	}
	b.held.Add(-n)
	return false
}

// fragments is what a connection holds of a message that has not come whole. Between messages there is none.
type fragments struct {
	rest    []byte // the beginning of a frame
	kind    byte   // opText or opBinary, once a fragment of a message has come; 0 before
	message []byte // payloads of the fragments so far
	spent   int64  // bytes that came since the first fragment, headers and control frames too
	skip    uint64 // bytes to come of a payload that is too large

	timer  *time.Timer // closes the connection; nil before the first byte of a message is kept
	timed  bool        // the timer runs
	budget *Budget     // nil while nothing is counted
	held   int64       // bytes that are counted in budget
}

// stop ends the time of a message, which is whole.
func (f *fragments) stop() {
	if f.timed {
		f.timer.Stop()
		f.timed = false
	}
}

// fragmented returns what there is of a message that has not come whole, to be added to. Its time runs.
func (c *Conn) fragmented() *fragments {
	f := c.partial
	if f == nil {
		f = new(fragments)
		c.partial = f
	}
	switch {
	case f.timed:
		return f
	case f.timer == nil:
		f.timer = time.AfterFunc(messageTimeout, c.unfinished)
	default:
		f.timer.Reset(messageTimeout)
	}
	f.timed = true
	return f
}

// unfinished closes a connection whose peer does not finish a message.
func (c *Conn) unfinished() {
	c.close(ClosePolicy, "a message was not finished in time", Cause{Reason: ReasonUnfinished, Code: ClosePolicy})
}

// discard forgets the message that has not come whole, if there is one.
func (c *Conn) discard() {
	f := c.partial
	if f == nil {
		return
	}
	c.partial = nil
	f.stop()
	if f.budget != nil {
		f.budget.change(-f.held, 0)
	}
}

// keep keeps the beginning of a frame: p itself if the connection owns it, else a copy. It reports false if there is no
// memory for it; the connection is then closed.
func (c *Conn) keep(p []byte, own bool) bool {
	f := c.fragmented()
	if own {
		f.rest = p
	} else {
		f.rest = append(f.rest, p...)
	}
	return c.hold(f)
}

// collect adds a fragment to the message. If there is no memory for it, the connection is closed, and nothing is delivered.
func (c *Conn) collect(f *fragments, payload []byte) {
	f.message = append(f.message, payload...)
	if !c.hold(f) {
		f.message = nil
	}
}

// collected is the length of the fragments of a message that have come, in bytes.
func (c *Conn) collected() int64 {
	if c.partial == nil {
		return 0
	}
	return int64(len(c.partial.message))
}

// hold counts what is kept of a message against the budget. It reports false if that is spent, and closes the connection.
func (c *Conn) hold(f *fragments) bool {
	limits := c.handler.Limits()
	if limits.Unfinished == nil {
		return true
	}
	n := max(0, int64(cap(f.rest)+cap(f.message))-freePart)
	if !limits.Unfinished.change(n-f.held, max(maxUnfinished, 4*limits.Frame)) {
		c.close(CloseUnavailable, "too many unfinished messages", Cause{Reason: ReasonUnfinished, Code: CloseUnavailable})
		return false
	}
	f.budget, f.held = limits.Unfinished, n
	return true
}
