package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// issued returns a token of a user that was issued then; never if at is zero.
func issued(t testing.TB, id string, at time.Time) string {
	t.Helper()
	claims := jwt.MapClaims{"sub": id}
	if !at.IsZero() {
		claims["iat"], claims["exp"] = at.Unix(), at.Add(6*time.Hour).Unix()
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// revokes disconnects users of the pod, and revokes their tokens. It returns the answer.
func (p *pod) revokes(t *testing.T, users string) ws.Answer {
	t.Helper()
	a := p.site.Request(t, http.MethodPost, "/message/disconnect", `{"users":`+users+`,"revoke":true}`,
		"Content-Type", "application/json", "X-Api-Key", p.site.Key)
	if a.Status != http.StatusOK {
		t.Fatalf("disconnect: status %d: %s", a.Status, a.Body)
	}
	return a
}

// handshake makes one handshake with a token, and returns its status; 0 if nobody answers.
func (p *pod) handshake(raw string) (conn *websocket.Conn, status int) {
	header := http.Header{"Host": {p.site.Host}}
	if raw != "" {
		header.Set("Authorization", "Bearer "+raw)
	}
	d := websocket.Dialer{HandshakeTimeout: ws.Patience}
	conn, resp, err := d.Dial(p.site.Socket().URL, header)
	switch {
	case err == nil:
		return conn, http.StatusSwitchingProtocols
	case resp != nil:
		return nil, resp.StatusCode
	}
	return nil, 0
}

// A token that was revoked while a pod was down is refused there from the first handshake on,
// however the client shows it. Connections without a token do not wait.
func TestRevokedWhileThePodIsDown(t *testing.T) {
	for name, how := range map[string]syscall.Signal{"stopped": syscall.SIGTERM, "killed": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			d := deploy(t, podNames(2, "eu-west"), fast)
			up, down := d[0], d[1]
			old := issued(t, "ada", time.Now().Add(-time.Minute))
			before, status := down.handshake(old)
			if status != http.StatusSwitchingProtocols {
				t.Fatalf("before the revocation: status %d", status)
			}
			_ = before.Close()
			down.signal(t, how)
			down.await(t, ws.Patience)
			up.revokes(t, `["ada"]`)

			var tries, visitors, refused atomic.Int64
			stop := make(chan struct{})
			var all sync.WaitGroup
			loop := func(try func()) {
				all.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
							try()
						}
					}
				})
			}
			for range 4 {
				loop(func() {
					conn, status := down.handshake(old)
					switch status {
					case http.StatusUnauthorized, http.StatusServiceUnavailable:
						tries.Add(1)
					case http.StatusSwitchingProtocols:
						t.Error("a handshake with the revoked token succeeds")
						_ = conn.Close()
					}
				})
			}
			loop(func() { // by a frame
				conn, status := down.handshake("")
				if status != http.StatusSwitchingProtocols {
					return
				}
				defer func() { _ = conn.Close() }()
				visitors.Add(1)
				_ = conn.SetReadDeadline(time.Now().Add(ws.Patience))
				_, _, err := conn.ReadMessage()
				if err == nil {
					err = conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"authenticate","token":"`+old+`"}`))
				}
				if err != nil {
					t.Errorf("a visitor: %v", err)
					return
				}
				_, answer, err := conn.ReadMessage()
				if text := string(answer); err != nil || !strings.Contains(text, `"code":"bad_token"`) && !strings.Contains(text, `"code":"unavailable"`) {
					t.Errorf("authenticate: %s, %v", answer, err)
				}
				refused.Add(1)
			})
			down.run(t)
			ws.Poll(t, ws.Patience, down.ready)
			ws.Poll(t, ws.Patience, func() error {
				if tries.Load() < 20 || refused.Load() < 5 {
					return fmt.Errorf("%d handshakes and %d frames were refused", tries.Load(), refused.Load())
				}
				return nil
			})
			close(stop)
			all.Wait()
			// What is issued later is welcome: 5 s after the revocation, for clocks that differ.
			fresh := issued(t, "ada", time.Now().Add(5*time.Second))
			ws.Poll(t, 3*ws.Patience, func() error {
				conn, status := down.handshake(fresh)
				if status != http.StatusSwitchingProtocols {
					return fmt.Errorf("a newer token: status %d", status)
				}
				return conn.Close()
			})
			t.Logf("%d handshakes and %d frames with the revoked token were refused, beside %d visitors", tries.Load(), refused.Load(), visitors.Load())
		})
	}
}

// A pod that is stopped while a revocation is made closes what it has when it continues, and the
// revocation outlives all pods.
func TestRevokedWhileThePodIsPaused(t *testing.T) {
	d := deploy(t, podNames(2, "eu-west"), fast)
	up, paused := d[0], d[1]
	old := issued(t, "ada", time.Now().Add(-time.Minute))
	client := paused.site.Dial(t, "Authorization", "Bearer "+old)
	other := paused.site.Dial(t, "Authorization", "Bearer "+issued(t, "bob", time.Now().Add(-time.Minute)))
	paused.signal(t, syscall.SIGSTOP)
	if a := up.revokes(t, `["ada"]`); a.Header.Get("Rollcall-Missing") != paused.Pod.String() {
		t.Errorf("missing: %v", a.Header)
	}
	paused.signal(t, syscall.SIGCONT)
	if got := ws.ExpectClose(t, client.Conn, 4002); got != "token revoked" && got != "disconnected" {
		t.Errorf("closed because %q", got)
	}
	other.Ask(t, `{"type":"ping"}`, `{"type":"pong"}`)

	for _, p := range d {
		p.signal(t, syscall.SIGKILL)
		p.await(t, ws.Patience)
	}
	for _, p := range d {
		p.run(t)
		if _, status := p.handshake(old); status != http.StatusUnauthorized && status != http.StatusServiceUnavailable {
			t.Errorf("%s: status %d after a restart of all pods", p.Pod, status)
		}
	}
}

// Clocks of pods that are hours apart change nothing on a pod whose clock is right, whichever pod
// gets the call.
func TestRevokeWithClocksHoursApart(t *testing.T) {
	d := deployWithClocks(t, []time.Duration{-3 * time.Hour, 0, 3 * time.Hour})
	right := d[1]
	for i, p := range d {
		user := fmt.Sprintf("user-%d", i)
		old := issued(t, user, time.Now().Add(-time.Minute))
		client := right.site.Dial(t, "Authorization", "Bearer "+old)
		if a := p.revokes(t, fmt.Sprintf("[%q]", user)); a.Header.Get("Rollcall-Complete") != "true" || a.Body != `{"disconnected":1}` {
			t.Errorf("%s: %s, %v", p.Pod, a.Body, a.Header)
		}
		ws.ExpectClose(t, client.Conn, 4002)
		for what, raw := range map[string]string{"old": old, "timeless": issued(t, user, time.Time{})} {
			if _, status := right.handshake(raw); status != http.StatusServiceUnavailable {
				t.Errorf("revoked by %s: %s token: status %d", p.Pod, what, status)
			}
		}
	}
	for i, p := range d {
		user := fmt.Sprintf("user-%d", i)
		old := issued(t, user, time.Now().Add(-time.Hour))
		ws.Poll(t, ws.Patience, func() error { // until the first seconds are over
			if _, status := right.handshake(old); status != http.StatusUnauthorized {
				return fmt.Errorf("revoked by %s: old token: status %d", p.Pod, status)
			}
			return nil
		})
		conn, status := right.handshake(issued(t, user, time.Now())) // over 5 s later
		if status != http.StatusSwitchingProtocols {
			t.Errorf("revoked by %s: newer token: status %d", p.Pod, status)
			continue
		}
		_ = conn.Close()
	}
}
