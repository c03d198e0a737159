package socket

import (
	"bufio"
	"context"
	"crypto/sha1" // RFC 6455 requires it; nothing depends on its strength
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/gorilla/websocket"
)

// UpgradeError is returned for a request that is not a websocket handshake, or that cannot be
// served as one.
type UpgradeError struct {
	Status int // HTTP status
	Reason string
}

func (e *UpgradeError) Error() string { return e.Reason }

// Upgrade turns the request into a websocket with the subprotocol, one that the client offers, or
// with none if it is "". It reads nothing before [Conn.Start]. If it returns no error, nothing may
// be written to w afterwards.
//
// It returns an *UpgradeError, with nothing written, if the request is not a websocket handshake.
func Upgrade(w http.ResponseWriter, r *http.Request, subprotocol string) (*Conn, error) {
	if err := checkHandshake(r); err != nil {
		return nil, err
	}
	h := &handshake{ResponseWriter: w, request: r, subprotocol: subprotocol}
	var failed *UpgradeError
	u := websocket.Upgrader{
		// gorilla does the handshake, and this package reads and writes.
		ReadBufferSize:  1,
		WriteBufferPool: noBuffers{},
		CheckOrigin:     func(*http.Request) bool { return true }, // the caller checks it, and refuses with a close code
		Error: func(_ http.ResponseWriter, _ *http.Request, status int, reason error) {
			failed = &UpgradeError{Status: status, Reason: reason.Error()}
		},
	}
	_, err := u.Upgrade(h, r, nil)
	switch {
	case failed != nil:
		return nil, failed
	case err != nil:
		return nil, fmt.Errorf("upgrading to a websocket: %w", err)
	}
	c := newConn(h.conn, h.early)
	c.corked = h.corked
	return c, nil
}

// connKey is the context key of a request's connection.
type connKey struct{}

// WithConn returns a context for the requests of a connection, for http.Server.ConnContext. With
// it, [Upgrade] knows the connection before it is hijacked: the 101 response waits for frames that
// are written before [Conn.Start], and leaves with them.
func WithConn(ctx context.Context, nc net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, nc)
}

func checkHandshake(r *http.Request) error {
	switch {
	case r.ProtoMajor != 1:
		return &UpgradeError{http.StatusNotImplemented, "websockets are served over HTTP/1.1 only"}
	case !r.ProtoAtLeast(1, 1): // RFC 6455 section 4.2.1; HTTP/1.0 has no 101 response
		return &UpgradeError{http.StatusUpgradeRequired, "a websocket starts with HTTP/1.1"}
	case r.Method != http.MethodGet:
		return &UpgradeError{http.StatusMethodNotAllowed, "a websocket starts with a GET request"}
	case !websocket.IsWebSocketUpgrade(r):
		return &UpgradeError{http.StatusUpgradeRequired, "this is a websocket: connect with Upgrade: websocket"}
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		return &UpgradeError{http.StatusUpgradeRequired, "unsupported websocket version: send Sec-WebSocket-Version: 13"}
	case r.ContentLength != 0:
		// Caddy sets a deadline on the connection when the handler of a request with a body
		// returns.
		return &UpgradeError{http.StatusBadRequest, "a websocket handshake has no body"}
	}
	return nil
}

// handshake is the ResponseWriter that gorilla upgrades. It differs from a plain one in two things.
//
// The 101 response goes through WriteHeader of the outermost writer, as in reverse_proxy, and
// gorilla's own response is dropped. So the access log and metrics see the status, and headers of
// other handlers are sent.
//
// The connection is hijacked from the innermost writer. Caddy's writers have no Hijack since 2.11.5
// (caddy#7913), while gorilla 1.5.3 asks for it by type assertion. A recorder in between would
// count bytes for the life of the connection, which holds 14 KB and races with the log line.
type handshake struct {
	http.ResponseWriter
	request     *http.Request
	subprotocol string
	conn        net.Conn
	corked      bool
	early       []byte // bytes that net/http has read behind the request
}

// Hijack implements http.Hijacker. gorilla calls it after its checks.
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
	if h.subprotocol != "" {
		header.Set("Sec-WebSocket-Protocol", h.subprotocol)
	}
	// Hijacking writes the response, so cork the connection now.
	if nc, ok := h.request.Context().Value(connKey{}).(*net.TCPConn); ok {
		h.corked = cork(nc, true)
	}
	h.WriteHeader(http.StatusSwitchingProtocols)

	conn, rw, err := hijacker.Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("hijacking: %w", err)
	}
	h.conn = conn
	// The response is sent, so net/http may already have read a fast client's first frame. gorilla
	// would treat that as a violation, because it writes its own response only later.
	if n := rw.Reader.Buffered(); n > 0 {
		h.early = make([]byte, n)
		_, _ = io.ReadFull(rw.Reader, h.early) // cannot fail: the bytes are buffered
		rw = bufio.NewReadWriter(bufio.NewReaderSize(conn, 0), rw.Writer)
	}
	return handshakeConn{conn}, rw, nil
}

// acceptGUID is appended to the client's key (RFC 6455 section 1.3).
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// acceptKey returns the value of Sec-WebSocket-Accept for a client's Sec-WebSocket-Key.
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + acceptGUID))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Offered returns the first subprotocol that the client offers and that is accepted, or "". The
// client can offer them in several header fields (RFC 6455 section 11.3.4), of which gorilla reads
// only the first.
func Offered(r *http.Request, accepted func(subprotocol string) bool) string {
	for _, field := range r.Header.Values("Sec-WebSocket-Protocol") {
		for offered := range strings.SplitSeq(field, ",") {
			if offered = strings.TrimSpace(offered); accepted(offered) {
				return offered
			}
		}
	}
	return ""
}

// handshakeConn is the connection that gorilla sees. It swallows gorilla's own 101 response, the
// only write.
type handshakeConn struct{ net.Conn }

func (handshakeConn) Write(p []byte) (int, error) { return len(p), nil }

// noBuffers keeps gorilla from allocating a write buffer.
type noBuffers struct{}

func (noBuffers) Get() any { return nil }
func (noBuffers) Put(any)  {}
