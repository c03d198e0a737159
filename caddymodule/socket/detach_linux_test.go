package socket

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// isDetached reports whether the connection is parked and nothing but a descriptor.
func (p *peer) isDetached() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.parked && p.nc == nil && p.fd >= 0
}

// write sends a message of the client.
func write(t *testing.T, client *websocket.Conn, m string) {
	t.Helper()
	if err := client.WriteMessage(websocket.TextMessage, []byte(m)); err != nil {
		t.Fatal(err)
	}
}

func TestIdleConnectionIsOnlyADescriptor(t *testing.T) {
	h := newRecorder()
	p, client := connect(t, h)
	testkit.Eventually(t, "the connection is detached", p.isDetached)
	write(t, client, "hello")
	testkit.Eventually(t, "the message arrives", func() bool { return len(h.received()) == 1 })
	testkit.Eventually(t, "the connection is detached", p.isDetached)
}

// What the kernel does not accept waits for the peer with a deadline. The next time that the
// connection is parked after that, it is detached again, and its new descriptor is waited for.
func TestConnectionIsDetachedAgainAfterASlowWrite(t *testing.T) {
	h := newRecorder()
	h.limits.Queue = 64 << 20
	p, client := connect(t, h)
	const frames, size = 32, 1 << 20
	for round := range 3 {
		testkit.Eventually(t, "the connection is detached", p.isDetached)
		for range frames {
			p.Push(text(strings.Repeat("x", size)))
		}
		testkit.Eventually(t, "a goroutine waits for the peer", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.nc != nil
		})
		for range frames {
			if _, got, err := client.ReadMessage(); err != nil || len(got) != size {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
		}
		testkit.Eventually(t, "nobody writes", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return !p.writing
		})
		for i := range 2 {
			write(t, client, "hello")
			testkit.Eventually(t, "the message arrives", func() bool { return len(h.received()) == 2*round+i+1 })
		}
	}
	if causes := h.closed(); len(causes) > 0 {
		t.Errorf("the connection is closed: %v", causes)
	}
}

// A connection whose descriptor cannot be duplicated stays as it is.
func TestConnectionStaysAttachedWithoutDescriptors(t *testing.T) {
	loop := NewLoop(nil)
	defer loop.Stop()
	loop.poller.mu.Lock()
	err := loop.open()
	loop.poller.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	h := newRecorder()
	var restore func()
	p, client := connectTo(t, transports[0].serve, func(c *Conn) *peer {
		restore = testkit.WithoutDescriptors(t)
		return beginOn(loop, c, h)
	})
	defer func() {
		p.Kill()
		testkit.Eventually(t, "the connection ends", func() bool { return p.counters.Open.Load() == 0 })
	}()
	testkit.Eventually(t, "the connection is parked", p.isParked)
	if p.isDetached() {
		t.Error("the connection is detached")
	}
	restore()
	for i := range 2 {
		write(t, client, "hello")
		testkit.Eventually(t, "the message arrives", func() bool { return len(h.received()) == i+1 })
		testkit.Eventually(t, "the connection is detached", p.isDetached)
	}
}

// The descriptor of a connection that is over can belong to another one.
func TestEndedConnectionLeavesItsDescriptorAlone(t *testing.T) {
	p, client := connect(t, newRecorder())
	testkit.Eventually(t, "the connection is detached", p.isDetached)
	p.mu.Lock()
	fd := p.fd
	p.mu.Unlock()
	client.Close()
	p.ends(t, Cause{Reason: ReasonReset})

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var other net.Conn
	for other == nil {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		switch _, got := modeOf(nc.(*net.TCPConn)); {
		case got == fd:
			other = nc
		case got > fd+1000:
			t.Fatalf("no connection has the descriptor %d", fd)
		}
	}
	p.Kill()
	p.Close(CloseRestart, "restart", Cause{})
	p.Push(text("hello"))
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	_ = other.SetDeadline(time.Now().Add(testkit.Patience))
	if _, err := other.Write([]byte("hello")); err != nil {
		t.Errorf("the other connection: %v", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.nc != nil || p.fd != -1 {
		t.Errorf("the connection has the stream %v and the descriptor %d", p.nc, p.fd)
	}
}

// A writer may be about to use the number of the descriptor.
func TestConnectionIsNotDetachedWhileOneWrites(t *testing.T) {
	h := newRecorder()
	p, client := connectTo(t, transports[0].serve, func(c *Conn) *peer {
		p := &peer{Conn: c, handler: h}
		c.Handle(h, &p.counters, testLoop)
		if !c.Hold() {
			t.Error("another writer is active")
		}
		c.Start()
		return p
	})
	for i := range 2 {
		testkit.Eventually(t, "the connection is parked", p.isParked)
		if p.isDetached() {
			t.Error("the connection is detached while a writer is active")
		}
		write(t, client, "hello")
		testkit.Eventually(t, "the message arrives", func() bool { return len(h.received()) == i+1 })
	}
	testkit.Eventually(t, "the connection is parked", p.isParked)
	p.Flush()
	write(t, client, "hello")
	testkit.Eventually(t, "the connection is detached", p.isDetached)
}

// Nobody writes to a connection that is over, or closes it again.
func TestEndedConnectionHasNoWriter(t *testing.T) {
	p, client := connect(t, newRecorder())
	testkit.Eventually(t, "the connection is detached", p.isDetached)
	client.Close()
	p.ends(t, Cause{Reason: ReasonReset})
	if p.Hold() {
		t.Error("Hold has the caller write")
		p.Flush()
	}
	if n := p.counters.Open.Load(); n != 0 {
		t.Errorf("%d connections are open, want none", n)
	}
}
