package socket

import (
	"runtime"
	"sync"
)

// Loop is what the connections of a process share, so that an idle one has no goroutine: it waits for what peers send, and
// writes what is queued.
//
// Where the kernel offers epoll, connections over TCP are parked in it between two messages, those over TLS too. Elsewhere,
// and for a connection that is wrapped by something else, each has a goroutine that reads.
type Loop struct {
	poller
	writers
}

// NewLoop returns a loop. It begins with the first connection that is parked, and Stop ends its goroutine.
func NewLoop() *Loop {
	return &Loop{writers: writers{most: runtime.GOMAXPROCS(0)}}
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
