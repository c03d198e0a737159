package socket

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// plainWriter has Unwrap and no Hijack, like Caddy's writers since 2.11.5 (caddy#7913).
type plainWriter struct{ http.ResponseWriter }

func (w plainWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// recordingWriter has a Hijack of its own, like the recorder of Caddy's access log.
type recordingWriter struct {
	http.ResponseWriter
	status   *atomic.Int32
	hijacked *atomic.Bool
}

func (w recordingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w recordingWriter) WriteHeader(status int) {
	w.status.Store(int32(status))
	w.ResponseWriter.WriteHeader(status)
}

func (w recordingWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.hijacked.Store(true)
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

func TestUpgradeThroughWrappers(t *testing.T) {
	var status atomic.Int32
	var hijacked atomic.Bool
	recording := func(w http.ResponseWriter) http.ResponseWriter { return recordingWriter{w, &status, &hijacked} }
	plain := func(w http.ResponseWriter) http.ResponseWriter { return plainWriter{w} }
	bare := func(w http.ResponseWriter) http.ResponseWriter { return w }

	for _, test := range []struct {
		name     string
		wrap     func(http.ResponseWriter) http.ResponseWriter
		recorded bool
	}{
		{"none", bare, false},
		{"without Hijack", plain, false},
		{"recorder", recording, true},
		{"recorder around plain ones", func(w http.ResponseWriter) http.ResponseWriter { return recording(plain(plain(w))) }, true},
		{"plain ones around a recorder", func(w http.ResponseWriter) http.ResponseWriter { return plain(recording(plain(w))) }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			status.Store(0)
			h := newRecorder()
			peers := make(chan *peer, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w = test.wrap(w)
				w.Header().Set("X-From-Another-Handler", "yes")
				w.Header().Add("Set-Cookie", "a=b")
				c, err := Upgrade(w, r, "")
				if err != nil {
					t.Errorf("Upgrade: %v", err)
					peers <- nil
					return
				}
				peers <- begin(c, h)
			}))
			defer server.Close()
			client, response, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			p := <-peers
			if test.recorded && status.Load() != http.StatusSwitchingProtocols {
				t.Errorf("the recorder saw the status %d", status.Load())
			}
			if hijacked.Load() {
				t.Error("the recorder is in the path of the connection")
			}
			if response.Header.Get("X-From-Another-Handler") != "yes" || response.Header.Get("Set-Cookie") != "a=b" {
				t.Errorf("headers of other handlers are missing in %v", response.Header)
			}
			p.Push(text("hello"))
			if _, got, err := client.ReadMessage(); err != nil || string(got) != "hello" {
				t.Errorf("read %q, error %v", got, err)
			}
			if err := client.WriteMessage(websocket.TextMessage, []byte("there")); err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, "the message arrives", func() bool { return len(h.received()) == 1 })
			client.Close()
			p.ends(t, Cause{Reason: ReasonReset})
		})
	}
}

func TestUpgradeRefuses(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*http.Request)
		status int
	}{
		{"HTTP/2", func(r *http.Request) { r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0 }, http.StatusNotImplemented},
		{"HTTP/3", func(r *http.Request) { r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/3.0", 3, 0 }, http.StatusNotImplemented},
		{"POST", func(r *http.Request) { r.Method = http.MethodPost }, http.StatusMethodNotAllowed},
		{"HEAD", func(r *http.Request) { r.Method = http.MethodHead }, http.StatusMethodNotAllowed},
		{"no Upgrade", func(r *http.Request) { r.Header.Del("Upgrade") }, http.StatusUpgradeRequired},
		{"another Upgrade", func(r *http.Request) { r.Header.Set("Upgrade", "h2c") }, http.StatusUpgradeRequired},
		{"no Connection", func(r *http.Request) { r.Header.Del("Connection") }, http.StatusUpgradeRequired},
		{"no version", func(r *http.Request) { r.Header.Del("Sec-WebSocket-Version") }, http.StatusUpgradeRequired},
		{"old version", func(r *http.Request) { r.Header.Set("Sec-WebSocket-Version", "8") }, http.StatusUpgradeRequired},
		{"no key", func(r *http.Request) { r.Header.Del("Sec-WebSocket-Key") }, http.StatusBadRequest},
		{"short key", func(r *http.Request) { r.Header.Set("Sec-WebSocket-Key", "AAAA") }, http.StatusBadRequest},
		{"key that is not base64", func(r *http.Request) { r.Header.Set("Sec-WebSocket-Key", "!") }, http.StatusBadRequest},
		{"body", func(r *http.Request) { r.ContentLength = 1 }, http.StatusBadRequest},
		{"chunked body", func(r *http.Request) { r.ContentLength = -1 }, http.StatusBadRequest},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := handshakeRequest()
			test.change(r)
			near, far := net.Pipe()
			defer near.Close()
			w := hijacked{httptest.NewRecorder(), far}
			c, err := Upgrade(w, r, "")
			var failed *UpgradeError
			if !errors.As(err, &failed) {
				t.Fatalf("got %v and error %v, want an UpgradeError", c, err)
			}
			if failed.Status != test.status || failed.Error() == "" {
				t.Errorf("got %d %q, want %d", failed.Status, failed, test.status)
			}
			if len(w.Header()) > 0 || w.Body.Len() > 0 || w.Flushed {
				t.Errorf("the answer is the caller's, but %v was set and %q written", w.Header(), w.Body)
			}
		})
	}
}

