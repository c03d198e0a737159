package socket

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Loop is what the connections of a process share, so that an idle one has no goroutine: it waits for what peers send, and
// writes what is queued.
//
// Where the kernel offers epoll, connections over TCP are parked in it between two messages, those over TLS too. Elsewhere,
// and for a connection that is wrapped by something else, each has a goroutine that reads. So does one that the kernel refuses
// to wait for, until something comes for it: then parking is tried again.
type Loop struct {
	poller
	writers

	failed   func(error)  // nil: nobody is told
	reported atomic.Int64 // when failed was called last, see now; 0 before
}

// NewLoop returns a loop. It begins with the first connection that is parked, and Stop ends its goroutine. If failed is not
// nil, it is called when a connection cannot be parked, at most once a minute and without any lock.
func NewLoop(failed func(error)) *Loop {
	return &Loop{writers: writers{most: runtime.GOMAXPROCS(0)}, failed: failed}
}

// reportEvery is the least time between two reports.
const reportEvery = time.Minute

// report reports that a connection cannot be parked.
func (l *Loop) report(err error) {
	if l.failed == nil || errors.Is(err, os.ErrClosed) {
		return
	}
	last, now := l.reported.Load(), max(1, now())
	if last != 0 && now-last < reportEvery.Milliseconds() || !l.reported.CompareAndSwap(last, now) {
		return
	}
	l.failed(err)
}

// writers writes for connections that have something queued, on as many goroutines as there are processors, which exist
// while there is something to do: one for each connection would be made and ended for every frame.
type writers struct {
	most int

	mu      sync.Mutex // taken last
	waiting []*Conn    // those before the first are served
	first   int
	running int
}

// add has the connection flushed soon.
func (w *writers) add(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == cap(w.waiting) && w.first > len(w.waiting)/2 {
		// There is always somebody who waits, and most of the list are those who were served.
		n := copy(w.waiting, w.waiting[w.first:])
		clear(w.waiting[n:])
		w.waiting, w.first = w.waiting[:n], 0
	}
	w.waiting = append(w.waiting, c)
	if w.running < w.most && (w.running == 0 || len(w.waiting)-w.first > writerShare) {
		w.running++
		go w.run()
	}
}

// maxWaiting is the longest list that is kept when nobody waits.
const maxWaiting = 8 << 10

// writerShare is how many connections a goroutine takes at a time.
const writerShare = 32

func (w *writers) run() {
	var share [writerShare]*Conn
	for {
		n := w.takeShare(share[:])
		if n == 0 {
			return
		}
		for i, c := range share[:n] {
			share[i] = nil
			c.Flush()
		}
	}
}

// takeShare takes those who came first. When there are none, the caller ends.
func (w *writers) takeShare(share []*Conn) int {
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
