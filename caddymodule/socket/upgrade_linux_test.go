package socket

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// corked reports whether the kernel holds back writes.
func corked(t *testing.T, nc net.Conn) bool {
	t.Helper()
	_, fd := modeOf(nc)
	return corkedDescriptor(t, fd)
}

func corkedDescriptor(t *testing.T, fd int) bool {
	t.Helper()
	value, err := syscall.GetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_CORK)
	if err != nil {
		t.Fatal(err)
	}
	return value != 0
}

// serveCorked answers handshakes with [WithConn] in use.
func serveCorked(t *testing.T, then func(net.Conn, *Conn, error)) net.Conn {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Upgrade(w, r, "")
		then(r.Context().Value(connKey{}).(net.Conn), c, err)
	}))
	server.Config.ConnContext = WithConn
	server.Start()
	t.Cleanup(server.Close)
	client, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	_ = client.SetDeadline(time.Now().Add(testkit.Patience))
	return client
}

const rawHandshake = "GET / HTTP/1.1\r\nHost: portal.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "

func TestWhatIsSaidFirstLeavesWithTheResponse(t *testing.T) {
	h := newRecorder()
	client := serveCorked(t, func(nc net.Conn, c *Conn, err error) {
		if err != nil {
			t.Errorf("Upgrade: %v", err)
			return
		}
		if !corked(t, nc) {
			t.Error("the response leaves before the first frame is queued")
		}
		p := &peer{Conn: c, handler: h}
		c.Handle(h, &p.counters, testLoop)
		if c.Queue(text("welcome"), 1) {
			c.Flush()
		}
		c.Start() // detaches the connection
		c.mu.Lock()
		fd := c.fd
		c.mu.Unlock()
		if corkedDescriptor(t, fd) {
			t.Error("what is written later waits")
		}
	})
	if _, err := io.WriteString(client, rawHandshake+"dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4096)
	n, err := client.Read(got)
	if first := string(got[:n]); err != nil || !strings.HasPrefix(first, "HTTP/1.1 101 ") || !strings.HasSuffix(first, "welcome") {
		t.Errorf("one read gives %q, error %v", first, err)
	}
	client.Close()
	testkit.Eventually(t, "the connection ends", func() bool { return len(h.closed()) == 1 })
}

func TestNothingIsHeldBackFromWhoIsRefused(t *testing.T) {
	for name, key := range map[string]string{"by the handshake": "AAAA", "after it": "dGhlIHNhbXBsZSBub25jZQ=="} {
		t.Run(name, func(t *testing.T) {
			done := make(chan bool, 1)
			client := serveCorked(t, func(nc net.Conn, c *Conn, err error) {
				if err == nil {
					c.Refuse(CloseOrigin, "origin not allowed", nil)
				}
				done <- corked(t, nc)
			})
			if _, err := io.WriteString(client, rawHandshake+key+"\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if <-done {
				t.Error("what is written waits")
			}
		})
	}
}
