package integration

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// A client that requests much and reads nothing is closed, and no other client notices.
func TestSlowReaderIsClosed(t *testing.T) {
	load(t, caddyfile("", portalSite(jwtOptions+
		"limits {\n queue 64KiB\n frames_per_second 1000000\n }\n")))
	witness := portalHost.Dial(t, login(t, "USER_1", "a@example.com")...)
	for i := range 200 { // a channel with a long list
		email := fmt.Sprintf("%s-%d@example.com", strings.Repeat("e", 200), i)
		c := portalHost.Dial(t, login(t, fmt.Sprintf("USER_%d", i+1), email)...)
		c.Join(t, "crowded")
	}
	slow := portalHost.Dial(t, login(t, "SLOW", "s@example.com")...)
	if tcp, ok := slow.Conn.NetConn().(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(4 << 10)
	}
	slowChannel := fmt.Sprintf(`{"channel":%q}`, slow.Welcome.Channel)
	portalHost.Expect(t, "users", slowChannel, fmt.Sprintf(`{%q:{"id":"SLOW","email":"s@example.com"}}`, slow.Welcome.Channel))
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for range 2000 { // 50 KB each: more than all buffers in between
			_ = slow.Conn.SetWriteDeadline(time.Now().Add(ws.Patience))
			err := slow.Conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"join","channel":"crowded","presence":"list"}`))
			if err != nil {
				return // the server has closed
			}
		}
	}()
	// The queue bounds it, well before a write times out after 10 s.
	ws.Poll(t, 8*time.Second, func() error {
		got, err := portalHost.Ask("users", slowChannel)
		if err == nil && got != `{}` {
			err = fmt.Errorf("the slow client is still connected: %s", got)
		}
		return err
	})
	witness.ExpectNothing(t)
	if got := metric(t, `caddy_rollcall_disconnects_total{host="portal.example.com",reason="slow"}`); got < 1 {
		t.Errorf("%v slow readers were counted", got)
	}
	_ = slow.Conn.Close()
	<-sent
}
