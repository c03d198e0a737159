package socket

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

func TestMessagesComeInOrder(t *testing.T) {
	h := newRecorder()
	p, client := connect(t, h)
	want := []string{"", "a", strings.Repeat("b", 125), strings.Repeat("c", 126), strings.Repeat("d", 64<<10), "e"}
	bytes := 0
	for i, m := range want {
		kind := websocket.TextMessage
		if i == 1 {
			kind = websocket.BinaryMessage
		}
		if err := client.WriteMessage(kind, []byte(m)); err != nil {
			t.Fatal(err)
		}
		bytes += len(m)
	}
	testkit.Eventually(t, "all messages arrive", func() bool { return len(h.received()) == len(want) })
	for i, got := range h.received() {
		if got != want[i] {
			t.Errorf("message %d is %.20q with %d bytes, want %.20q with %d", i, got, len(got), want[i], len(want[i]))
		}
	}
	if in, b := p.counters.FramesIn.Load(), p.counters.BytesIn.Load(); in != uint64(len(want)) || b != uint64(bytes) || h.binary != 1 {
		t.Errorf("counted %d frames with %d bytes, %d of them binary", in, b, h.binary)
	}
}

func TestPingIsAnswered(t *testing.T) {
	h := newRecorder()
	_, client := connect(t, h)
	pongs := make(chan string, 1)
	client.SetPongHandler(func(data string) error {
		pongs <- data
		return nil
	})
	go client.ReadMessage()
	for _, data := range []string{"", "abc", strings.Repeat("x", maxControl)} {
		if err := client.WriteControl(websocket.PingMessage, []byte(data), time.Now().Add(testkit.Patience)); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-pongs:
			if got != data {
				t.Errorf("the pong has %q, want %q", got, data)
			}
		case <-time.After(testkit.Patience):
			t.Fatal("no pong")
		}
	}
	if h.controlled() != 3 {
		t.Errorf("Control was called %d times, want 3", h.controlled())
	}
}

func TestControlFloodReachesTheHandler(t *testing.T) {
	h := newRecorder()
	var p atomic.Pointer[peer]
	h.onControl = func() {
		if h.controlled() == 100 {
			p.Load().Close(CloseRateLimited, "too many frames", Cause{Reason: ReasonRateLimited})
		}
	}
	near, far := net.Pipe()
	defer near.Close()
	c := over(t, far)
	started := &peer{Conn: c, handler: h}
	p.Store(started)
	c.Handle(h, &started.counters, testLoop)
	c.Start()

	frames := make(chan []frame)
	go func() { frames <- readFrames(near) }()
	begun := time.Now()
	for i := 0; ; i++ {
		ping := clientFrame(finPing, "flood")
		if i%2 == 1 {
			ping = clientFrame(finPong, "flood")
		}
		if _, err := near.Write(ping); err != nil {
			break
		}
		if time.Since(begun) > testkit.Patience {
			t.Fatal("the flood is never stopped")
		}
	}
	got := <-frames
	if last := got[len(got)-1]; last.head != finClose {
		t.Errorf("the last frame is %q", last)
	}
	started.ends(t, Cause{ReasonRateLimited, CloseRateLimited})
}

// A pong that answers a ping of the server is not unsolicited.
func TestControlIsNotToldOfAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newRecorder()
		h.limits.Ping = 10 * time.Second
		p, client := fake(t, h)
		w := NewWheel(100 * time.Millisecond)
		defer w.Stop()
		w.Add(p.Conn)
		for range 5 {
			f, err := readFrame(client)
			if err != nil || f != (frame{finPing, ""}) {
				t.Fatalf("read %q, error %v", f, err)
			}
			if _, err := client.Write(clientFrame(finPong, "")); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := h.controlled(); n != 0 {
			t.Errorf("Control was called %d times for answers", n)
		}
		for range 3 {
			client.Write(clientFrame(finPong, ""))
		}
		synctest.Wait()
		if n := h.controlled(); n != 3 {
			t.Errorf("Control was called %d times for 3 unsolicited pongs", n)
		}
		w.Remove(p.Conn)
		p.Kill()
		synctest.Wait()
	})
}

