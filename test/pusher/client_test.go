package pusher

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// client is a websocket of the door.
type client struct {
	conn   *websocket.Conn
	app    app
	socket string // socket_id
	// skipMembers leaves frames about members out of what is read: they come some time after a
	// join.
	skipMembers bool
}

// frame is a frame of the server.
type frame struct {
	Event   string          `json:"event"`
	Channel string          `json:"channel"`
	Data    json.RawMessage `json:"data"`
	UserID  string          `json:"user_id"`
	raw     string
}

// text returns the string that is the frame's data.
func (f frame) text() string {
	var s string
	_ = json.Unmarshal(f.Data, &s)
	return s
}

const plainQuery = "?protocol=7&client=js&version=8.6.0&flash=false"

// dial makes a handshake.
func (p *pod) dial(t testing.TB, path string, protocols []string, header http.Header) (*websocket.Conn, *http.Response) {
	t.Helper()
	return ws.Open(t, ws.Request{URL: "ws://" + p.address + path, Host: host, Header: header, Protocols: append([]string{}, protocols...)})
}

// open opens a connection to the app and reads its first frame.
func (p *pod) open(t testing.TB) *client {
	t.Helper()
	return p.openApp(t, portal, plainQuery, nil)
}

func (p *pod) openApp(t testing.TB, a app, query string, header http.Header) *client {
	t.Helper()
	conn, resp := p.dial(t, "/app/"+a.Key+query, nil, header)
	if conn == nil {
		t.Fatalf("opening a connection: status %s", resp.Status)
	}
	c := &client{conn: conn, app: a}
	f := c.expect(t, "pusher:connection_established", "")
	var established struct {
		Socket  string `json:"socket_id"`
		Timeout int    `json:"activity_timeout"`
	}
	if err := json.Unmarshal([]byte(f.text()), &established); err != nil || established.Socket == "" || established.Timeout <= 0 {
		t.Fatalf("the first frame is %s", f.raw)
	}
	c.socket = established.Socket
	return c
}

// send sends an event with data, which is JSON.
func (c *client) send(t testing.TB, event, data string) {
	t.Helper()
	c.sendRaw(t, fmt.Sprintf(`{"event":%s,"data":%s}`, quote(event), data))
}

func (c *client) sendRaw(t testing.TB, text string) {
	t.Helper()
	_ = c.conn.SetWriteDeadline(time.Now().Add(ws.Patience))
	if err := c.conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		t.Fatalf("sending %.200s: %v", text, err)
	}
}

// read reads the next frame and checks its form: data is there and a string, except for errors.
func (c *client) read(patience time.Duration) (f frame, err error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	kind, p, err := c.conn.ReadMessage()
	if err != nil {
		return f, err
	}
	f.raw = string(p)
	if err := json.Unmarshal(p, &f); err != nil || kind != websocket.TextMessage {
		return f, fmt.Errorf("a frame of type %d is %q (%w)", kind, p, err)
	}
	want := `"`
	if f.Event == "pusher:error" {
		want = `{`
	}
	if !strings.HasPrefix(string(f.Data), want) {
		return f, fmt.Errorf("the data of the frame %s does not begin with %s", p, want)
	}
	if c.skipMembers && strings.HasPrefix(f.Event, "pusher_internal:member_") {
		return c.read(patience)
	}
	return f, nil
}

func (c *client) next(t testing.TB) frame {
	t.Helper()
	f, err := c.read(ws.Patience)
	if err != nil {
		t.Fatalf("waiting for a frame: %v", err)
	}
	return f
}

// expect reads the next frame, which must be the event in the channel.
func (c *client) expect(t testing.TB, event, channel string) frame {
	t.Helper()
	f := c.next(t)
	if f.Event != event || f.Channel != channel {
		t.Fatalf("next frame is %s, want %s in %q", f.raw, event, channel)
	}
	return f
}

// expectData is expect, and the data must be the same JSON as want.
func (c *client) expectData(t testing.TB, event, channel, want string) {
	t.Helper()
	f := c.expect(t, event, channel)
	if diff := ws.Diff(f.text(), want); diff != "" {
		t.Fatalf("the data of %s in %q: %s", event, channel, diff)
	}
}

