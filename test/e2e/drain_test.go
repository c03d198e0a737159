package e2e

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// expectRestart checks that a socket was closed for a restart, and returns when its client should
// come back.
func expectRestart(t *testing.T, end error) time.Duration {
	t.Helper()
	var closed *websocket.CloseError
	if !errors.As(end, &closed) || closed.Code != websocket.CloseServiceRestart {
		t.Fatalf("a socket ended with: %v, want close code 1012", end)
	}
	var reason struct {
		AfterMS *int64 `json:"after_ms"`
	}
	if err := json.Unmarshal([]byte(closed.Text), &reason); err != nil || reason.AfterMS == nil || *reason.AfterMS < 0 {
		t.Fatalf("the reason is %q, want after_ms", closed.Text)
	}
	return time.Duration(*reason.AfterMS) * time.Millisecond
}

func TestTerminationTakesLeaveOfAll(t *testing.T) {
	p := start(t, setup{globals: "rollcall {\n drain_timeout 3s\n }"})
	crowd := gather(t, p, many)
	begin := time.Now()
	p.signal(t, syscall.SIGTERM)
	if code := p.await(t, ws.Patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
	took := time.Since(begin)
	var after []time.Duration
	for _, end := range crowd.AwaitEnds(t, ws.Patience) {
		after = append(after, expectRestart(t, end))
	}
	slices.Sort(after)
	t.Logf("%d sockets drained in %s; after_ms %d, %d, %d (least, median, most)", many, took.Round(time.Millisecond),
		after[0].Milliseconds(), after[many/2].Milliseconds(), after[many-1].Milliseconds())
	if spread := after[many-1] - after[0]; spread < 900*time.Millisecond || spread > 30*time.Second {
		t.Errorf("clients should come back within %s", spread)
	}
	// The spread is even: of ten equal parts, none has a third of the clients.
	width := after[many-1]/10 + 1
	var parts [10]int
	for _, d := range after {
		parts[d/width]++
	}
	if slices.Max(parts[:]) > many/3 {
		t.Errorf("after_ms is not spread evenly: %v", parts)
	}
}

func TestTerminationDoesNotWaitForThoseWhoSayNothing(t *testing.T) {
	t.Parallel()
	const timeout = time.Second
	p := start(t, setup{globals: "rollcall {\n drain_timeout 1s\n }\n grace_period 1s"})
	polite := p.site.Dial(t)
	for range 20 { // they never read, so they do not answer close frames
		p.site.Dial(t)
	}
	begin := time.Now()
	p.signal(t, syscall.SIGTERM)
	_ = polite.Conn.SetReadDeadline(time.Now().Add(ws.Patience))
	_, _, end := polite.Conn.ReadMessage()
	expectRestart(t, end)

	// New clients are sent elsewhere, until Caddy has closed the listener, which it may have done
	// already.
	for time.Since(begin) < timeout/2 {
		answer, err := p.site.Do(http.MethodPost, "/message/users", "", "X-Api-Key", apiKey)
		if err != nil {
			break
		}
		upgrade, err := p.site.Do(http.MethodGet, "/message/socket", "", "Connection", "Upgrade", "Upgrade", "websocket",
			"Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
		if err != nil {
			break
		}
		for what, a := range map[string]ws.Answer{"an endpoint": answer, "a handshake": upgrade} {
			if a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
				t.Fatalf("%s is answered %d with Retry-After %q while draining", what, a.Status, a.Header.Get("Retry-After"))
			}
		}
	}
	if code := p.await(t, ws.Patience); code != 0 { // less than the silence after which they are dropped
		t.Errorf("exit code %d", code)
	}
	t.Logf("drained in %s", time.Since(begin).Round(time.Millisecond))
}

func TestStopCommandTakesLeave(t *testing.T) {
	t.Parallel()
	p := start(t, setup{})
	c := p.site.Dial(t)
	ended := make(chan error, 1)
	go func() {
		_ = c.Conn.SetReadDeadline(time.Now().Add(2 * ws.Patience))
		_, _, err := c.Conn.ReadMessage()
		ended <- err
	}()
	if out, err := caddy(t, "stop", "--address", strings.TrimPrefix(p.admin, "http://")); err != nil {
		t.Fatalf("caddy stop: %v\n%s", err, out)
	}
	expectRestart(t, <-ended)
	if code := p.await(t, ws.Patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