func TestProtocolErrors(t *testing.T) {
	unmasked := []byte{finText, 2, 'h', 'i'}
	for _, test := range []struct {
		name string
		sent []byte
	}{
		{"not masked", unmasked},
		{"reserved bit 1", clientFrame(0xc1, "")},
		{"reserved bit 2", clientFrame(0xa1, "")},
		{"reserved bit 3", clientFrame(0x91, "")},
		{"reserved opcode", clientFrame(0x83, "")},
		{"reserved control opcode", clientFrame(0x8b, "")},
		{"continuation of nothing", clientFrame(0x80, "")},
		{"text within a message", append(clientFrame(0x01, "a"), clientFrame(finText, "b")...)},
		{"control frame in fragments", clientFrame(0x09, "")},
		{"long control frame", clientFrame(finPing, strings.Repeat("x", 126))},
		{"close with half a code", clientFrame(finClose, "\x03")},
		{"close with a bad code", clientClose(999)},
		{"close with a code that is never sent", clientClose(1006)},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newRecorder()
			near, far := net.Pipe()
			defer near.Close()
			p := begin(over(t, far), h)
			go near.Write(test.sent)
			got := readFrames(near)
			if len(got) != 1 || got[0].head != finClose || !strings.HasPrefix(got[0].payload, "\x03\xea") {
				t.Errorf("the peer got %q, want one close frame with the code 1002", got)
			}
			p.ends(t, Cause{ReasonProtocol, websocket.CloseProtocolError})
			if len(h.received()) > 0 {
				t.Errorf("the handler got %q", h.received())
			}
		})
	}
}

func TestTooLarge(t *testing.T) {
	const limit = 4096
	fragments := func(size, count int) []byte {
		b := clientFrame(0x01, strings.Repeat("x", size))
		for range count - 1 {
			b = append(b, clientFrame(0x00, strings.Repeat("x", size))...)
		}
		return b
	}
	for _, test := range []struct {
		name string
		sent []byte
	}{
		{"one frame", clientFrame(finText, strings.Repeat("x", limit+1))},
		{"only announced", clientFrame(finText, strings.Repeat("x", 1<<16))[:14]},
		{"announced beyond 63 bits", []byte{finText, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}},
		{"fragments", fragments(1000, 5)},
		{"small fragments", fragments(1, limit+1)},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newRecorder()
				h.limits.Frame = limit
				p, client := fake(t, h)
				go client.Write(test.sent)
				got := readFrames(client)
				if len(got) != 1 || got[0].head != finClose || !strings.HasPrefix(got[0].payload, "\x03\xf1") {
					t.Errorf("the peer got %q, want one close frame with the code 1009", got)
				}
				synctest.Wait()
				p.ends(t, Cause{ReasonTooLarge, websocket.CloseMessageTooBig})
				if len(h.received()) > 0 {
					t.Errorf("the handler got %d messages", len(h.received()))
				}
			})
		})
	}
	t.Run("as large as allowed", func(t *testing.T) {
		h := newRecorder()
		h.limits.Frame = limit
		_, client := connect(t, h)
		client.WriteMessage(websocket.TextMessage, make([]byte, limit))
		// The worst that a peer may do within the limit.
		small := fragments(1, limit)
		small = append(small, clientFrame(0x80, "")...)
		client.NetConn().Write(small)
		testkit.Eventually(t, "both messages arrive", func() bool { return len(h.received()) == 2 })
	})
}

