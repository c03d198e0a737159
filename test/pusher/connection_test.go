package pusher

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// TestT02KeyOfAnotherSite closes with 4001, and a key that no site knows looks the same.
func TestT02KeyOfAnotherSite(t *testing.T) {
	t.Parallel()
	other := app{ID: "102", Key: "key-of-the-other-site", Secret: "secret-of-other-0123456789"}
	p := start(t, setup{sites: fmt.Sprintf(`http://other.example.com:{port} {
	rollcall {
		api_key %s
		pusher {
			%s
		}
	}
}`, apiKey, other.line())})
	refusal := func(key string) (string, string) {
		conn, resp := p.dial(t, "/app/"+key+plainQuery, nil, nil)
		if conn == nil {
			t.Fatalf("the key %s: status %s", key, resp.Status)
		}
		_, _, err := conn.ReadMessage()
		resp.Header.Del("Sec-Websocket-Accept") // differs with the key of the handshake
		resp.Header.Del("Date")
		return fmt.Sprint(err), fmt.Sprint(resp.Header)
	}
	end, header := refusal(other.Key)
	unknownEnd, unknownHeader := refusal("key-of-nobody")
	if !strings.Contains(end, "4001") || end != unknownEnd || header != unknownHeader {
		t.Errorf("the key of another site: %s, %s\nan unknown key: %s, %s", end, header, unknownEnd, unknownHeader)
	}
	a := p.call(t, request{app: other, method: http.MethodGet, path: "/channels"})
	if a.Status != http.StatusNotFound {
		t.Errorf("the API with the app of another site: status %d: %s, want 404", a.Status, a.Body)
	}
	p.open(t).expectNothing(t)
}

// TestT05EveryFrameHasData sends what makes each kind of frame. All tests check the form of each
// frame that they read.
func TestT05EveryFrameHasData(t *testing.T) {
	t.Parallel()
	p := start(t, setup{pusher: "client_events", options: "channels {\ndefault anonymous\n}"})
	ada, bob := p.open(t), p.open(t)
	ada.expectNothing(t)
	ada.subscribe(t, "news")
	ada.subscribe(t, "private-x")
	ada.enter(t, "presence-x", "ada", `{"name":"Ada"}`)
	bob.enter(t, "presence-x", "bob", "")
	ada.expectData(t, "pusher_internal:member_added", "presence-x", `{"user_id":"bob"}`)
	bob.sendRaw(t, `{"event":"client-hello","channel":"presence-x","data":{}}`)
	ada.expectData(t, "client-hello", "presence-x", `{}`)
	bob.send(t, "pusher:unsubscribe", `{"channel":"presence-x"}`)
	ada.expectData(t, "pusher_internal:member_removed", "presence-x", `{"user_id":"bob"}`)
	p.trigger(t, "news", "hello", "")
	if f := ada.expect(t, "hello", "news"); f.text() != "" {
		t.Errorf("an event with empty data is %s", f.raw)
	}
	ada.sendRaw(t, `{"event":"pusher:subscribe","data":{"channel":"cache-x"}}`)
	ada.expectData(t, "pusher_internal:subscription_succeeded", "cache-x", `{}`)
	ada.expectData(t, "pusher:cache_miss", "cache-x", `{}`)
	ada.sendRaw(t, `{"event":"pusher:subscribe","data":{"channel":"private-y","auth":"a:b"}}`)
	ada.expectRefusal(t, "private-y", "AuthError", 401)
	user := `{"id":"ada"}`
	ada.send(t, "pusher:signin", fmt.Sprintf(`{"auth":%s,"user_data":%s}`, quote(portal.Key+":"+portal.sign(ada.socket+"::user::"+user)), quote(user)))
	ada.expectData(t, "pusher:signin_success", "", `{"user_data":"{\"id\":\"ada\"}"}`)
	ada.sendRaw(t, `no JSON`)
	ada.expectError(t, "null")
}

