package integration

import (
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// segmentsIn returns the number of received TCP segments with data.
func segmentsIn(t *testing.T, conn net.Conn) (n uint32) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	failed := raw.Control(func(fd uintptr) {
		var info *unix.TCPInfo
		if info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = info.Data_segs_in
		}
	})
	if failed != nil || err != nil {
		t.Fatal(failed, err)
	}
	return n
}

// The welcome comes with the response to the handshake: one packet, and one wakeup of the client.
func TestTheWelcomeComesWithTheResponse(t *testing.T) {
	load(t, portal(""))
	conn := open(t)
	const handshake = "GET /message/socket HTTP/1.1\r\nHost: portal.example.com:9080\r\nConnection: Upgrade\r\n" +
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	if _, err := io.WriteString(conn, handshake); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 4096)
	n, err := conn.Read(first)
	if got := string(first[:n]); err != nil || !strings.HasPrefix(got, "HTTP/1.1 101 ") || !strings.Contains(got, `{"type":"welcome"`) {
		t.Fatalf("one read gives %q, error %v", got, err)
	}
	if n := segmentsIn(t, conn); n != 1 {
		t.Errorf("they came in %d segments", n)
	}
}
