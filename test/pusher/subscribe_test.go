package pusher

import (
	"fmt"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// TestT12Names subscribes to names at the border of the grammar.
func TestT12Names(t *testing.T) {
	t.Parallel()
	p := start(t, setup{options: "channels {\ndefault anonymous\n}"})
	c := p.open(t)
	const letters = "-abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_=@,.;"
	good := []string{letters, strings.Repeat("x", 200), "privateer", "presence1", "cachet", "private", "x"}
	for _, letter := range letters {
		good = append(good, "x"+string(letter))
	}
	for _, name := range good {
		c.subscribe(t, name)
		c.send(t, "pusher:unsubscribe", `{"channel":`+quote(name)+`}`)
	}
	for _, name := range []string{"", strings.Repeat("x", 201), "a b", "a/b", "a:b", "a|b", "tab|x", "ä", "a\n", "a#b", "##a"} {
		c.sendRaw(t, c.subscribeFrame(name, ""))
		if name == "" {
			// Without a name, nobody could be told which subscription failed.
			if f := c.next(t); f.Event != "pusher:error" && f.Event != "pusher:subscription_error" {
				t.Errorf("no name: %s", f.raw)
			}
			continue
		}
		c.expectRefusal(t, name, "InvalidChannel", 4009)
	}
	for _, name := range []string{"#x", "#server-to-user-ada"} {
		c.sendRaw(t, c.subscribeFrame(name, ""))
		if f := c.next(t); f.Event != "pusher:subscription_error" || f.Channel != name {
			t.Errorf("%s: %s", name, f.raw)
		}
	}
	c.sendRaw(t, c.subscribeFrame("private-"+strings.Repeat("x", 192), ""))
	c.expectData(t, "pusher_internal:subscription_succeeded", "private-"+strings.Repeat("x", 192), "{}")
	c.expectNothing(t)
}

// TestT13SignatureOfAnotherSocket is refused, and so is one of another channel, key or member.
func TestT13SignatureOfAnotherSocket(t *testing.T) {
	t.Parallel()
	p := start(t, setup{})
	ada, bob := p.open(t), p.open(t)
	unknown := app{Key: "key-of-nobody", Secret: portal.Secret}
	good := portal.auth(ada.socket, "private-x", "")
	for name, auth := range map[string]string{
		"another socket":  portal.auth(bob.socket, "private-x", ""),
		"another channel": portal.auth(ada.socket, "private-y", ""),
		"another key":     unknown.auth(ada.socket, "private-x", ""),
		"channel data":    portal.auth(ada.socket, "private-x", `{"user_id":"ada"}`),
		"upper case":      portal.Key + ":" + strings.ToUpper(strings.TrimPrefix(good, portal.Key+":")),
		"cut":             good[:len(good)-1],
		"longer":          good + "0",
		"no key":          strings.TrimPrefix(good, portal.Key),
		"none":            "",
	} {
		ada.send(t, "pusher:subscribe", fmt.Sprintf(`{"channel":"private-x","auth":%s}`, quote(auth)))
		if text := ada.expectRefusal(t, "private-x", "AuthError", 401); strings.Contains(text, portal.sign(ada.socket+":private-x")) {
			t.Errorf("%s: the error tells the signature: %s", name, text)
		}
	}
	ada.send(t, "pusher:subscribe", fmt.Sprintf(`{"channel":"private-x","auth":%s}`, quote(good)))
	ada.expectData(t, "pusher_internal:subscription_succeeded", "private-x", "{}")
	ada.subscribe(t, "private-x") // again
	ada.expectNothing(t)
}

// TestT22NativeClientInOneChannel sees the members of pusher-js, and the other way round.
func TestT22NativeClientInOneChannel(t *testing.T) {
	t.Parallel()
	p := start(t, setup{pusher: "client_events", options: "grace 1s\nchannels {\ndefault anonymous\n}"})
	grant := jwt.MapClaims{"channels": []string{"presence-room"}}
	native := p.native(t, "grace", grant)
	native.Ask(t, `{"type":"join","channel":"presence-room","presence":"list"}`,
		`{"type":"joined","channel":"presence-room","kind":"authenticated","may":["send","see"],"seq":0,"members":[{"id":"grace"}],"count":1}`)

	ada := p.open(t)
	got := ada.enter(t, "presence-room", "ada", `{"name":"Ada"}`)
	if strings.Join(got.IDs, ",") != "ada,grace" && strings.Join(got.IDs, ",") != "grace,ada" || got.Count != 2 {
		t.Errorf("the members are %+v", got)
	}
	joined := native.Next(t)
	for _, want := range []string{`"ada"`, `{"name":"Ada"}`, `"presence-room"`} {
		if !strings.Contains(joined, want) {
			t.Errorf("the native client is told %s, want %s in it", joined, want)
		}
	}

	// A client event, an event of the API, a message of a backend, and a native message.
	ada.sendRaw(t, `{"event":"client-typing","channel":"presence-room","data":{"at":1}}`)
	expectMessage(t, native, "presence-room", `{"event":"client-typing","data":{"at":1}}`, "ada")
	p.trigger(t, "presence-room", "news", `{"n":2}`)
	expectMessage(t, native, "presence-room", `{"event":"news","data":{"n":2}}`, "")
	ada.expectData(t, "news", "presence-room", `{"n":2}`)
	p.trigger(t, "presence-room", "news", `plain text`)
	expectMessage(t, native, "presence-room", `{"event":"news","data":"plain text"}`, "")
	if f := ada.expect(t, "news", "presence-room"); f.text() != "plain text" {
		t.Errorf("the event is %s", f.raw)
	}
	p.site.Answer(t, "sendmessage", `{"channels":["presence-room"],"message":{"hello":1}}`)
	expectMessage(t, native, "presence-room", `{"hello":1}`, "")
	ada.expectData(t, "message", "presence-room", `{"hello":1}`)
	p.site.Answer(t, "sendmessage", `{"channels":["presence-room"],"message":{"event":"greeting","data":"hi"}}`)
	expectMessage(t, native, "presence-room", `{"event":"greeting","data":"hi"}`, "")
	if f := ada.expect(t, "greeting", "presence-room"); f.text() != "hi" {
		t.Errorf("the event is %s", f.raw)
	}

	// A native client cannot look like the server.
	for _, row := range []struct{ message, event, data string }{
		{`{"event":"news","data":{"n":3}}`, "client-message", `{"event":"news","data":{"n":3}}`},
		{`{"event":"client-x","data":{"n":4}}`, "client-x", `{"n":4}`},
		{`{"n":5}`, "client-message", `{"n":5}`},
	} {
		native.Send(t, `{"type":"send","channels":["presence-room"],"message":`+row.message+`}`)
		f := ada.expect(t, row.event, "presence-room")
		if diff := ws.Diff(f.text(), row.data); diff != "" || f.UserID != "grace" {
			t.Errorf("the message %s is the event %s (%s)", row.message, f.raw, diff)
		}
	}

	ada.send(t, "pusher:unsubscribe", `{"channel":"presence-room"}`)
	for {
		if frame := native.Next(t); strings.Contains(frame, `"left"`) && strings.Contains(frame, `"ada"`) {
			break
		}
	}
}

// expectMessage reads up to the next message, which must be in the channel and from the user; ""
// for nobody.
func expectMessage(t *testing.T, c *ws.Client, channel, message, user string) {
	t.Helper()
	for {
		frame := c.Next(t)
		if !strings.Contains(frame, `"type":"message"`) {
			continue
		}
		for _, want := range []string{quote(channel), `"message":` + message} {
			if !strings.Contains(frame, want) {
				t.Errorf("the message is %s, want %s in it", frame, want)
			}
		}
		if user != "" != strings.Contains(frame, fmt.Sprintf(`"id":%q`, user)) {
			t.Errorf("the message is %s, want it from %q", frame, user)
		}
		return
	}
}

// TestT23WhatBackendsSee has Ada, signed in, with two tabs, Grace, not signed in, and a visitor.
func TestT23WhatBackendsSee(t *testing.T) {
	t.Parallel()
	p := start(t, setup{options: "channels {\nanonymous news\n}"})
	first, second, grace, visitor := p.open(t), p.open(t), p.open(t), p.open(t)
	for _, c := range []*client{first, second} {
		c.signIn(t, `{"id":"ada","user_info":{"email":"ada@example.com"}}`)
		c.enter(t, "presence-room", "ada", "")
	}
	first.subscribe(t, "private-orders")
	grace.enter(t, "presence-room", "grace", "")
	visitor.subscribe(t, "news")

	users := p.site.Answer(t, "users", `{}`)
	for _, want := range []string{
		`"news":1`, `"private-orders":1`,
		`"presence-room":[{"id":"ada","email":"ada@example.com"},{"id":"grace","email":""}]`,
	} {
		if !strings.Contains(users, want) {
			t.Errorf("users: %s, want %s in it", users, want)
		}
	}
	if n := strings.Count(users, `"tab|`); n != 4 {
		t.Errorf("users: %s, want 4 private channels, got %d", users, n)
	}
	p.site.Expect(t, "channels", `{}`, `{"authenticated":["presence-room","private-orders"],"anonymous":["news"]}`)
	p.site.Expect(t, "allusers", `{}`,
		`{"local":{"authenticated":2,"anonymous":1},"_total":{"authenticated":2,"anonymous":1}}`)
}