// RFC 6455 section 8.1. A character may be divided between fragments, and binary messages and pings
// are any bytes.
func TestTextIsUTF8(t *testing.T) {
	euro := []string{"\xe2", "\x82\xac"}
	fragments := func(parts ...string) (b []byte) {
		for i, part := range parts {
			head := byte(0x00)
			if i == 0 {
				head = 0x01
			}
			if i == len(parts)-1 {
				head |= 0x80
			}
			b = append(b, clientFrame(head, part)...)
		}
		return b
	}
	after := clientFrame(finText, "after")
	for _, test := range []struct {
		name string
		sent []byte
		want []string // messages; if nil, the connection is closed with 1007
	}{
		{"a byte that begins nothing", clientFrame(finText, "a\xff"), nil},
		{"a character cut short", clientFrame(finText, "\xe2\x82"), nil},
		{"an overlong form", clientFrame(finText, "\xc0\xaf"), nil},
		{"a surrogate", clientFrame(finText, "\xed\xa0\x80"), nil},
		{"beyond Unicode", clientFrame(finText, "\xf4\x90\x80\x80"), nil},
		{"in the first fragment", fragments("\xff", "a"), nil},
		{"in the last fragment", fragments("a", "b", "\xff"), nil},
		{"cut short at the end of the last fragment", fragments("a", euro[0]), nil},
		{"around a ping", append(append(clientFrame(0x01, "\xe2"), clientFrame(finPing, "p")...), clientFrame(0x80, "\xff")...), nil},
		{"the reason of a close frame", clientFrame(finClose, "\x03\xe8\xff"), nil},
		{"the reason of a close frame, cut short", clientFrame(finClose, "\x03\xe8"+euro[0]), nil},
		{"a character in two fragments", append(fragments(euro...), after...), []string{"\u20ac", "after"}},
		{"a binary message", append(clientFrame(0x82, "\xff"), after...), []string{"\xff", "after"}},
		{"a binary message in fragments", append(append(clientFrame(0x02, "\xe2"), clientFrame(0x80, "")...), after...), []string{"\xe2", "after"}},
		{"a ping", append(clientFrame(finPing, "\xff"), after...), []string{"after"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newRecorder()
			near, far := net.Pipe()
			defer near.Close()
			p := begin(over(t, far), h)
			frames := make(chan []frame, 1)
			go func() { frames <- readFrames(near) }()
			near.Write(test.sent)
			if test.want != nil {
				testkit.Eventually(t, "the messages arrive", func() bool { return len(h.received()) == len(test.want) })
				near.Close()
				p.ends(t, Cause{Reason: ReasonReset})
			} else {
				p.ends(t, Cause{ReasonProtocol, CloseNotUTF8})
				got := <-frames
				if last := got[len(got)-1]; last.head != finClose || !strings.HasPrefix(last.payload, "\x03\xef") {
					t.Errorf("the peer got %q, want a close frame with the code 1007 at last", got)
				}
			}
			if got := h.received(); !slices.Equal(got, test.want) {
				t.Errorf("the handler got %q, want %q", got, test.want)
			}
		})
	}
}

// A peer that is still sending must be able to finish. Otherwise, its connection breaks before it
// reads the reason.
func TestWhoSendsTooMuchLearnsWhy(t *testing.T) {
	large := strings.Repeat("x", 2<<20)
	for _, tr := range transports {
		for _, test := range []struct {
			name string
			send func(client *websocket.Conn) error
		}{
			{"in one frame", func(client *websocket.Conn) error {
				_, err := client.NetConn().Write(clientFrame(finText, large))
				return err
			}},
			{"in fragments", func(client *websocket.Conn) error {
				return client.WriteMessage(websocket.TextMessage, []byte(large))
			}},
			{"and more behind it", func(client *websocket.Conn) error {
				_, err := client.NetConn().Write(append(clientFrame(finText, large), clientFrame(finText, "more")...))
				return err
			}},
		} {
			t.Run(tr.name+" "+test.name, func(t *testing.T) {
				h := newRecorder()
				p, client := tr.connect(t, h)
				nc := client.NetConn()
				if secure, ok := nc.(*tls.Conn); ok {
					nc = secure.NetConn()
				}
				_ = nc.(*net.TCPConn).SetWriteBuffer(16 << 10) // it cannot finish before the server reads
				_ = client.NetConn().SetDeadline(time.Now().Add(testkit.Patience))
				if err := test.send(client); err != nil {
					t.Errorf("sending: %v", err)
				}
				if _, _, err := client.ReadMessage(); !websocket.IsCloseError(err, CloseTooLarge) {
					t.Errorf("the peer read the error %v, want close code %d", err, CloseTooLarge)
				}
				p.ends(t, Cause{ReasonTooLarge, CloseTooLarge})
				if len(h.received()) > 0 {
					t.Errorf("the handler got %d messages", len(h.received()))
				}
			})
		}
	}
}

