package socket

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// FuzzServerReads checks that a connection survives any bytes from a client after the handshake.
// Messages stay within the limit, and when the client is gone, the connection ends, with one call
// of Closed.
func FuzzServerReads(f *testing.F) {
	join := func(frames ...[]byte) []byte {
		var all []byte
		for _, b := range frames {
			all = append(all, b...)
		}
		return all
	}
	f.Add(clientFrame(finText, `{"type":"ping"}`))
	f.Add(join(clientFrame(0x01, "frag"), clientFrame(finPing, "between"), clientFrame(0x80, "ment")))
	f.Add(join(clientFrame(finPong, "unasked"), clientFrame(finText, ""), clientClose(1000), clientFrame(finText, "late")))
	f.Add(clientFrame(0x82, "binary"))
	f.Add(clientFrame(finClose, "\x03\xe8\xff"))
	f.Add(clientFrame(finText, string(make([]byte, 2000))))
	f.Add([]byte{finText, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4})
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte{finText, 0xfe, 0, 1})
	f.Add([]byte{})

	const limit = 1024
	f.Fuzz(func(t *testing.T, sent []byte) {
		h := newRecorder()
		h.limits.Frame, h.limits.Queue, h.limits.Unfinished = limit, 4*limit, new(Budget)
		near, far := net.Pipe()
		p := begin(over(t, far), h)
		frames := make(chan []frame, 1)
		go func() { frames <- readFrames(near) }()
		near.SetWriteDeadline(time.Now().Add(testkit.Patience))
		_, err := near.Write(sent)
		complete := err == nil
		p.Close(CloseGoingAway, "", Cause{Reason: ReasonHost})
		near.Write(clientClose(CloseGoingAway))
		// A frame that is cut short waits for its rest: only the end of the connection ends that at
		// once.
		if complete {
			near.Close()
		}
		got := <-frames
		near.Close()
		ended(t, p)
		if causes := h.closed(); len(causes) != 1 {
			t.Errorf("Closed was called with %+v", causes)
		}
		if n := h.limits.Unfinished.held.Load(); n != 0 {
			t.Errorf("%d bytes of unfinished messages are counted after the end", n)
		}
		if h.panicked() != nil {
			t.Errorf("panicked: %v", h.panicked())
		}
		total := 0
		for _, m := range h.received() {
			total += len(m)
			if len(m) > limit {
				t.Errorf("a message has %d bytes", len(m))
			}
		}
		if total > len(sent) {
			t.Errorf("the messages have %d bytes, and %d were sent", total, len(sent))
		}
		for _, f := range got {
			if f.head != finClose && f.head != finPong {
				t.Errorf("the peer got %q", f)
			}
		}
	})
}

// ended waits, in short steps, until the connection is gone.
func ended(t *testing.T, p *peer) {
	t.Helper()
	deadline := time.Now().Add(testkit.Patience)
	for p.counters.Open.Load() > 0 || len(p.handler.closed()) == 0 {
		if time.Now().After(deadline) {
			t.Fatal("the connection does not end")
		}
		time.Sleep(10 * time.Microsecond)
	}
}

// FuzzText checks that a frame of any payload is read back unchanged, to its last byte.
func FuzzText(f *testing.F) {
	f.Add([]byte(""), 1)
	f.Add([]byte("hello"), 30)
	f.Add([]byte("a"), 0x10000)
	f.Fuzz(func(t *testing.T, part []byte, times int) {
		if times < 0 || times > 1<<17 || len(part)*times > 1<<20 {
			return
		}
		var payload []byte
		for range times {
			payload = append(payload, part...)
		}
		near, far := net.Pipe()
		defer near.Close()
		go func() {
			defer far.Close()
			far.Write(Text(func(b []byte) []byte { return append(b, payload...) }))
		}()
		got, err := readFrame(near)
		if err != nil || got.head != finText || got.payload != string(payload) {
			t.Errorf("read %d bytes with the head %x, error %v, want %d bytes", len(got.payload), got.head, err, len(payload))
		}
		if rest, _ := io.ReadAll(near); len(rest) > 0 {
			t.Errorf("%d bytes follow", len(rest))
		}
	})
}

// scripted is a connection from which bytes arrive in pieces of a given size, and then EOF.
type scripted struct {
	net.Conn
	sent  []byte
	piece int
}

func (s *scripted) Read(p []byte) (int, error) {
	if len(s.sent) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.piece)], s.sent)
	s.sent = s.sent[n:]
	return n, nil
}
func (*scripted) Write(p []byte) (int, error)      { return len(p), nil }
func (*scripted) Close() error                     { return nil }
func (*scripted) SetDeadline(time.Time) error      { return nil }
func (*scripted) SetReadDeadline(time.Time) error  { return nil }
func (*scripted) SetWriteDeadline(time.Time) error { return nil }

// FuzzFramesLikeGorilla checks that messages are parsed as by gorilla, in whatever pieces they
// arrive. One difference is intended: gorilla leaves it to its callers to check that text is UTF-8
// (RFC 6455 section 8.1).
func FuzzFramesLikeGorilla(f *testing.F) {
	f.Add(clientFrame(finText, `{"type":"ping"}`), uint8(3))
	f.Add(append(append(clientFrame(0x01, "frag"), clientFrame(finPing, "between")...), clientFrame(0x80, "ment")...), uint8(1))
	f.Add(append(clientFrame(0x82, string(make([]byte, 300))), clientFrame(finText, "next")...), uint8(200))
	f.Add(append(clientFrame(finText, "last"), clientClose(1000)...), uint8(7))
	f.Add(append(append(clientFrame(0x01, "\xe2\x82"), clientFrame(0x80, "\xac")...), clientFrame(finText, "\xe2\x82")...), uint8(4))
	f.Add(append(clientFrame(0x82, "\xff"), clientFrame(finClose, "\x03\xe8\xff")...), uint8(4))
	f.Add([]byte{finText, 0xfe, 0, 1, 1, 2, 3, 4, 9}, uint8(2))
	f.Add([]byte{finText, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}, uint8(255))
	const limit = 1024
	f.Fuzz(func(t *testing.T, sent []byte, piece uint8) {
		h := newRecorder()
		h.limits.Frame = limit
		p := begin(over(t, &scripted{sent: sent, piece: int(piece) + 1}), h)
		ended(t, p)

		var want []string
		u := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
		ws, err := u.Upgrade(hijacked{httptest.NewRecorder(), &scripted{sent: sent, piece: 1 << 10}}, handshakeRequest(), nil)
		if err != nil {
			t.Fatal(err)
		}
		ws.SetReadLimit(limit)
		for {
			kind, m, err := ws.ReadMessage()
			if err != nil || kind == websocket.TextMessage && !utf8.Valid(m) {
				break
			}
			want = append(want, string(m))
		}
		if got := h.received(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q; closed for %+v", got, want, h.closed())
		}
	})
}