// TestT06FormsOfData sends data as an object, as a string, as null, as "" and not at all.
func TestT06FormsOfData(t *testing.T) {
	t.Parallel()
	p := start(t, setup{pusher: "client_events", options: "channels {\ndefault anonymous\n}"})
	other := p.open(t)
	other.subscribe(t, "private-x")
	for name, data := range map[string]string{
		"object": `,"data":{}`, "string": `,"data":"{}"`, "null": `,"data":null`, "empty": `,"data":""`, "missing": ``,
	} {
		c := p.open(t)
		c.sendRaw(t, `{"event":"pusher:ping"`+data+`}`)
		c.expectData(t, "pusher:pong", "", "{}")
		c.sendRaw(t, `{"event":"pusher:unsubscribe"`+data+`}`)
		c.sendRaw(t, `{"event":"pusher:subscribe"`+data+`}`)
		c.sendRaw(t, `{"event":"pusher:ping"}`)
		frames := c.until(t, "pusher:pong")
		for _, f := range frames[:len(frames)-1] {
			if f.Event != "pusher:error" && f.Event != "pusher:subscription_error" {
				t.Errorf("%s: subscribing to nothing: %s", name, f.raw)
			}
		}
		if len(frames) < 2 {
			t.Errorf("%s: subscribing to nothing is not answered", name)
		}
		c.subscribe(t, "private-x")
		c.sendRaw(t, `{"event":"client-x","channel":"private-x"`+data+`}`)
		c.expectNothing(t)
		want := "{}"
		if name == "empty" {
			want = ""
		}
		if f := other.expect(t, "client-x", "private-x"); f.text() != want {
			t.Errorf("%s: the client event is %s", name, f.raw)
		}
	}
	for name, text := range map[string]string{
		"object": `{"channel":"news"}`, "string": quote(`{"channel":"news"}`),
	} {
		c := p.open(t)
		c.send(t, "pusher:subscribe", text)
		c.expectData(t, "pusher_internal:subscription_succeeded", "news", "{}")
		c.send(t, "pusher:unsubscribe", text)
		c.expectNothing(t)
		p.trigger(t, "news", "hello", name)
		c.expectNothing(t)
	}
	for _, text := range []string{`[]`, `1`, `"x"`, `null`, `{}`, `{"event":1}`, `{"event":null}`, ``, `{`} {
		c := p.open(t)
		c.sendRaw(t, text)
		c.expectError(t, "null")
		c.expectNothing(t)
	}
	c := p.open(t)
	if err := c.conn.WriteMessage(websocket.BinaryMessage, []byte(`{"event":"pusher:ping"}`)); err != nil {
		t.Fatal(err)
	}
	c.expectError(t, "null")
	c.expectNothing(t)
}

// TestT07Subprotocol selects the first known name and never fails without one.
func TestT07Subprotocol(t *testing.T) {
	t.Parallel()
	p := start(t, setup{})
	for _, row := range []struct {
		offered []string
		want    string
	}{
		{nil, ""},
		{[]string{"foo"}, ""},
		{[]string{"pusher-channels-protocol-7"}, "pusher-channels-protocol-7"},
		{[]string{"foo", "pusher-channels-protocol-5", "pusher-channels-protocol-7"}, "pusher-channels-protocol-5"},
		{[]string{"pusher-channels-protocol-8", "pusher-channels-protocol-3"}, ""},
	} {
		conn, resp := p.dial(t, "/app/"+portal.Key+plainQuery, row.offered, nil)
		if conn == nil {
			t.Errorf("%q: status %s", row.offered, resp.Status)
			continue
		}
		(&client{conn: conn}).expect(t, "pusher:connection_established", "")
		if conn.Subprotocol() != row.want {
			t.Errorf("%q: %q is selected, want %q", row.offered, conn.Subprotocol(), row.want)
		}
	}
}

