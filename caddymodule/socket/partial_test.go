package socket

import (
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// trickle writes one byte a second until the connection fails.
func trickle(nc net.Conn, sent []byte) {
	for _, b := range sent {
		time.Sleep(time.Second)
		if _, err := nc.Write([]byte{b}); err != nil {
			return
		}
	}
}

func TestUnfinishedMessageIsClosed(t *testing.T) {
	long := clientFrame(finText, strings.Repeat("x", 1000))
	for _, test := range []struct {
		name string
		send func(nc net.Conn)
	}{
		{"a fragment, and pings", func(nc net.Conn) {
			nc.Write(clientFrame(0x01, "begun"))
			for range 60 {
				time.Sleep(time.Second)
				nc.Write(clientFrame(finPing, "still here"))
			}
		}},
		{"fragments without end", func(nc net.Conn) {
			nc.Write(clientFrame(0x01, ""))
			for range 60 {
				time.Sleep(time.Second)
				nc.Write(append(clientFrame(0x00, "x"), clientFrame(finPong, "")...))
			}
		}},
		{"a frame that trickles in", func(nc net.Conn) { trickle(nc, long) }},
		{"a frame that stops", func(nc net.Conn) { nc.Write(long[:500]) }},
		{"half a header", func(nc net.Conn) { nc.Write(long[:1]) }},
		{"a ping that trickles in", func(nc net.Conn) { trickle(nc, clientFrame(finPing, strings.Repeat("x", maxControl))) }},
		{"the second of two", func(nc net.Conn) { nc.Write(append(clientFrame(finText, "whole"), long[:500]...)) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newRecorder()
				p, client := fake(t, h)
				start := time.Now()
				go test.send(client) // ends when its time is up
				got := readFrames(client)
				if last := got[len(got)-1]; last.head != finClose || !strings.HasPrefix(last.payload, "\x03\xf0") {
					t.Errorf("the peer got %q, want a close frame with the code 1008 at last", got)
				}
				// A second may pass before the first byte, one for the peer's answer, and one to
				// the end.
				if after := time.Since(start); after < messageTimeout || after > messageTimeout+4*time.Second {
					t.Errorf("the connection is closed after %s", after)
				}
				synctest.Wait()
				p.ends(t, Cause{ReasonUnfinished, ClosePolicy})
				if got := h.received(); len(got) > 0 && !slices.Equal(got, []string{"whole"}) {
					t.Errorf("the handler got %q", got)
				}
				time.Sleep(time.Minute) // test.send ends
			})
		})
	}
}

// The timeout applies to each message, not to messages that come without a pause.
func TestSlowMessagesAreRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newRecorder()
		p, client := fake(t, h)
		go readFrames(client)
		var want []string
		var sent []byte
		for i := range 10 {
			m := strings.Repeat(string(rune('a'+i)), 100)
			want = append(want, m, m)
			sent = append(sent, clientFrame(finText, m)...)
			sent = append(append(append(sent, clientFrame(0x01, m[:50])...), clientFrame(finPing, "p")...), clientFrame(0x80, m[50:])...)
		}
		// Each message takes up to 28 s. A write has the end of a message and the start of the next
		// one.
		for part := range slices.Chunk(sent, 60) {
			time.Sleep(7 * time.Second)
			if _, err := client.Write(part); err != nil {
				t.Fatalf("the connection was closed: %v", h.closed())
			}
		}
		synctest.Wait()
		if got := h.received(); !slices.Equal(got, want) {
			t.Errorf("got %d messages, want %d", len(got), len(want))
		}
		time.Sleep(2 * messageTimeout) // no message is incomplete, so no timer runs
		synctest.Wait()
		if got := h.closed(); len(got) > 0 {
			t.Errorf("the connection was closed: %v", got)
		}
		p.Kill()
		synctest.Wait()
	})
}

func TestUnfinishedMessagesShareABudget(t *testing.T) {
	for _, test := range []struct {
		name string
		sent []byte
	}{
		{"a frame", clientFrame(finText, strings.Repeat("x", 4000))[:3000]},
		{"a frame in fragments", append(clientFrame(0x01, strings.Repeat("x", 3000)), clientFrame(0x00, "x")...)},
		{"a frame behind another", append(clientFrame(finText, "whole"), clientFrame(finText, strings.Repeat("x", 4000))[:3000]...)},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				budget := new(Budget)
				connect := func() (*recorder, *peer, net.Conn) {
					h := newRecorder()
					h.limits.Unfinished = budget
					p, client := fake(t, h)
					return h, p, client
				}
				_, first, client := connect()
				client.Write(test.sent)
				synctest.Wait()
				if n := budget.held.Load(); n < 3000-freePart || n > 8000 {
					t.Errorf("%d bytes are counted for 3000", n)
				}
				first.Kill()
				synctest.Wait()
				if n := budget.held.Load(); n != 0 {
					t.Errorf("%d bytes are counted after the end", n)
				}

				budget.held.Store(maxUnfinished)
				h, second, client := connect()
				go client.Write(test.sent)
				got := readFrames(client)
				if len(got) != 1 || got[0].head != finClose || !strings.HasPrefix(got[0].payload, "\x10\x0e") {
					t.Errorf("the peer got %q, want one close frame with the code 4110", got)
				}
				synctest.Wait()
				second.ends(t, Cause{ReasonUnfinished, CloseUnavailable})
				if n := budget.held.Load(); n != maxUnfinished {
					t.Errorf("%d bytes are counted, want those of other connections", n)
				}
				if got := h.received(); len(got) > 0 && !slices.Equal(got, []string{"whole"}) {
					t.Errorf("the handler got %q", got)
				}

				// A small message does not need the budget.
				h, third, client := connect()
				client.Write(append(clientFrame(0x01, strings.Repeat("x", 400)), clientFrame(0x80, "")[:3]...))
				synctest.Wait()
				client.Write(clientFrame(0x80, "")[3:])
				synctest.Wait()
				if len(h.received()) != 1 || len(h.closed()) > 0 {
					t.Errorf("got %q, closed %v", h.received(), h.closed())
				}
				third.Kill()
				synctest.Wait()
			})
		})
	}
}

// A peer whose message exceeds the budget receives the reason, also while it is still sending.
func TestBudgetIsSpentByMany(t *testing.T) {
	const size = 1 << 20
	const others = maxUnfinished - 4*size // held by other connections: fewer bytes need to be sent
	budget := new(Budget)
	budget.held.Store(others)
	var peers []*peer
	for range 8 {
		h := newRecorder()
		h.limits.Frame, h.limits.Unfinished = size, budget
		p, client := connect(t, h)
		peers = append(peers, p)
		go readFrames(client.NetConn())
		go client.NetConn().Write(clientFrame(finText, strings.Repeat("x", size))[:size-1]) // ends with the connection
	}
	closed := func() (n int) {
		for _, p := range peers {
			n += len(p.handler.closed())
		}
		return n
	}
	testkit.Eventually(t, "the budget is spent", func() bool { return closed() >= 4 })
	if n := budget.held.Load(); n > maxUnfinished {
		t.Errorf("%d bytes are held, want at most %d", n, maxUnfinished)
	}
	for _, p := range peers {
		for _, cause := range p.handler.closed() {
			if cause != (Cause{ReasonUnfinished, CloseUnavailable}) {
				t.Errorf("closed for %v", cause)
			}
		}
		p.Kill()
	}
	testkit.Eventually(t, "nothing is held", func() bool { return budget.held.Load() == others })
}
