package socket

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"

	"github.com/gorilla/websocket"
)

// Subprotocol is the one the server speaks. A client that offers none is served too.
const Subprotocol = "rollcall.v1"

// UpgradeError is a request that is not a websocket handshake, or not one that can be served.
type UpgradeError struct {
	Status int // HTTP
	Reason string
}

func (e *UpgradeError) Error() string { return e.Reason }

// readBuffer is the size in bytes of gorilla's read buffer, held for the life of a connection. Frames from browsers are
// small; a larger one takes more reads.
const readBuffer = 512

// Upgrade makes a websocket of the request. Nothing is read before [Conn.Start], and nothing may be written to w after
// Upgrade has returned without an error.
//
// It returns an *UpgradeError, with nothing written, when the request is no websocket handshake.
func Upgrade(w http.ResponseWriter, r *http.Request) (*Conn, error) {
	if err := checkHandshake(r); err != nil {
		return nil, err
	}
	h := &handshake{ResponseWriter: w, request: r}
	var failed *UpgradeError
	u := websocket.Upgrader{
		ReadBufferSize: readBuffer,
		// gorilla holds no write buffer: this package writes.
		WriteBufferPool: noBuffers{},
		Subprotocols:    []string{Subprotocol},
		CheckOrigin:     func(*http.Request) bool { return true }, // the caller's: it answers with a close code
		Error: func(_ http.ResponseWriter, _ *http.Request, status int, reason error) {
			failed = &UpgradeError{Status: status, Reason: reason.Error()}
		},
	}
	ws, err := u.Upgrade(h, r, nil)
	switch {
	case failed != nil:
		return nil, failed
	case err != nil:
		return nil, fmt.Errorf("upgrading to a websocket: %w", err)
	}
	return newConn(h.conn, ws), nil
}

func checkHandshake(r *http.Request) error {
	switch {
	case r.ProtoMajor != 1:
		return &UpgradeError{http.StatusNotImplemented, "websockets are served over HTTP/1.1 only"}
	case !r.ProtoAtLeast(1, 1): // RFC 6455 section 4.2.1; HTTP/1.0 has no 101 response
		return &UpgradeError{http.StatusUpgradeRequired, "a websocket begins with HTTP/1.1"}
	case r.Method != http.MethodGet:
		return &UpgradeError{http.StatusMethodNotAllowed, "a websocket begins with GET"}
	case !websocket.IsWebSocketUpgrade(r):
		return &UpgradeError{http.StatusUpgradeRequired, "this is a websocket: connect with Upgrade: websocket"}
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		return &UpgradeError{http.StatusUpgradeRequired, "unsupported websocket version: send Sec-WebSocket-Version: 13"}
	case r.ContentLength != 0:
		// Caddy sets a deadline on the connection when the handler of a request with a body returns.
		return &UpgradeError{http.StatusBadRequest, "a websocket handshake has no body"}
	}
	return nil
}

// handshake is what gorilla upgrades. Two things differ from a plain ResponseWriter.
//
// The 101 response goes through WriteHeader of the outermost writer, as reverse_proxy does it, and the one that gorilla
// writes itself is dropped: access log and metrics see the status, and headers set by others are sent.
//
// The connection is hijacked from the innermost writer. Caddy's writers have no Hijack since 2.11.5 (caddy#7913) while
// gorilla 1.5.3 asks for it by type assertion, and a recorder in between would count bytes for as long as
// the connection lives, which holds 14 KB and races with the log line.
type handshake struct {
	http.ResponseWriter
	request *http.Request
	conn    *gorillaConn
}

// Hijack implements http.Hijacker; gorilla calls it when all its checks have passed.
func (h *handshake) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	inner := h.ResponseWriter
	for {
		u, ok := inner.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		inner = u.Unwrap()
	}
	hijacker, ok := inner.(http.Hijacker)
	if !ok {
		return nil, nil, fmt.Errorf("%T cannot be hijacked", inner)
	}

	header := h.Header()
	header.Set("Upgrade", "websocket")
	header.Set("Connection", "Upgrade")
	header.Set("Sec-WebSocket-Accept", acceptKey(h.request.Header.Get("Sec-WebSocket-Key")))
	if slices.Contains(websocket.Subprotocols(h.request), Subprotocol) {
		header.Set("Sec-WebSocket-Protocol", Subprotocol)
	}
	h.WriteHeader(http.StatusSwitchingProtocols)

	conn, rw, err := hijacker.Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("hijacking: %w", err)
	}
	g := &gorillaConn{Conn: conn}
	h.conn = g
	// The response is out, so a fast client's first frame can have arrived with net/http. gorilla would take it for a
	// violation: it is used to writing the response itself, later.
	if n := rw.Reader.Buffered(); n > 0 {
		g.early = make([]byte, n)
		_, _ = io.ReadFull(rw.Reader, g.early) // cannot fail: they are buffered
		rw = bufio.NewReadWriter(bufio.NewReaderSize(conn, 0), rw.Writer)
	}
	return g, rw, nil
}

// gorillaConn is the connection as gorilla sees it. It swallows the first write, gorilla's own 101 response, and reads
// first what net/http had read already.
type gorillaConn struct {
	net.Conn
	dropped bool
	early   []byte
	left    int64 // bytes that may come for the message that is read now
}

// allow lets a message of the given size come. In fragments of one byte each, it takes seven times its size. Fragments
// without any content would never reach gorilla's own limit.
func (g *gorillaConn) allow(size int64) { g.left = 8*size + 2*readBuffer }

func (g *gorillaConn) Write(p []byte) (int, error) {
	if !g.dropped {
		g.dropped = true
		return len(p), nil
	}
	return g.Conn.Write(p)
}

func (g *gorillaConn) Read(p []byte) (int, error) {
	if g.left < 0 {
		return 0, websocket.ErrReadLimit
	}
	if len(g.early) > 0 {
		n := copy(p, g.early)
		g.early = g.early[n:]
		if len(g.early) == 0 {
			g.early = nil
		}
		return n, nil
	}
	n, err := g.Conn.Read(p)
	g.left -= int64(n)
	return n, err
}

// noBuffers keeps gorilla from allocating a write buffer; it writes control frames without one.
type noBuffers struct{}

func (noBuffers) Get() any { return nil }
func (noBuffers) Put(any)  {}