// expectError reads the next frame, which must be a pusher:error with the code as JSON.
func (c *client) expectError(t testing.TB, code string) {
	t.Helper()
	f := c.expect(t, "pusher:error", "")
	var data struct {
		Code    json.RawMessage `json:"code"`
		Message string          `json:"message"`
	}
	if err := json.Unmarshal(f.Data, &data); err != nil || string(data.Code) != code || data.Message == "" {
		t.Fatalf("next frame is %s, want the error %s with a message", f.raw, code)
	}
}

// expectRefusal reads the next frame, which must be a subscription error.
func (c *client) expectRefusal(t testing.TB, channel, kind string, status int) string {
	t.Helper()
	f := c.expect(t, "pusher:subscription_error", channel)
	var data struct {
		Type, Error string
		Status      int
	}
	if err := json.Unmarshal([]byte(f.text()), &data); err != nil || data.Type != kind || data.Status != status || data.Error == "" {
		t.Fatalf("next frame is %s, want %s with status %d", f.raw, kind, status)
	}
	return data.Error
}

// expectNothing checks that no frame is waiting: the next frame is the answer to a ping.
func (c *client) expectNothing(t testing.TB) {
	t.Helper()
	c.send(t, "pusher:ping", "{}")
	c.expectData(t, "pusher:pong", "", "{}")
}

// until reads frames up to one with the event.
func (c *client) until(t testing.TB, event string) (frames []frame) {
	t.Helper()
	for {
		f := c.next(t)
		frames = append(frames, f)
		if f.Event == event {
			return frames
		}
	}
}

// expectClose reads until the connection ends with the code, and returns the frames before.
func (c *client) expectClose(t testing.TB, code int) (frames []frame) {
	t.Helper()
	for {
		f, err := c.read(ws.Patience)
		if err == nil {
			frames = append(frames, f)
			continue
		}
		var closed *websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != code {
			t.Fatalf("the connection ended with: %v, want close code %d", err, code)
		}
		return frames
	}
}

// subscribeFrame is a subscription of the channel: signed if it needs to be, with channel data or
// "".
func (c *client) subscribeFrame(channel, channelData string) string {
	data := `{"channel":` + quote(channel)
	if strings.HasPrefix(channel, "private-") || strings.HasPrefix(channel, "presence-") {
		data += `,"auth":` + quote(c.app.auth(c.socket, channel, channelData))
	}
	if channelData != "" {
		data += `,"channel_data":` + quote(channelData)
	}
	return `{"event":"pusher:subscribe","data":` + data + `}}`
}

// subscribe subscribes to a public or private channel.
func (c *client) subscribe(t testing.TB, channel string) {
	t.Helper()
	c.sendRaw(t, c.subscribeFrame(channel, ""))
	c.expectData(t, "pusher_internal:subscription_succeeded", channel, "{}")
}

// members are what a subscription to a presence channel is answered with.
type members struct {
	IDs   []string                   `json:"ids"`
	Hash  map[string]json.RawMessage `json:"hash"`
	Count int                        `json:"count"`
}

// enter subscribes to a presence channel as the user, with info as JSON or "".
func (c *client) enter(t testing.TB, channel, user, info string) members {
	t.Helper()
	c.sendRaw(t, c.subscribeFrame(channel, channelData(user, info)))
	f := c.expect(t, "pusher_internal:subscription_succeeded", channel)
	var data struct{ Presence members }
	if err := json.Unmarshal([]byte(f.text()), &data); err != nil {
		t.Fatalf("%v: %s", err, f.raw)
	}
	return data.Presence
}

func channelData(user, info string) string {
	data := `{"user_id":` + quote(user)
	if info != "" {
		data += `,"user_info":` + info
	}
	return data + `}`
}

// cut ends the connection without a close frame.
func (c *client) cut() { _ = c.conn.Close() }

func quote(s string) string {
	b, _ := json.Marshal(s) // a string always has a JSON form
	return string(b)
}