// Fragments without content never add up to the limit on messages. Control frames between them do
// not help.
func TestEndlessFragments(t *testing.T) {
	h := newRecorder()
	h.limits.Frame = 4096
	near, far := net.Pipe()
	defer near.Close()
	p := begin(over(t, far), h)
	go io.Copy(io.Discard, near)
	sent := clientFrame(0x01, "")
	empty := clientFrame(0x00, "")
	for len(sent) < 64<<10 {
		sent = append(sent, empty...)
	}
	total := 0
	for {
		n, err := near.Write(sent)
		total += n
		if err != nil {
			break
		}
		if total > 16<<20 {
			t.Fatalf("a message took %d bytes of empty fragments and has not ended", total)
		}
		sent = sent[:0]
		for len(sent) < 64<<10 {
			sent = append(sent, empty...)
		}
	}
	testkit.Eventually(t, "the connection ends", func() bool { return p.counters.Open.Load() == 0 && len(h.closed()) == 1 })
	if got := h.closed()[0].Reason; got != ReasonTooLarge {
		t.Errorf("the reason is %q", got)
	}
}

func TestPanicEndsTheConnection(t *testing.T) {
	t.Run("in Message", func(t *testing.T) {
		h := newRecorder()
		h.onMessage = func(bool, []byte) { panic("a bug") }
		p, client := connect(t, h)
		other, otherClient := connect(t, newRecorder())
		client.WriteMessage(websocket.TextMessage, []byte("hello"))
		client.SetReadDeadline(time.Now().Add(testkit.Patience))
		_, _, err := client.ReadMessage()
		var closed *websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != CloseInternal {
			t.Errorf("the peer read the error %v", err)
		}
		p.ends(t, Cause{ReasonPanic, CloseInternal})
		if got := h.panicked(); len(got) != 1 || got[0] != "a bug" {
			t.Errorf("Panicked was called with %v", got)
		}
		// Other connections continue.
		other.Push(text("still here"))
		if _, got, err := otherClient.ReadMessage(); err != nil || string(got) != "still here" {
			t.Errorf("read %q, error %v", got, err)
		}
	})
	t.Run("in Control", func(t *testing.T) {
		h := newRecorder()
		h.onControl = func() { panic("a bug") }
		p, client := connect(t, h)
		client.WriteControl(websocket.PingMessage, nil, time.Now().Add(testkit.Patience))
		client.SetReadDeadline(time.Now().Add(testkit.Patience))
		var err error
		for err == nil {
			_, _, err = client.ReadMessage()
		}
		if !websocket.IsCloseError(err, CloseInternal) {
			t.Errorf("the peer read the error %v", err)
		}
		p.ends(t, Cause{ReasonPanic, CloseInternal})
		if got := h.panicked(); len(got) != 1 || got[0] != "a bug" {
			t.Errorf("Panicked was called with %v", got)
		}
	})
}

// Limits are read at each use, so a reload changes those of open connections.
func TestLimitsChangeForOpenConnections(t *testing.T) {
	h := newRecorder()
	p, client := connect(t, h)
	go client.ReadMessage() // answers the close frame
	client.WriteMessage(websocket.TextMessage, make([]byte, 2000))
	testkit.Eventually(t, "the message arrives", func() bool { return len(h.received()) == 1 })
	h.mu.Lock()
	h.limits.Frame = 1000
	h.mu.Unlock()
	// The read loop may already have read the limits for the next message.
	for range 2 {
		client.WriteMessage(websocket.TextMessage, make([]byte, 1001))
	}
	p.ends(t, Cause{ReasonTooLarge, websocket.CloseMessageTooBig})
}
