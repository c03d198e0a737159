package socket

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

func TestPushKeepsOrder(t *testing.T) {
	const senders, each = 8, 500
	h := newRecorder()
	h.limits.Queue = 8 << 20
	p, client := connect(t, h)

	var sending sync.WaitGroup
	bytes := 0
	for s := range senders {
		for i := range each {
			bytes += len(text(pushed(s, i)))
		}
		sending.Go(func() {
			for i := range each {
				p.Push(text(pushed(s, i)))
			}
		})
	}
	next := make([]int, senders)
	client.SetReadDeadline(time.Now().Add(testkit.Patience))
	for range senders * each {
		_, got, err := client.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		var s, i int
		if _, err := fmt.Sscanf(string(got), "%d %d ", &s, &i); err != nil || s >= senders || string(got) != pushed(s, i) {
			t.Fatalf("read %.40q, which was never sent", got)
		}
		if i != next[s] {
			t.Fatalf("sender %d: frame %d came before frame %d", s, i, next[s])
		}
		next[s]++
	}
	sending.Wait()
	testkit.Eventually(t, "the writer has counted", func() bool { return p.counters.FramesOut.Load() == senders*each })
	if got := p.counters.BytesOut.Load(); got != uint64(bytes) {
		t.Errorf("counted %d bytes out, want %d", got, bytes)
	}
}

// pushed returns a payload whose size covers small frames, joined frames and large frames.
func pushed(sender, i int) string {
	size := 10 * i % 300
	if i%100 == 99 {
		size = joinLimit + i
	}
	return fmt.Sprintf("%d %d %s", sender, i, strings.Repeat("x", size))
}

func TestIdleConnectionHasNoGoroutine(t *testing.T) {
	p, client := connect(t, newRecorder())
	for range 3 {
		p.Push(text("hello"))
		if _, _, err := client.ReadMessage(); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "the writer ends", func() bool { return goroutinesIn("(*Conn).write")+goroutinesIn("(*writers).run") == 0 })
	}
	testkit.Eventually(t, "no goroutine reads", func() bool { return goroutinesIn("(*Conn).read") == 0 })
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.queued != 0 || p.first.b != nil || p.more != nil || p.writing || !p.parked {
		t.Errorf("%d bytes are queued, the queue has %v and %v, writing %v, parked %v", p.queued, p.first, p.more, p.writing, p.parked)
	}
}

// unread fills the pipe to a peer that does not read: the first frame is being written, the rest is
// queued.
func unread(p *peer) {
	p.Push(text("being written"))
	synctest.Wait()
}

func TestQueueOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newRecorder()
		h.limits.Queue = 10_000
		p, client := fake(t, h)
		unread(p)
		start := time.Now()
		for range 11 {
			p.Push(text(strings.Repeat("x", 1000)))
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("Push blocked for %s", waited)
		}
		p.Push(text("nothing follows the close frame"))
		synctest.Wait()
		if got := h.closed(); len(got) != 1 || got[0] != (Cause{ReasonSlow, CloseSlow}) {
			t.Errorf("Closed was called with %+v", got)
		}
		// A peer that reads again in time receives the reason. The queue was dropped.
		time.Sleep(slowTimeout / 2)
		var got []frame
		for range 2 {
			f, err := readFrame(client)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, f)
		}
		if got[0] != (frame{finText, "being written"}) || got[1] != (frame{finClose, "\x10\x04too slow"}) {
			t.Errorf("the peer got %q", got)
		}
		if _, err := client.Write(clientClose(CloseSlow)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if rest := readFrames(client); len(rest) > 0 || p.counters.Open.Load() != 0 {
			t.Errorf("after the close came %q, %d open", rest, p.counters.Open.Load())
		}
	})
}

func TestQueueOverflowOfAPeerThatNeverReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newRecorder()
		h.limits.Queue = 1000
		p, _ := fake(t, h)
		unread(p)
		start := time.Now()
		p.Push(text(strings.Repeat("x", 400)))
		p.Push(text(strings.Repeat("x", 400)))
		p.Push(text(strings.Repeat("x", 400)))
		for p.counters.Open.Load() > 0 {
			time.Sleep(10 * time.Millisecond)
		}
		if took, most := time.Since(start), slowTimeout+closeTimeout+20*time.Millisecond; took > most {
			t.Errorf("it took %s to give the peer up, want at most %s", took, most)
		}
		p.ends(t, Cause{ReasonSlow, CloseSlow})
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.first.b != nil || p.more != nil {
			t.Errorf("frames are kept of a connection that is gone: %v and %v", p.first, p.more)
		}
	})
}

