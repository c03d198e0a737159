package socket

import (
	"sync/atomic"
	"time"
)

// messageTimeout is the time that a message may take from its first byte to its last. Pings between
// its fragments do not extend it.
const messageTimeout = 30 * time.Second

// Bounds of the memory of unfinished messages, in bytes. Browsers send whole messages, so few are
// unfinished at any moment.
const (
	freePart      = 1 << 10  // uncounted bytes of each connection
	maxUnfinished = 64 << 20 // for all connections that share a Budget; four messages, if those are larger
)

// Budget counts the bytes of unfinished messages for all connections of a host. The zero value is
// ready to use.
type Budget struct{ held atomic.Int64 }

// add adds n bytes; n may be negative. If the sum would exceed the limit, add adds nothing and
// reports false.
func (b *Budget) add(n, limit int64) bool {
	if b.held.Add(n) <= limit || n <= 0 {
		return true
	}
	b.held.Add(-n)
	return false
}

// fragments is the part of a message that has arrived. Between messages there is none.
type fragments struct {
	rest    []byte // start of an incomplete frame
	kind    byte   // opText or opBinary; 0 before the first fragment
	message []byte // payloads of the fragments so far
	spent   int64  // bytes since the first fragment, including headers and control frames
	skip    uint64 // bytes left of a payload that is too large

	timer  *time.Timer // closes the connection; nil until bytes of a message are kept
	timed  bool        // the timer is running
	budget *Budget     // nil while nothing is counted
	held   int64       // bytes counted in budget
}

// stopTimer stops the timer, because the message is complete.
func (f *fragments) stopTimer() {
	if f.timed {
		f.timer.Stop()
		f.timed = false
	}
}

// startPartial returns c.partial, creating it if necessary, with its timer running.
func (c *Conn) startPartial() *fragments {
	f := c.partial
	if f == nil {
		f = new(fragments)
		c.partial = f
	}
	switch {
	case f.timed:
		return f
	case f.timer == nil:
		f.timer = time.AfterFunc(messageTimeout, c.closeUnfinished)
	default:
		f.timer.Reset(messageTimeout)
	}
	f.timed = true
	return f
}

// closeUnfinished closes a connection whose peer does not finish a message.
func (c *Conn) closeUnfinished() {
	c.close(ClosePolicy, "the message was not finished in time", Cause{Reason: ReasonUnfinished, Code: ClosePolicy})
}

// discard drops the incomplete message, if there is one.
func (c *Conn) discard() {
	f := c.partial
	if f == nil {
		return
	}
	c.partial = nil
	f.stopTimer()
	if f.budget != nil {
		f.budget.add(-f.held, 0)
	}
}

// keep keeps the start of a frame: p itself if the connection owns it, otherwise a copy. If the
// budget is exhausted, it closes the connection and reports false.
func (c *Conn) keep(p []byte, own bool) bool {
	f := c.startPartial()
	if own {
		f.rest = p
	} else {
		f.rest = append(f.rest, p...)
	}
	return c.countHeld(f)
}

// collect adds a fragment to the message. If the budget is exhausted, it closes the connection, and
// nothing is delivered.
func (c *Conn) collect(f *fragments, payload []byte) {
	f.message = append(f.message, payload...)
	if !c.countHeld(f) {
		f.message = nil
	}
}

// collected returns the size of the fragments so far in bytes.
func (c *Conn) collected() int64 {
	if c.partial == nil {
		return 0
	}
	return int64(len(c.partial.message))
}

// countHeld counts the memory of a message against the budget. If that is exhausted, it closes the
// connection and reports false.
func (c *Conn) countHeld(f *fragments) bool {
	limits := c.handler.Limits()
	if limits.Unfinished == nil {
		return true
	}
	n := max(0, int64(cap(f.rest)+cap(f.message))-freePart)
	if !limits.Unfinished.add(n-f.held, max(maxUnfinished, 4*limits.Frame)) {
		c.close(CloseUnavailable, "too many unfinished messages", Cause{Reason: ReasonUnfinished, Code: CloseUnavailable})
		return false
	}
	f.budget, f.held = limits.Unfinished, n
	return true
}
