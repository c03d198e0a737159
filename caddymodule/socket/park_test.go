package socket

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// isParked reports whether the loop owns the connection.
func (p *peer) isParked() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.parked
}

// transports are the kinds of connections that can be parked.
var transports = []struct {
	name    string
	connect func(testing.TB, *recorder) (*peer, *websocket.Conn)
	serve   func(http.Handler) *httptest.Server
}{{"TCP", connect, httptest.NewServer}, {"TLS", connectTLS, httptest.NewTLSServer}}

func TestConnectionsAreParkedBetweenMessages(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			h := newRecorder()
			p, client := tr.connect(t, h)
			var want []string
			for i := range 50 {
				testkit.Eventually(t, "the connection is parked", p.isParked)
				for range 1 + rand.N(20) { // also more than one read or TLS record holds
					m := fmt.Sprint(i, strings.Repeat("x", rand.N(20_000)))
					want = append(want, m)
					if err := client.WriteMessage(websocket.TextMessage, []byte(m)); err != nil {
						t.Fatal(err)
					}
				}
				testkit.Eventually(t, "the messages arrive", func() bool { return len(h.received()) == len(want) })
			}
			for i, got := range h.received() {
				if got != want[i] {
					t.Fatalf("message %d is %.20q with %d bytes, want %.20q with %d", i, got, len(got), want[i], len(want[i]))
				}
			}
			testkit.Eventually(t, "no goroutine reads", func() bool { return goroutinesIn("(*Conn).read") == 0 })
		})
	}
}

// A message that arrives in pieces occupies no goroutine, however long the rest takes.
func TestPartsOfAFrameAreKeptWithoutAGoroutine(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			h := newRecorder()
			p, client := tr.connect(t, h)
			sent := append(clientFrame(0x01, "frag"), clientFrame(finPing, "between")...)
			sent = append(sent, clientFrame(0x80, strings.Repeat("ment", 50))...)
			for _, b := range sent {
				if _, err := client.NetConn().Write([]byte{b}); err != nil {
					t.Fatal(err)
				}
				testkit.Eventually(t, "the connection is parked", p.isParked)
			}
			testkit.Eventually(t, "the message arrives", func() bool { return len(h.received()) == 1 })
			if got := h.received()[0]; got != "frag"+strings.Repeat("ment", 50) {
				t.Errorf("the message is %q", got)
			}
			testkit.Eventually(t, "nothing is kept", func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				return p.parked && p.partial == nil
			})
		})
	}
}

// endings are the ways in which a connection ends, parked or not.
var endings = []struct {
	name string
	end  func(p *peer, client *websocket.Conn)
	want Cause
}{
	{"by Close", func(p *peer, client *websocket.Conn) {
		go client.ReadMessage()
		p.Close(CloseGoingAway, "bye", Cause{Reason: ReasonHost})
	}, Cause{ReasonHost, CloseGoingAway}},
	{"by Close that is not answered", func(p *peer, _ *websocket.Conn) {
		p.Close(CloseGoingAway, "bye", Cause{Reason: ReasonHost})
	}, Cause{ReasonHost, CloseGoingAway}},
	{"by Kill", func(p *peer, _ *websocket.Conn) { p.Kill() }, Cause{Reason: ReasonReset}},
	{"by the client's close frame", func(_ *peer, client *websocket.Conn) {
		client.NetConn().Write(clientClose(websocket.CloseNormalClosure))
	}, Cause{ReasonClient, websocket.CloseNormalClosure}},
	{"by the end of the connection", func(_ *peer, client *websocket.Conn) { client.NetConn().Close() }, Cause{Reason: ReasonReset}},
}

func TestParkedConnectionsEnd(t *testing.T) {
	for _, tr := range transports {
		for _, test := range endings {
			t.Run(tr.name+" "+test.name, func(t *testing.T) {
				p, client := tr.connect(t, newRecorder())
				testkit.Eventually(t, "the connection is parked", p.isParked)
				test.end(p, client)
				p.ends(t, test.want)
			})
		}
	}
}

// A descriptor is reused as soon as it is closed: bytes for the previous connection must not reach
// or block the next one.
func TestDescriptorsThatAreUsedAgain(t *testing.T) {
	const rounds = 200
	recorders := make([]*recorder, rounds)
	for i := range recorders {
		h := newRecorder()
		recorders[i] = h
		p, client := connect(t, h)
		client.WriteMessage(websocket.TextMessage, []byte(fmt.Sprint("hello ", i)))
		arrives, killed := i&1 == 0, i&2 == 0
		if arrives {
			testkit.Eventually(t, "the message arrives", func() bool { return len(h.received()) == 1 })
		}
		client.NetConn().Close()
		if killed {
			p.Kill()
		}
		testkit.Eventually(t, "the connection ends", func() bool { return p.counters.Open.Load() == 0 })
	}
	for i, h := range recorders {
		switch got := h.received(); {
		case len(got) == 0 && i&1 == 1: // it ended before its message was read
		case len(got) != 1 || got[0] != fmt.Sprint("hello ", i):
			t.Errorf("connection %d received %q", i, got)
		}
	}
}