func TestQueueOverLoopbackTCP(t *testing.T) {
	h := newRecorder()
	h.limits.Queue = 64 << 10
	p, client := connect(t, h)
	shared := text(strings.Repeat("x", 16<<10))
	start := time.Now()
	pushed := 0
	for len(h.closed()) == 0 && time.Since(start) < testkit.Patience {
		p.Push(shared)
		pushed++
	}
	if got := h.closed(); len(got) != 1 || got[0] != (Cause{ReasonSlow, CloseSlow}) {
		t.Fatalf("after %d frames: Closed was called with %+v", pushed, got)
	}
	client.SetReadDeadline(time.Now().Add(testkit.Patience))
	for {
		if _, _, err := client.ReadMessage(); err != nil {
			if !websocket.IsCloseError(err, CloseSlow) {
				t.Errorf("reading ended with %v, want close code %d", err, CloseSlow)
			}
			return
		}
	}
}

func TestQueueTakesALargeFrame(t *testing.T) {
	const limit = 1000
	large := text(strings.Repeat("x", 50*limit))
	for _, test := range []struct {
		name    string
		waiting int // bytes
		taken   bool
	}{
		{"when nothing waits", 0, true},
		{"when half of the queue is free", limit / 2, true},
		{"not when less is free", limit/2 + 1, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newRecorder()
				h.limits.Queue = limit
				p, client := fake(t, h)
				if test.waiting > 0 {
					p.Push(text("yy"))
					p.Push(text(strings.Repeat("y", test.waiting-8))) // after 4 bytes, with a header of 4
				}
				p.Push(large)
				synctest.Wait()
				if slow := len(h.closed()) > 0; slow == test.taken {
					t.Errorf("closed as slow: %v, want %v", slow, !test.taken)
				}
				if test.taken {
					p.Close(CloseGoingAway, "", Cause{})
					got := readFrames(client)
					if len(got) < 2 || len(got[len(got)-2].payload) != 50*limit {
						t.Errorf("the peer got %d frames, without the large one before the last", len(got))
					}
				}
			})
		})
	}
}

// A diff behind a large snapshot must fit into the queue.
func TestQueueTakesDiffsBehindALargeFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newRecorder()
		h.limits.Queue = 10_000
		p, _ := fake(t, h)
		p.Push(text(strings.Repeat("x", 1<<20)))
		synctest.Wait()
		for range 4 {
			p.Push(text(strings.Repeat("x", 1000)))
		}
		if got := h.closed(); len(got) > 0 {
			t.Errorf("Closed was called with %+v", got)
		}
	})
}

// Written frames free their room in the queue, however they were charged.
func TestQueueCountsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newRecorder()
		h.limits.Queue = 1000
		p, client := fake(t, h)
		for i := range 100 {
			p.Push(text(strings.Repeat("x", 300)))
			p.Push(text(strings.Repeat("x", 10*i)))
			for range 2 {
				if _, err := readFrame(client); err != nil {
					t.Fatalf("round %d: %v, closed %+v", i, err, h.closed())
				}
			}
			synctest.Wait()
		}
		synctest.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.queued != 0 {
			t.Errorf("%d bytes are counted when all is written", p.queued)
		}
	})
}

func TestWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newRecorder()
		p, _ := fake(t, h)
		start := time.Now()
		p.Push(text("nobody reads"))
		for p.counters.Open.Load() > 0 {
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(start); took < writeTimeout || took > writeTimeout+20*time.Millisecond {
			t.Errorf("the connection was given up after %s, want %s", took, writeTimeout)
		}
		p.ends(t, Cause{Reason: ReasonSlow})
	})
}

// failingConn fails when it is written to, like a connection that the peer has reset.
type failingConn struct {
	net.Conn
	err error
}

func (c failingConn) Write([]byte) (int, error) { return 0, c.err }

func TestWriteToABrokenConnection(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	h := newRecorder()
	p := begin(over(t, failingConn{far, &net.OpError{Op: "write", Err: fmt.Errorf("connection reset by peer")}}), h)
	p.Push(text("hello"))
	p.ends(t, Cause{Reason: ReasonReset})
}
