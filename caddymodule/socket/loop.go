package socket

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Loop is shared by the connections of a process, so that an idle one has no goroutine: it waits
// for bytes from peers, and writes queues.
//
// With epoll, TCP connections are parked between two messages, with or without TLS. Elsewhere, and
// for a wrapped connection, each has a goroutine that reads. If the kernel refuses to wait for a
// connection, a goroutine reads its next bytes, and then parking is tried again.
type Loop struct {
	poller
	writers

	onError  func(error)  // nil: errors are not reported
	reported atomic.Int64 // time of the last call of onError, see now; 0 before the first
}

// NewLoop returns a loop. It starts with the first connection that is parked; Stop ends its
// goroutine. If onError is not nil, it is called when a connection cannot be parked, at most once a
// minute and without any lock.
func NewLoop(onError func(error)) *Loop {
	return &Loop{writers: writers{maxRunning: runtime.GOMAXPROCS(0)}, onError: onError}
}

// reportEvery is the minimum time between two reports.
const reportEvery = time.Minute

// report reports that a connection cannot be parked.
func (l *Loop) report(err error) {
	if l.onError == nil || errors.Is(err, os.ErrClosed) {
		return
	}
	last, now := l.reported.Load(), max(1, now())
	if last != 0 && now-last < reportEvery.Milliseconds() || !l.reported.CompareAndSwap(last, now) {
		return
	}
	l.onError(err)
}

// writers flushes connections on at most as many goroutines as there are processors. They exist
// only while there is something to write: one goroutine for each connection would be started for
// every frame.
type writers struct {
	maxRunning int

	mu      sync.Mutex // acquired last
	waiting []*Conn    // the entries before first are done
	first   int
	running int
}

// add schedules a flush of the connection.
func (w *writers) add(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == cap(w.waiting) && w.first > len(w.waiting)/2 {
		// The list never empties, and more than half of it is done.
		n := copy(w.waiting, w.waiting[w.first:])
		clear(w.waiting[n:])
		w.waiting, w.first = w.waiting[:n], 0
	}
	w.waiting = append(w.waiting, c)
	if w.running < w.maxRunning && (w.running == 0 || len(w.waiting)-w.first > writerShare) {
		w.running++
		go w.run()
	}
}

// maxWaiting is the capacity up to which an empty list is kept, in connections.
const maxWaiting = 8 << 10

// writerShare is how many connections a goroutine takes at a time.
const writerShare = 32

func (w *writers) run() {
	var share [writerShare]*Conn
	for {
		n := w.popShare(share[:])
		if n == 0 {
			return
		}
		for i, c := range share[:n] {
			share[i] = nil
			c.Flush()
		}
	}
}

// popShare removes the oldest connections from the list. If it returns 0, the caller must end.
func (w *writers) popShare(share []*Conn) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := copy(share, w.waiting[w.first:])
	if n == 0 {
		w.running--
		return 0
	}
	clear(w.waiting[w.first : w.first+n])
	if w.first += n; w.first < len(w.waiting) {
		return n
	}
	w.waiting, w.first = w.waiting[:0], 0
	if cap(w.waiting) > maxWaiting {
		w.waiting = nil
	}
	return n
}
