package ws

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/internal/description"
	"github.com/rollcall-gateway/rollcall/internal/model"
)

// Patience is how long an operation may take that should be immediate, on a busy machine.
const Patience = 20 * time.Second

// Subprotocol is the subprotocol that clients offer.
const Subprotocol = "rollcall.v1"

// User is the user of a connection.
type User = model.User

// Welcome is the first frame of a connection.
type Welcome struct {
	Type       string  `json:"type"`
	Connection string  `json:"connection"`
	Channel    string  `json:"channel"`
	User       *User   `json:"user"`
	Ping       float64 `json:"ping"`
}

// Client is a websocket that has received its welcome.
type Client struct {
	Conn    *websocket.Conn
	Welcome Welcome
	// Response is the answer to the handshake.
	Response *http.Response
	// frames checks what is sent and received.
	frames description.Socket
}

// Request is a handshake. Its zero value, with a URL, is a plain one.
type Request struct {
	URL    string // ws or wss
	Host   string // replaces the host of the URL if not ""
	Header http.Header
	// Protocols are the offered subprotocols. If nil, rollcall.v1 is offered; if empty, none.
	Protocols []string
}

// Open only makes the handshake. On an HTTP error, the connection is nil and the response is not.
func Open(t testing.TB, r Request) (*websocket.Conn, *http.Response) {
	t.Helper()
	conn, resp, err := dial(r)
	if err != nil && (resp == nil || !errors.Is(err, websocket.ErrBadHandshake)) {
		t.Fatalf("opening %s: %v", r.URL, err)
	}
	if conn != nil {
		t.Cleanup(func() { _ = conn.Close() })
	}
	return conn, resp
}

// dial makes a handshake. It may be called from any goroutine.
func dial(r Request) (*websocket.Conn, *http.Response, error) {
	header := r.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	if r.Host != "" {
		header.Set("Host", r.Host)
	}
	protocols := r.Protocols
	if protocols == nil {
		protocols = []string{Subprotocol}
	}
	tlsConfig := &tls.Config{InsecureSkipVerify: true} // the server made up the certificate
	if name, _, _ := strings.Cut(r.Host, ":"); name != "" {
		tlsConfig.ServerName = name
	}
	dialer := websocket.Dialer{
		HandshakeTimeout: Patience,
		Subprotocols:     protocols,
		TLSClientConfig:  tlsConfig,
		ReadBufferSize:   1024,
		WriteBufferSize:  256,
	}
	var (
		conn *websocket.Conn
		resp *http.Response
	)
	err := again(func() (err error) {
		conn, resp, err = dialer.Dial(r.URL, header)
		return err
	})
	return conn, resp, err
}

// again retries for Patience if the connection is closed without an answer. At a reload, Caddy
// opens new listeners next to the old ones (SO_REUSEPORT) and closes these. One in a hundred
// connections at that moment is reset, with or without Rollcall, and browsers retry, too. On a busy
// machine, the old listeners take connections for seconds.
func again(try func() error) error {
	const pause = 10 * time.Millisecond
	for deadline := time.Now().Add(Patience); ; time.Sleep(pause) {
		err := try()
		isReset := errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if !isReset || time.Now().After(deadline) {
			return err
		}
	}
}

// Dial makes the handshake and reads the welcome.
func Dial(t testing.TB, r Request) *Client {
	t.Helper()
	conn, resp := Open(t, r)
	if conn == nil {
		t.Fatalf("opening %s: status %s", r.URL, resp.Status)
	}
	c := &Client{Conn: conn, Response: resp}
	t.Cleanup(func() { c.expectRefusals(t) })
	if err := json.Unmarshal([]byte(c.Next(t)), &c.Welcome); err != nil || c.Welcome.Type != "welcome" {
		t.Fatalf("first frame is %+v (%v), want a welcome", c.Welcome, err)
	}
	return c
}

// Send sends a text frame.
func (c *Client) Send(t testing.TB, frame string) {
	t.Helper()
	c.SendRaw(t, websocket.TextMessage, []byte(frame))
}

// SendRaw sends a frame of any type.
func (c *Client) SendRaw(t testing.TB, kind int, p []byte) {
	t.Helper()
	_ = c.Conn.SetWriteDeadline(time.Now().Add(Patience))
	if err := c.Conn.WriteMessage(kind, p); err != nil {
		t.Fatalf("sending %.100s: %v", p, err)
	}
	if kind == websocket.TextMessage {
		c.frames.Sent(string(p))
	}
}

// Next returns the next text frame.
func (c *Client) Next(t testing.TB) string {
	t.Helper()
	_ = c.Conn.SetReadDeadline(time.Now().Add(Patience))
	kind, p, err := c.Conn.ReadMessage()
	if err != nil {
		t.Fatalf("waiting for a frame: %v", err)
	}
	if kind != websocket.TextMessage {
		t.Fatalf("got a frame of type %d, want text: %q", kind, p)
	}
	if err := c.frames.Received(string(p)); err != nil {
		t.Error(err)
	}
	return string(p)
}

// expectRefusals reads until Rollcall has refused each sent frame that it must refuse, or has
// closed the connection.
func (c *Client) expectRefusals(t testing.TB) {
	if t.Failed() {
		return
	}
	_ = c.Conn.SetReadDeadline(time.Now().Add(Patience))
	for wrong := c.frames.Accepted(); wrong != nil; wrong = c.frames.Accepted() {
		_, p, err := c.Conn.ReadMessage()
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			t.Error(wrong)
			return
		case err != nil:
			return
		}
		if err := c.frames.Received(string(p)); err != nil {
			t.Error(err)
		}
	}
}

// Close sends a close frame and waits for the server's.
func (c *Client) Close(t testing.TB) {
	t.Helper()
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	if err := c.Conn.WriteControl(websocket.CloseMessage, bye, time.Now().Add(Patience)); err != nil {
		t.Fatalf("closing: %v", err)
	}
	ExpectClose(t, c.Conn, websocket.CloseNormalClosure)
}
