package integration

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// behindProxies is a Caddyfile whose clients have the address that a request names.
func behindProxies(sites string) string {
	return caddyfile("servers {\n trusted_proxies static 127.0.0.1\n trusted_proxies_strict\n }", sites)
}

// limited is a site with connections_per_address.
func limited(host string, limit int) string {
	return fmt.Sprintf("http://%s:9080 {\n rollcall {\n api_key %s\n limits {\n connections_per_address %d\n }\n }\n}\n", host, apiKey, limit)
}

// from opens a connection of a client address to a host.
func from(t *testing.T, address, host string) *websocket.Conn {
	t.Helper()
	r := portalHost.Socket()
	r.Host, r.Header = host, ws.Header("X-Forwarded-For", address)
	conn, resp := ws.Open(t, r)
	if conn == nil {
		t.Fatalf("%s to %s: status %s", address, host, resp.Status)
	}
	return conn
}

// expectWelcome reads the first frame.
func expectWelcome(t *testing.T, conn *websocket.Conn) *websocket.Conn {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(ws.Patience))
	if _, _, err := conn.ReadMessage(); err != nil {
		t.Fatalf("no welcome: %v", err)
	}
	return conn
}

const rateLimited = 4108

func TestConnectionsPerAddress(t *testing.T) {
	load(t, behindProxies(limited("*.example.com", 2)+limited("a.example.org", 2)))
	first := expectWelcome(t, from(t, "192.0.2.1", "a.example.com"))
	expectWelcome(t, from(t, "::ffff:192.0.2.1", "b.example.com"))
	for _, host := range []string{"a.example.com", "b.example.com", "other.example.com"} {
		ws.ExpectClose(t, from(t, "192.0.2.1", host), rateLimited)
	}
	for _, address := range []string{"2001:db8::1", "2001:db8:0:0:ffff::1"} {
		expectWelcome(t, from(t, address, "a.example.com"))
	}
	ws.ExpectClose(t, from(t, "2001:db8::2", "a.example.com"), rateLimited)
	expectWelcome(t, from(t, "2001:db8:0:1::2", "a.example.com"))
	expectWelcome(t, from(t, "192.0.2.2", "a.example.com")) // another client
	expectWelcome(t, from(t, "192.0.2.1", "a.example.org")) // another site

	// A reload keeps connections and their count.
	reload(t, behindProxies(limited("*.example.com", 3)))
	expectWelcome(t, from(t, "192.0.2.1", "c.example.com"))
	ws.ExpectClose(t, from(t, "192.0.2.1", "c.example.com"), rateLimited)
	reload(t, behindProxies(limited("*.example.com", 1)))
	if err := first.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping"}`)); err != nil {
		t.Fatal(err)
	}
	expectWelcome(t, first) // its pong: a smaller limit closes no connection
	ws.ExpectClose(t, from(t, "192.0.2.1", "a.example.com"), rateLimited)

	reload(t, behindProxies(limited("*.example.com", 3)))
	_ = first.Close()
	ws.Poll(t, ws.Patience, func() error {
		conn := from(t, "192.0.2.1", "c.example.com")
		_ = conn.SetReadDeadline(time.Now().Add(ws.Patience))
		_, _, err := conn.ReadMessage()
		return err
	})
}

// Concurrent handshakes do not see the same count.
func TestConnectionsPerAddressOpenedAtOnce(t *testing.T) {
	load(t, behindProxies(limited("*.example.com", 5)))
	var welcomed atomic.Int32
	var wg sync.WaitGroup
	conns := make([]*websocket.Conn, 40)
	for i := range conns {
		wg.Go(func() {
			header := ws.Header("X-Forwarded-For", "192.0.2.1", "Host", fmt.Sprintf("host-%d.example.com", i%7))
			conn, _, err := websocket.DefaultDialer.Dial(portalHost.Socket().URL, header)
			if err != nil {
				t.Error(err)
				return
			}
			conns[i] = conn
			_ = conn.SetReadDeadline(time.Now().Add(ws.Patience))
			if _, _, err := conn.ReadMessage(); err == nil {
				welcomed.Add(1)
			}
		})
	}
	wg.Wait()
	for _, conn := range conns {
		if conn != nil {
			_ = conn.Close()
		}
	}
	if n := welcomed.Load(); n != 5 {
		t.Errorf("%d connections were welcomed, want 5", n)
	}
}

func TestConnectionsOverUnixSocketsAreNotCounted(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "caddy.sock")
	load(t, caddyfile("", "http://portal.example.com {\n bind unix/"+socket+"\n rollcall {\n limits {\n connections_per_address 1\n }\n }\n}\n"))
	dialer := websocket.Dialer{NetDialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	for range 3 {
		conn, resp, err := dialer.Dial("ws://portal.example.com/message/socket", http.Header{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if resp.StatusCode != http.StatusSwitchingProtocols {
			t.Errorf("status %d", resp.StatusCode)
		}
		expectWelcome(t, conn)
	}
}