func TestUpgradeNeedsAConnection(t *testing.T) {
	t.Run("no Hijack anywhere", func(t *testing.T) {
		var failed *UpgradeError
		_, err := Upgrade(plainWriter{httptest.NewRecorder()}, handshakeRequest(), "")
		if !errors.As(err, &failed) || failed.Status != http.StatusInternalServerError {
			t.Errorf("error %v, want one with status 500", err)
		}
	})
	t.Run("Hijack fails", func(t *testing.T) {
		if _, err := Upgrade(hijacked{httptest.NewRecorder(), nil}, handshakeRequest(), ""); err == nil {
			t.Error("no error")
		}
	})
}

func TestUpgradeSubprotocol(t *testing.T) {
	for _, test := range []struct {
		name    string
		offered []string // header fields
		want    string
	}{
		{"ours", []string{"rollcall.v1"}, "rollcall.v1"},
		{"ours among others", []string{"chat, rollcall.v1"}, "rollcall.v1"},
		{"ours in a second field", []string{"chat", "rollcall.v1"}, "rollcall.v1"},
		{"ours among others in a third field", []string{"chat", "", "a,rollcall.v1\t, b"}, "rollcall.v1"},
		{"only others", []string{"chat, rollcall.v2", "rollcall.v1.1"}, ""},
		{"in another case", []string{"Rollcall.v1"}, ""},
		{"none", nil, ""},
		{"an empty field", []string{""}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			near, far := net.Pipe()
			defer near.Close()
			w, r := hijacked{httptest.NewRecorder(), far}, handshakeRequest()
			for _, field := range test.offered {
				r.Header.Add("Sec-WebSocket-Protocol", field)
			}
			if _, err := Upgrade(w, r, Offered(r, func(name string) bool { return name == "rollcall.v1" })); err != nil {
				t.Fatal(err)
			}
			if got := w.Header().Get("Sec-WebSocket-Protocol"); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if w.Code != http.StatusSwitchingProtocols || w.Header().Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
				t.Errorf("status %d with %v", w.Code, w.Header())
			}
		})
	}
}

func TestAcceptKey(t *testing.T) {
	// The example of RFC 6455 section 1.3.
	if got := acceptKey("dGhlIHNhbXBsZSBub25jZQ=="); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Errorf("got %q", got)
	}
}

// A client may send its first frames as soon as it has read the 101 response. Nothing is lost that
// net/http has read together with the request.
func TestUpgradeKeepsEarlyData(t *testing.T) {
	h := newRecorder()
	peers := make(chan *peer, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Upgrade(w, r, "")
		if err != nil {
			t.Errorf("Upgrade: %v", err)
			peers <- nil
			return
		}
		peers <- begin(c, h)
	}))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	var sent strings.Builder
	fmt.Fprintf(&sent, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	want := []string{"first", strings.Repeat("second", 500), "third"}
	for _, m := range want {
		sent.Write(clientFrame(finText, m))
	}
	if _, err := io.WriteString(conn, sent.String()); err != nil {
		t.Fatal(err)
	}
	if p := <-peers; p == nil {
		return
	}
	testkit.Eventually(t, "all messages arrive", func() bool { return len(h.received()) == len(want) })
	for i, got := range h.received() {
		if got != want[i] {
			t.Errorf("message %d is %.20q", i, got)
		}
	}
}

func TestRefuse(t *testing.T) {
	conns := make(chan *Conn, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Upgrade(w, r, "")
		if err != nil {
			t.Errorf("Upgrade: %v", err)
			return
		}
		c.Refuse(CloseOrigin, "origin not allowed", nil)
		conns <- c
	}))
	defer server.Close()
	client, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	client.SetReadDeadline(time.Now().Add(testkit.Patience))
	_, _, err = client.ReadMessage()
	var closed *websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != CloseOrigin || closed.Text != "origin not allowed" {
		t.Errorf("read the error %v", err)
	}
	c := <-conns
	testkit.Eventually(t, "the connection ends", func() bool { return c.counters.Open.Load() == 0 })
}

// Other goroutines know a connection that has a handler, and can be closing it when it is refused.
func TestRefuseWhileOthersClose(t *testing.T) {
	for _, tr := range []struct {
		name  string
		serve func(http.Handler) *httptest.Server
	}{{"TCP", httptest.NewServer}, {"TLS", httptest.NewTLSServer}} {
		t.Run(tr.name, func(t *testing.T) {
			h := newRecorder()
			peers := make(chan *peer, 1)
			server := tr.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, err := Upgrade(w, r, "")
				if err != nil {
					t.Errorf("Upgrade: %v", err)
					return
				}
				p := &peer{Conn: c, handler: h}
				c.Handle(h, &p.counters, testLoop)
				go c.Close(CloseGoingAway, "", Cause{Reason: ReasonHost})
				c.Refuse(CloseRestart, "", nil)
				peers <- p
			}))
			defer server.Close()
			dialer := websocket.Dialer{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // the server's own certificate
			for range 100 {
				client, _, err := dialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
				if err != nil {
					t.Fatal(err)
				}
				client.SetReadDeadline(time.Now().Add(testkit.Patience))
				if _, _, err := client.ReadMessage(); !websocket.IsCloseError(err, CloseGoingAway, CloseRestart) {
					t.Errorf("read the error %v", err)
				}
				p := <-peers
				testkit.Eventually(t, "the connection ends", func() bool { return p.counters.Open.Load() == 0 })
				client.Close()
			}
			testkit.Eventually(t, "the handler is told", func() bool { return len(h.closed()) == 100 })
		})
	}
}
