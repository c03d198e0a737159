package caddymodule

import (
	"encoding/json"
	"net/http/httptest"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// withClients is a handler of a site with an app for clients that trigger events.
func withClients(t *testing.T, options string) (*Handler, *httptest.Server) {
	t.Helper()
	h := loadHandler(t, "api_key k\nchannels {\ndefault anonymous\n}\npusher {\n"+testApp+"\nclient_events\n}\n"+options)
	return h, listen(t, h)
}

// send sends a frame of the Pusher protocol.
func (c appClient) send(t *testing.T, frame string) {
	t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
		t.Fatal(err)
	}
}

// want reads the next frame.
func (c appClient) want(t *testing.T, name, channel, data, user string) {
	t.Helper()
	if e := c.read(t); e.Event != name || e.Channel != channel || e.text() != data || e.UserID != user {
		t.Errorf("got %s in %q with %s of %q\nwant %s with %s of %q", e.Event, e.Channel, e.text(), e.UserID, name, data, user)
	}
}

// signIn signs in with a signature that is right, and returns the answer.
func (c appClient) signIn(t *testing.T, userData string) event {
	t.Helper()
	auth := testKey.Key + ":" + testKey.Sign([]byte(c.socket+"::user::"+userData))
	if err := c.WriteJSON(map[string]any{"event": "pusher:signin", "data": map[string]string{"auth": auth, "user_data": userData}}); err != nil {
		t.Fatal(err)
	}
	return c.read(t)
}

// wantNative reads the next frame of the native protocol.
func wantNative(t *testing.T, conn *websocket.Conn, want string) {
	t.Helper()
	_, got, err := conn.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, "the frame", string(got), want)
}

// Clients of both protocols are members of one channel, and receive each other's messages.
func TestT22BothProtocolsMeet(t *testing.T) {
	const host, room = "portal.example.com", "presence-room"
	h, server := withClients(t, "")
	p := openApp(t, server, host, "/app/key-a")
	if got := p.subscribe(t, room, `{"user_id":7,"user_info":{"name":"P"}}`, testKey).text(); got != `{"presence":{"ids":["7"],"hash":{"7":{"name":"P"}},"count":1}}` {
		t.Errorf("the subscription is answered with %s", got)
	}
	ann := mustDial(t, server, host, "Test-User", "ann")
	welcome(t, ann)
	wantCreated(t, h, "adduser", `[{"id":"ann","channels":[{"name":"presence-room"}]}]`, "ann")
	p.want(t, "pusher_internal:member_added", room, `{"user_id":"ann"}`, "")
	wantNative(t, ann, `{"type":"joined","channel":"presence-room","kind":"authenticated","may":["send","see"]}`)
	ann.WriteJSON(map[string]string{"type": "join", "channel": room, "presence": "list"})
	wantNative(t, ann, `{"type":"joined","channel":"presence-room","kind":"authenticated","may":["send","see"],"seq":1,"members":[{"id":"7","info":{"name":"P"}},{"id":"ann"}],"count":2}`)

	p.send(t, `{"event":"client-typing","channel":"presence-room","data":{ "a":1 },"user_id":"ann"}`)
	wantNative(t, ann, `{"type":"message","channel":"presence-room","from":{"id":"7"},"message":{"event":"client-typing","data":{"a":1}}}`)
	for _, message := range []struct{ sent, event, data string }{
		{`{"text":"hi"}`, "client-message", `{"text":"hi"}`},
		{`{"event":"paid","data":{}}`, "client-message", `{"event":"paid","data":{}}`},
		{`{"event":"client-x","data":"text"}`, "client-x", "text"},
	} {
		ann.WriteMessage(websocket.TextMessage, []byte(`{"type":"send","channels":["presence-room"],"echo":false,"message":`+message.sent+`}`))
		p.want(t, message.event, room, message.data, "ann")
		wantNative(t, ann, `{"type":"sent"}`)
	}
	for _, message := range []struct{ sent, event, data string }{
		{`{"text":"hi"}`, "message", `{"text":"hi"}`},
		{`{"event":"paid","data":{"a":1}}`, "paid", `{"a":1}`},
		{`{"event":"paid","data":"text"}`, "paid", "text"},
	} {
		if w := post(t, h, "/message/sendmessage", `{"apiKey":"k","channels":["presence-room"],"message":`+message.sent+`}`); w.Code != 201 {
			t.Fatalf("sendmessage is answered with %d: %s", w.Code, w.Body)
		}
		p.want(t, message.event, room, message.data, "")
		wantNative(t, ann, `{"type":"message","channel":"presence-room","from":null,"backend":true,"message":`+message.sent+`}`)
	}
	ann.Close()
	p.send(t, `{"event":"pusher:ping","data":{}}`)
	p.want(t, "pusher:pong", "", "{}", "")
}