// TestT08Versions refuses after the handshake, and tells old clients by a frame too.
func TestT08Versions(t *testing.T) {
	t.Parallel()
	p := start(t, setup{})
	for _, row := range []struct {
		query string
		code  int // 0 if it is served
		told  bool
	}{
		{"", 4008, false},
		{"?protocol=", 4008, false},
		{"?protocol=x", 4007, false},
		{"?protocol=3", 4007, true},
		{"?protocol=8", 4007, false},
		{"?protocol=4", 0, false},
		{"?protocol=5", 0, false},
		{"?protocol=6", 0, false},
		{"?protocol=7&version=", 0, false},
	} {
		t.Run(row.query, func(t *testing.T) {
			t.Parallel()
			if row.code == 0 {
				p.openApp(t, portal, row.query, nil).expectNothing(t)
				return
			}
			conn, resp := p.dial(t, "/app/"+portal.Key+row.query, nil, nil)
			if conn == nil {
				t.Fatalf("status %s", resp.Status)
			}
			frames := (&client{conn: conn}).expectClose(t, row.code)
			if row.told != (len(frames) == 1) {
				t.Errorf("the frames before the close: %+v", frames)
			}
		})
	}
	// An old client learns by a frame why it is refused.
	conn, _ := p.dial(t, "/app/unknown?protocol=5", nil, nil)
	c := &client{conn: conn}
	c.expectError(t, "4001")
	if frames := c.expectClose(t, 4001); len(frames) > 0 {
		t.Errorf("frames after the error: %+v", frames)
	}
}

// TestT10ClientThatAnswersOnlyNativePings stays. The websocket library answers pings while it
// reads.
func TestT10ClientThatAnswersOnlyNativePings(t *testing.T) {
	t.Parallel()
	const timeout = time.Second
	p := start(t, setup{options: "ping 500ms 1s", pusher: "activity_timeout 1s"})
	c := p.open(t)
	if f, err := c.read(10 * timeout); err == nil {
		t.Fatalf("a frame to a silent client: %s", f.raw)
	} else if e, ok := err.(net.Error); !ok || !e.Timeout() { //nolint:errorlint // a closed connection is no timeout
		t.Fatalf("the connection ended with: %v", err)
	}
	if body := p.ask(t, "/connections", nil); ws.Diff(body, `{"connections":1}`) != "" {
		t.Errorf("connections: %s", body)
	}
}

// TestT11ClientThatVanishes drops what the client sends.
func TestT11ClientThatVanishes(t *testing.T) {
	t.Parallel()
	p := start(t, setup{options: "ping 500ms 1s\ngrace 1s"})
	watcher := p.open(t)
	watcher.enter(t, "presence-x", "watcher", "")
	front, mute := mutable(t, p.address)
	conn, resp := ws.Open(t, ws.Request{URL: "ws://" + front + "/app/" + portal.Key + plainQuery, Host: host, Protocols: []string{}})
	if conn == nil {
		t.Fatalf("status %s", resp.Status)
	}
	c := &client{conn: conn, app: portal}
	established := c.expect(t, "pusher:connection_established", "").text()
	_, after, _ := strings.Cut(established, `"socket_id":"`)
	c.socket, _, _ = strings.Cut(after, `"`)
	c.enter(t, "presence-x", "ada", "")
	watcher.expectData(t, "pusher_internal:member_added", "presence-x", `{"user_id":"ada"}`)
	mute()
	vanished := time.Now()
	closing := make(chan time.Duration, 1)
	go func() { // ends when the server closes the connection; the watcher reads meanwhile, to answer pings
		c.expectClose(t, 4201)
		closing <- time.Since(vanished)
	}()
	watcher.expectData(t, "pusher_internal:member_removed", "presence-x", `{"user_id":"ada"}`)
	closed := <-closing
	if removed := time.Since(vanished); removed < closed+900*time.Millisecond || removed > 6*time.Second {
		t.Errorf("closed after %s, removed after %s, want the grace of a second in between", closed, removed)
	}
}

// mutable forwards the connections of an address, until mute drops all that their clients send.
func mutable(t *testing.T, to string) (address string, mute func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var muted atomic.Bool
	go func() { // ends when the cleanup closes the listener
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			go func() { _, _ = io.Copy(near, far); _ = near.Close() }() // ends with the server's side
			go func() {                                                 // ends with the client's side, unless it is muted
				buffer := make([]byte, 1<<10)
				for {
					n, err := near.Read(buffer)
					if err != nil {
						break
					}
					if !muted.Load() {
						_, _ = far.Write(buffer[:n])
					}
				}
				if !muted.Load() {
					_ = far.Close()
				}
			}()
		}
	}()
	return l.Addr().String(), func() { muted.Store(true) }
}
