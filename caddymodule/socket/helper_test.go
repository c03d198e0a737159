package socket

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// testLoop is the loop of the connections of all tests.
var testLoop = NewLoop(nil)

func testLimits() Limits {
	return Limits{Frame: 64 << 10, Queue: 1 << 20, Ping: 25 * time.Second, Silence: 35 * time.Second}
}

// recorder is a Handler that records its calls.
type recorder struct {
	onMessage func(text bool, p []byte)
	onControl func()

	mu       sync.Mutex
	limits   Limits
	messages []string
	binary   int
	controls int
	causes   []Cause
	panics   []any
}

func newRecorder() *recorder { return &recorder{limits: testLimits()} }

func (r *recorder) Limits() Limits {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.limits
}

func (r *recorder) Message(text bool, p []byte) {
	r.mu.Lock()
	r.messages = append(r.messages, string(p))
	if !text {
		r.binary++
	}
	r.mu.Unlock()
	if r.onMessage != nil {
		r.onMessage(text, p)
	}
}

func (r *recorder) Control() {
	r.mu.Lock()
	r.controls++
	r.mu.Unlock()
	if r.onControl != nil {
		r.onControl()
	}
}

func (r *recorder) Closed(cause Cause) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.causes = append(r.causes, cause)
}

func (r *recorder) Panicked(v any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.panics = append(r.panics, v)
}

func (r *recorder) received() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.messages...)
}

func (r *recorder) controlled() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.controls
}

func (r *recorder) closed() []Cause {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Cause(nil), r.causes...)
}

func (r *recorder) panicked() []any {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]any(nil), r.panics...)
}

// peer is the server's end of a connection, with its handler.
type peer struct {
	*Conn
	handler  *recorder
	counters Counters
}

// ends waits until the connection is gone, and checks that Closed was called once, with the given
// cause.
func (p *peer) ends(t testing.TB, want Cause) {
	t.Helper()
	testkit.Eventually(t, "the connection ends", func() bool { return p.counters.Open.Load() == 0 && len(p.handler.closed()) > 0 })
	got := p.handler.closed()
	if len(got) != 1 || got[0] != want {
		t.Errorf("Closed was called with %+v, want once with %+v", got, want)
	}
}

// begin starts the connection with the handler.
func begin(c *Conn, h *recorder) *peer { return beginOn(testLoop, c, h) }

// beginOn is begin with another loop.
func beginOn(loop *Loop, c *Conn, h *recorder) *peer {
	p := &peer{Conn: c, handler: h}
	c.Handle(h, &p.counters, loop)
	c.Start()
	return p
}

// connect opens a websocket over loopback TCP, from gorilla's client to this package.
func connect(t testing.TB, h *recorder) (*peer, *websocket.Conn) {
	t.Helper()
	return connectTo(t, httptest.NewServer, func(c *Conn) *peer { return begin(c, h) })
}

// connectTLS is connect over TLS.
func connectTLS(t testing.TB, h *recorder) (*peer, *websocket.Conn) {
	t.Helper()
	return connectTo(t, httptest.NewTLSServer, func(c *Conn) *peer { return begin(c, h) })
}

// connectTo is connect with a kind of server and a way to start the connection.
func connectTo(t testing.TB, serve func(http.Handler) *httptest.Server, begin func(*Conn) *peer) (*peer, *websocket.Conn) {
	t.Helper()
	conns := make(chan *Conn, 1)
	server := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Upgrade(w, r, "")
		if err != nil {
			t.Errorf("Upgrade: %v", err)
		}
		conns <- c
	}))
	dialer := websocket.Dialer{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // the server's own certificate
	client, _, err := dialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	p := begin(<-conns)
	t.Cleanup(func() {
		client.Close()
		p.Kill()
		testkit.Eventually(t, "the connection ends", func() bool { return p.counters.Open.Load() == 0 })
		server.Close()
	})
	return p, client
}

// handshakeRequest returns a browser's request.
func handshakeRequest() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://portal.example.com/message/socket", http.NoBody)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	return r
}

// hijacked is a ResponseWriter with any net.Conn, so that tests can use pipes and broken
// connections.
type hijacked struct {
	*httptest.ResponseRecorder
	conn net.Conn
}

func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if h.conn == nil {
		return nil, nil, errors.New("no connection")
	}
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

// over returns a websocket over the connection, as after a handshake.
func over(t testing.TB, conn net.Conn) *Conn {
	t.Helper()
	c, err := Upgrade(hijacked{httptest.NewRecorder(), conn}, handshakeRequest(), "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// fake connects a test with this package through a pipe without buffers. With testing/synctest,
// time is faked, too.
func fake(t testing.TB, h *recorder) (*peer, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close(); far.Close() })
	return begin(over(t, far), h), near
}

// frame is one frame from the server.
type frame struct {
	head    byte // FIN and opcode
	payload string
}

// readFrame reads one frame from a server.
func readFrame(r io.Reader) (frame, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	size := uint64(head[1])
	switch head[1] {
	case 126:
		var n [2]byte
		if _, err := io.ReadFull(r, n[:]); err != nil {
			return frame{}, err
		}
		size = uint64(binary.BigEndian.Uint16(n[:]))
	case 127:
		var n [8]byte
		if _, err := io.ReadFull(r, n[:]); err != nil {
			return frame{}, err
		}
		size = binary.BigEndian.Uint64(n[:])
	}
	payload := make([]byte, size)
	_, err := io.ReadFull(r, payload)
	return frame{head[0], string(payload)}, err
}

// readFrames reads to the end of the connection.
func readFrames(r io.Reader) []frame {
	var all []frame
	for {
		f, err := readFrame(r)
		if err != nil {
			return all
		}
		all = append(all, f)
	}
}

// clientFrame builds a frame as clients send it, masked.
func clientFrame(head byte, payload string) []byte {
	b := []byte{head}
	switch n := len(payload); {
	case n <= maxControl:
		b = append(b, 0x80|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := [4]byte{1, 2, 3, 4}
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	return b
}

func clientClose(code int) []byte {
	return clientFrame(finClose, string([]byte{byte(code >> 8), byte(code)}))
}

// text builds a frame with the payload.
func text(payload string) []byte {
	return Text(func(b []byte) []byte { return append(b, payload...) })
}

// goroutinesIn counts the goroutines in a function of this package, like "(*Conn).write".
func goroutinesIn(function string) int {
	b := make([]byte, 1<<20)
	b = b[:runtime.Stack(b, true)]
	return strings.Count(string(b), "/socket."+function+"(")
}