// A client signs in, and the backend ends its connection: the page hears why, and stays away.
func TestDisconnectedClientsOfApps(t *testing.T) {
	const host = "portal.example.com"
	h, server := withClients(t, "")
	p := openApp(t, server, host, "/app/key-a")
	if e := p.signIn(t, `{"id":"ada"}`); e.Event != "pusher:signin_success" {
		t.Fatalf("the sign-in is answered with %+v", e)
	}
	p.send(t, `{"event":"pusher:subscribe","data":{"channel":"#server-to-user-ada"}}`)
	p.want(t, "pusher_internal:subscription_succeeded", "#server-to-user-ada", "{}", "")
	if w := post(t, h, "/message/disconnect", `{"apiKey":"k","users":["ada"],"reason":"banned"}`); w.Code != 200 {
		t.Fatalf("disconnect is answered with %d: %s", w.Code, w.Body)
	}
	var data struct {
		Code    int
		Message string
	}
	if e := p.read(t); e.Event != "pusher:error" || json.Unmarshal(e.Data, &data) != nil || data.Code != 4009 || data.Message != "banned" {
		t.Errorf("before the close comes %s %s", e.Event, e.Data)
	}
	if code, reason := closedWith(t, p.Conn); code != 4009 || reason != "banned" {
		t.Errorf("closed with %d, %q", code, reason)
	}
	testkit.Eventually(t, "it is gone", func() bool { return h.app.hub.Connections() == 0 })
}

// A connection without a user that a signature lets in is counted, and receives what it may.
func TestSubscribersWithoutUser(t *testing.T) {
	const host = "portal.example.com"
	h, server := withClients(t, "")
	a, b := openApp(t, server, host, "/app/key-a"), openApp(t, server, host, "/app/key-a")
	for _, c := range []appClient{a, b} {
		for _, channel := range []string{"private-orders", "news"} {
			if e := c.subscribe(t, channel, "", testKey); e.Event != "pusher_internal:subscription_succeeded" || e.text() != "{}" {
				t.Errorf("%s: answered with %s %s", channel, e.Event, e.text())
			}
		}
	}
	a.send(t, `{"event":"client-x","channel":"private-orders","data":"\"text\""}`)
	b.want(t, "client-x", "private-orders", `"text"`, "")
	var listed map[string]json.RawMessage
	if err := json.Unmarshal(post(t, h, "/message/users", `{"apiKey":"k"}`).Body.Bytes(), &listed); err != nil || string(listed["private-orders"]) != "2" || string(listed["news"]) != "2" {
		t.Errorf("users are %s, error %v", listed, err)
	}
	a.send(t, `{"event":"pusher:unsubscribe","data":{"channel":"private-orders"}}`)
	a.send(t, `{"event":"client-x","channel":"private-orders","data":{}}`)
	if e := a.read(t); e.Event != "pusher:error" {
		t.Errorf("an event without a subscription is answered with %+v", e)
	}
	a.send(t, `{"event":"pusher:ping"}`)
	a.want(t, "pusher:pong", "", "{}", "")
}
