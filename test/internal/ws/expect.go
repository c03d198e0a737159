package ws

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// Expect reads the next frame, which must be the same JSON as want.
func (c *Client) Expect(t testing.TB, want string) {
	t.Helper()
	if diff := Diff(c.Next(t), want); diff != "" {
		t.Fatalf("next frame: %s", diff)
	}
}

// Ask sends a frame and expects the answer to be next.
func (c *Client) Ask(t testing.TB, frame, want string) {
	t.Helper()
	c.Send(t, frame)
	c.Expect(t, want)
}

// ExpectError reads the next frame, which must be an error with the code and, as JSON, the ID; ""
// means none.
func (c *Client) ExpectError(t testing.TB, id, code string) {
	t.Helper()
	got := c.Next(t)
	var frame struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal([]byte(got), &frame)
	if frame.Message == "" {
		t.Fatalf("next frame is %s, want the error %s with a message", got, code)
	}
	want := fmt.Sprintf(`{"type":"error","code":%q,"message":%s}`, code, quote(frame.Message))
	if id != "" {
		want = fmt.Sprintf(`{"type":"error","id":%s,"code":%q,"message":%s}`, id, code, quote(frame.Message))
	}
	if diff := Diff(got, want); diff != "" {
		t.Fatalf("next frame: %s", diff)
	}
}

// ExpectNothing checks that no frame is waiting: the next frame is the answer to a ping.
func (c *Client) ExpectNothing(t testing.TB) {
	t.Helper()
	c.Ask(t, `{"type":"ping","id":"nothing before"}`, `{"type":"pong","id":"nothing before"}`)
}

// Join joins a channel without presence. The answer must come next.
func (c *Client) Join(t testing.TB, channel string) {
	t.Helper()
	c.Send(t, fmt.Sprintf(`{"type":"join","channel":%s}`, quote(channel)))
	var frame struct{ Type, Channel string }
	if got := c.Next(t); json.Unmarshal([]byte(got), &frame) != nil || frame.Type != "joined" || frame.Channel != channel {
		t.Fatalf("joining %q: got %s", channel, got)
	}
}

// ExpectClose reads until the connection ends, which must be with the code, and returns the reason.
func ExpectClose(t testing.TB, conn *websocket.Conn, code int) (reason string) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(Patience))
	for {
		_, _, err := conn.ReadMessage()
		if err == nil {
			continue
		}
		var closed *websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != code {
			t.Fatalf("the connection ended with: %v, want close code %d", err, code)
		}
		return closed.Text
	}
}

// Diff compares JSON texts. It returns "" if they are equivalent, including numbers.
func Diff(got, want string) string {
	var g, w any
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		return fmt.Sprintf("got %q, which is not JSON: %v", got, err)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		panic(fmt.Sprintf("the test wants %q, which is not JSON: %v", want, err))
	}
	if reflect.DeepEqual(g, w) {
		return ""
	}
	return fmt.Sprintf("\n got %s\nwant %s", got, want)
}

// Poll calls ready until it returns nil. After patience has passed, it ends the test with the last
// error.
func Poll(t testing.TB, patience time.Duration, ready func() error) {
	t.Helper()
	const pause = 10 * time.Millisecond
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		err := ready()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %v", patience, err)
		}
		<-tick.C
	}
}

func quote(s string) string {
	b, _ := json.Marshal(s) // a string always has a JSON form
	return string(b)
}