// A wrapped connection, like any connection without epoll, is read by a goroutine.
func TestWrappedConnectionsAreRead(t *testing.T) {
	h := newRecorder()
	near, far := net.Pipe()
	p := begin(over(t, struct{ net.Conn }{far}), h)
	if p.mode != modeBlocking {
		t.Fatalf("the connection is in way %d", p.mode)
	}
	near.Write(clientFrame(finText, "hello"))
	testkit.Eventually(t, "the message arrives", func() bool { return len(h.received()) == 1 })
	near.Close()
	p.ends(t, Cause{Reason: ReasonReset})
}

// A sender must flush only if no other will, and everything arrives once and in order.
func TestQueueAndFlush(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			const senders, rounds = 4, 500
			p, client := tr.connect(t, newRecorder())
			for s := range senders {
				go func() { // ends after its rounds
					for i := range rounds {
						a, b := text(fmt.Sprint(s, " ", 2*i)), text(fmt.Sprint(s, " ", 2*i+1))
						if p.Queue(append(a, b...), 2) {
							p.Flush()
						}
						if i%50 == 0 {
							p.Push(text("-1 0"))
						}
					}
				}()
			}
			next := make(map[int]int)
			client.SetReadDeadline(time.Now().Add(testkit.Patience))
			for range senders*2*rounds + senders*rounds/50 {
				_, m, err := client.ReadMessage()
				if err != nil {
					t.Fatal(err)
				}
				var s, i int
				fmt.Sscan(string(m), &s, &i)
				if s < 0 {
					continue
				}
				if i != next[s] {
					t.Fatalf("sender %d: got %d, want %d", s, i, next[s])
				}
				next[s]++
			}
			testkit.Eventually(t, "the writer ends", func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				return !p.writing && p.queued == 0
			})
		})
	}
}

// The kernel accepts only a part of the frames for a peer that does not read; the rest is not lost.
func TestFlushToAPeerThatReadsLate(t *testing.T) {
	h := newRecorder()
	h.limits.Queue = 64 << 20
	p, client := connect(t, h)
	const frames = 300
	size := 0
	for i := range frames {
		f := text(fmt.Sprint(i, strings.Repeat("x", 40_000)))
		size += len(f)
		if p.Queue(f, 1) {
			p.Flush()
		}
	}
	client.SetReadDeadline(time.Now().Add(testkit.Patience))
	for i := range frames {
		_, m, err := client.ReadMessage()
		if err != nil || !strings.HasPrefix(string(m), fmt.Sprint(i, "x")) {
			t.Fatalf("frame %d is %.10q, error %v", i, m, err)
		}
	}
	testkit.Eventually(t, "all is counted", func() bool {
		return p.counters.FramesOut.Load() == frames && p.counters.BytesOut.Load() == uint64(size)
	})
}

// However long the list is never empty, it does not grow with connections that are done.
func TestWritersListHoldsThoseWhoWait(t *testing.T) {
	w := writers{maxRunning: 0} // only the test writes
	const waiting = 3 * writerShare
	conns := make([]*Conn, waiting+10_000)
	for i := range conns {
		conns[i] = new(Conn)
	}
	var served []*Conn
	var share [writerShare]*Conn
	for i, c := range conns {
		w.add(c)
		if len(w.waiting)-w.first > waiting+i%writerShare {
			n := w.popShare(share[:])
			served = append(served, share[:n]...)
		}
		if most := 8 * waiting; cap(w.waiting) > most {
			t.Fatalf("the list has room for %d, and %d wait", cap(w.waiting), len(w.waiting)-w.first)
		}
	}
	for n := w.popShare(share[:]); n > 0; n = w.popShare(share[:]) {
		served = append(served, share[:n]...)
	}
	if !slices.Equal(served, conns) {
		t.Errorf("%d were served, or in another order, want %d", len(served), len(conns))
	}
}

func TestHoldKeepsWhatIsQueuedUntilFlush(t *testing.T) {
	p, client := connect(t, newRecorder())
	if !p.Hold() {
		t.Fatal("no writer is active although Hold was called")
	}
	if p.Hold() || p.Queue(text("first"), 1) {
		t.Error("two are to flush")
	}
	p.Push(text("second"))
	if n := p.counters.FramesOut.Load(); n != 0 {
		t.Errorf("%d frames were written", n)
	}
	p.Flush()
	client.SetReadDeadline(time.Now().Add(testkit.Patience))
	for _, want := range []string{"first", "second"} {
		if _, got, err := client.ReadMessage(); err != nil || string(got) != want {
			t.Errorf("read %q, error %v, want %q", got, err, want)
		}
	}
}
