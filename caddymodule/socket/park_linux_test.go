package socket

import (
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// reports counts the reports of a loop, and keeps the last.
type reports struct {
	n    atomic.Int64
	last atomic.Pointer[error]
}

func (r *reports) add(err error) {
	r.last.Store(&err)
	r.n.Add(1)
}

// If epoll fails for the first connection to be parked, it is tried again for that one and for
// later ones.
func TestLoopWithoutDescriptorsTriesAgain(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			var got reports
			loop := NewLoop(got.add)
			defer loop.Stop()
			h := newRecorder()
			var restore func()
			p, client := connectTo(t, tr.serve, func(c *Conn) *peer {
				restore = testkit.WithoutDescriptors(t)
				return beginOn(loop, c, h)
			})
			defer func() {
				p.Kill()
				testkit.Eventually(t, "the connection ends", func() bool { return p.counters.Open.Load() == 0 })
			}()
			for range 3 {
				before := len(h.received())
				if err := client.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
					t.Fatal(err)
				}
				testkit.Eventually(t, "the message arrives", func() bool { return len(h.received()) == before+1 })
			}
			testkit.Eventually(t, "a goroutine reads", func() bool { return goroutinesIn("(*Conn).readNext") == 1 })
			if n := got.n.Load(); n != 1 || !errors.Is(*got.last.Load(), syscall.EMFILE) {
				t.Errorf("%d reports, the last is %v, want one of EMFILE", n, *got.last.Load())
			}
			if p.isParked() {
				t.Error("the connection is parked")
			}
			restore()
			if err := client.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, "the connection is parked", p.isParked)
			if err := client.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, "the message arrives", func() bool { return len(h.received()) == 5 })
			testkit.Eventually(t, "no goroutine reads", func() bool { return goroutinesIn("(*Conn).read") == 0 })
		})
	}
}

// The kernel can refuse a single connection, if the user has as many watches as allowed. Here, the
// epoll descriptor is replaced by one that is not an epoll while the connection is added.
func TestConnectionThatEpollRefusesTriesAgain(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			var got reports
			loop := NewLoop(got.add)
			defer loop.Stop()
			swap := func(fd int) (before int) {
				loop.poller.mu.Lock()
				defer loop.poller.mu.Unlock()
				before, loop.poller.fd = loop.poller.fd, fd
				return before
			}
			loop.poller.mu.Lock()
			err := loop.open()
			loop.poller.mu.Unlock()
			if err != nil {
				t.Fatal(err)
			}
			null, err := os.Open(os.DevNull)
			if err != nil {
				t.Fatal(err)
			}
			defer null.Close()
			epoll := swap(int(null.Fd()))

			h := newRecorder()
			p, client := connectTo(t, tr.serve, func(c *Conn) *peer { return beginOn(loop, c, h) })
			defer func() {
				p.Kill()
				testkit.Eventually(t, "the connection ends", func() bool { return p.counters.Open.Load() == 0 })
			}()
			testkit.Eventually(t, "a goroutine reads", func() bool { return goroutinesIn("(*Conn).readNext") == 1 })
			if n := got.n.Load(); n != 1 || !errors.Is(*got.last.Load(), syscall.EINVAL) {
				t.Errorf("%d reports, the last is %v, want one of EINVAL", n, *got.last.Load())
			}
			loop.poller.mu.Lock()
			known := p.fd < len(loop.conns) && loop.conns[p.fd] != nil
			loop.poller.mu.Unlock()
			if known {
				t.Error("the loop keeps a connection that it does not wait for")
			}
			swap(epoll)
			for i := range 2 {
				if err := client.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
					t.Fatal(err)
				}
				testkit.Eventually(t, "the message arrives", func() bool { return len(h.received()) == i+1 })
				testkit.Eventually(t, "the connection is parked", p.isParked)
			}
		})
	}
}

// A connection that cannot be parked ends like any other.
func TestRefusedConnectionsEnd(t *testing.T) {
	for _, test := range endings {
		for _, tr := range transports {
			t.Run(tr.name+" "+test.name, func(t *testing.T) {
				loop := NewLoop(nil)
				loop.Stop() // it parks no connection, and does not report that
				p, client := connectTo(t, tr.serve, func(c *Conn) *peer { return beginOn(loop, c, newRecorder()) })
				testkit.Eventually(t, "a goroutine reads", func() bool { return goroutinesIn("(*Conn).readNext") == 1 })
				test.end(p, client)
				p.ends(t, test.want)
			})
		}
	}
}
