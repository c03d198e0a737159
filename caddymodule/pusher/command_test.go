package pusher

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/caddymodule/events"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
)

// status returns type and status of a subscription_error.
func status(t *testing.T, e event, channel string) (kind string, code int, text string) {
	t.Helper()
	var data struct {
		Type, Error string
		Status      int
	}
	if err := json.Unmarshal([]byte(e.Data), &data); err != nil || e.Event != "pusher:subscription_error" || e.Channel != channel || data.Error == "" {
		t.Fatalf("got %+v, want the subscription_error of %s", e, channel)
	}
	return data.Type, data.Status, data.Error
}

// code returns the code of a pusher:error; 0 for null.
func code(t *testing.T, e event) int {
	t.Helper()
	var data struct {
		Code    *int
		Message string
	}
	if err := json.Unmarshal([]byte(e.Data), &data); err != nil || e.Event != "pusher:error" || data.Message == "" {
		t.Fatalf("got %+v, want pusher:error", e)
	}
	if data.Code == nil {
		return 0
	}
	return *data.Code
}

func TestGreeting(t *testing.T) {
	p := newRoom(t).join("")
	p.greet(p)
	p.want("pusher:connection_established", "", `{"socket_id":"`+p.socket.String()+`","activity_timeout":120}`)
}

func TestSubscribe(t *testing.T) {
	r := newRoom(t)
	p := r.join("")
	for _, channel := range []string{"news", "private-x", "private-encrypted-x", "privateer"} {
		p.subscribe(channel, "")
		p.want(succeeded, channel, "{}")
		p.subscribe(channel, "")
		p.want(succeeded, channel, "{}")
	}
	p.send(`{"event":"pusher:subscribe","data":{"channel":"public","auth":""}}`)
	p.want(succeeded, "public", "{}")
	p.subscribe("presence-x", `{"user_id":10,"user_info":{"name":"A"}}`)
	p.want(succeeded, "presence-x", `{"presence":{"ids":["10"],"hash":{"10":{"name":"A"}},"count":1}}`)
}

func TestSubscribeRefuses(t *testing.T) {
	for _, test := range []struct {
		name, channel, frame string
		kind                 string
		status               int
		says                 string
	}{
		{"wrong signature", "private-x", `{"channel":"private-x","auth":"key:00"}`, "AuthError", 401, ":private-x"},
		{"no signature", "private-x", `{"channel":"private-x"}`, "AuthError", 401, "missing"},
		{"null", "private-x", `{"channel":"private-x","auth":null}`, "AuthError", 401, "missing"},
		{"key of another app", "private-x", `{"channel":"private-x","auth":"other:00"}`, "AuthError", 401, "another app"},
		{"bad name", "a b", `{"channel":"a b"}`, "InvalidChannel", 4009, "letters"},
		{"no name", "", `{}`, "InvalidChannel", 4009, "characters"},
		{"reserved", "#x", `{"channel":"#x"}`, "InvalidChannel", 4009, "#server-to-user-"},
		{"another user", "#server-to-user-ada", `{"channel":"#server-to-user-ada"}`, "AuthError", 401, "signed in"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newRoom(t).join("")
			p.send(`{"event":"pusher:subscribe","data":%s}`, test.frame)
			if kind, code, text := status(t, p.next(), test.channel); kind != test.kind || code != test.status || !strings.Contains(text, test.says) {
				t.Errorf("got %s, %d and %q", kind, code, text)
			}
			quoted, _ := json.Marshal(test.frame)
			p.client = newClient("pusher-dotnet-client", 5)
			p.send(`{"event":"pusher:subscribe","data":%s}`, quoted)
			if e := p.next(); e.Event != "pusher_internal:subscription_error" {
				t.Errorf("a client of .NET receives %+v", e)
			}
		})
	}
}

func TestSubscribeToPresenceRefuses(t *testing.T) {
	for _, data := range []string{
		`{"user_id":1.5}`, `{"user_id":""}`, `{"user_id":"` + strings.Repeat("x", 129) + `"}`, `{}`, `[]`,
		`{"user_id":1,"user_info":"` + strings.Repeat("x", 2048) + `"}`,
	} {
		p := newRoom(t).join("")
		p.subscribe("presence-x", data)
		if kind, code, _ := status(t, p.next(), "presence-x"); kind != "AuthError" || code != 401 {
			t.Errorf("%s: got %s and %d", data, kind, code)
		}
	}
	p := newRoom(t).join("")
	p.subscribe("presence-x", "")
	if _, code, text := status(t, p.next(), "presence-x"); code != 401 || !strings.Contains(text, "channel_data") {
		t.Errorf("without channel_data: %d, %s", code, text)
	}
}

func TestPresenceAnnouncesMembers(t *testing.T) {
	r := newRoom(t)
	a := r.join("").enter("presence-x", `{"user_id":"1","user_info":{"name":"A"}}`)
	b := r.join("")
	b.subscribe("presence-x", `{"user_id":2}`)
	b.want(succeeded, "presence-x", `{"presence":{"ids":["1","2"],"hash":{"1":{"name":"A"},"2":null},"count":2}}`)
	a.want("pusher_internal:member_added", "presence-x", `{"user_id":"2"}`)

	second := r.join("").enter("presence-x", `{"user_id":"2","user_info":[1]}`)
	a.silent()
	second.send(`{"event":"pusher:unsubscribe","data":{"channel":"presence-x"}}`)
	second.silent()
	b.send(`{"event":"pusher:unsubscribe","data":"{\"channel\":\"presence-x\"}"}`)
	a.want("pusher_internal:member_removed", "presence-x", `{"user_id":"2"}`)
	b.send(`{"event":"pusher:unsubscribe","data":{"channel":"unknown"}}`)
	b.silent()
	a.silent()
}

func TestPresenceMembersAreLimited(t *testing.T) {
	r := newRoom(t)
	r.site.Pusher.PresenceMembers = 2
	r.join("").enter("presence-x", `{"user_id":"1"}`)
	b := r.join("").enter("presence-x", `{"user_id":"2"}`)
	c := r.join("")
	c.subscribe("presence-x", `{"user_id":"3"}`)
	if kind, code, _ := status(t, c.next(), "presence-x"); kind != "LimitReached" || code != 4100 {
		t.Errorf("got %s and %d", kind, code)
	}
	r.join("").enter("presence-x", `{"user_id":"2"}`) // a member already
	b.enter("presence-x", `{"user_id":"2"}`)
	c.enter("presence-y", `{"user_id":"3"}`)
	c.silent()
}

func TestFirstMembershipIsTheUserOfTheConnection(t *testing.T) {
	p := newRoom(t).join("")
	p.enter("presence-x", `{"user_id":"1","user_info":{"email":"a@example.com"}}`)
	p.enter("presence-y", `{"user_id":"2"}`)
	if user, ok := p.on.User(); !ok || user.ID != "1" || user.Email != "a@example.com" || p.on.SignedIn() {
		t.Errorf("the user is %+v", user)
	}
	p.send(`{"event":"pusher:subscribe","data":{"channel":"#server-to-user-1"}}`)
	if _, code, _ := status(t, p.next(), "#server-to-user-1"); code != 401 {
		t.Errorf("got %d", code)
	}
}

func TestPluginsAreAskedAboutTheFirstMembership(t *testing.T) {
	p := newRoom(t).join("")
	p.refused = site.ErrLoginRefused
	p.subscribe("presence-x", `{"user_id":"1"}`)
	if kind, code, _ := status(t, p.next(), "presence-x"); kind != "AuthError" || code != 403 {
		t.Errorf("got %s and %d", kind, code)
	}
	p.refused = errors.New("out of fuel")
	p.subscribe("presence-x", `{"user_id":"1"}`)
	if kind, code, _ := status(t, p.next(), "presence-x"); kind != "Unavailable" || code != 503 {
		t.Errorf("got %s and %d", kind, code)
	}
	if _, ok := p.on.User(); ok {
		t.Error("the connection has a user")
	}
	p.refused, p.info = nil, `{"name":"by a plugin"}`
	p.subscribe("presence-x", `{"user_id":"1","user_info":[1]}`)
	p.want(succeeded, "presence-x", `{"presence":{"ids":["1"],"hash":{"1":{"name":"by a plugin"}},"count":1}}`)
}

func TestSignIn(t *testing.T) {
	const ada = `{"id":"ada","user_info":{"name":"Ada"}}`
	r := newRoom(t)
	p := r.join("")
	success, _ := json.Marshal(map[string]string{"user_data": ada})
	for range 2 { // the second time as the same user
		p.signInAs(ada)
		p.want("pusher:signin_success", "", string(success))
	}
	p.signInAs(`{"id":"grace"}`)
	if got := code(t, p.next()); got != 4009 {
		t.Errorf("another user: %d", got)
	}
	p.send(`{"event":"pusher:subscribe","data":{"channel":"#server-to-user-ada"}}`)
	p.want(succeeded, "#server-to-user-ada", "{}")
	p.subscribe("presence-x", "")
	p.want(succeeded, "presence-x", `{"presence":{"ids":["ada"],"hash":{"ada":{"name":"Ada"}},"count":1}}`)
	if !p.on.SignedIn() {
		t.Error("not signed in")
	}
}

// A subscription as somebody else that is refused changes nothing: client events still name the
// member.
func TestRefusedSubscriptionKeepsTheMember(t *testing.T) {
	r := newRoom(t)
	r.site.Pusher.PresenceMembers = 2
	ada, bob := r.join("").enter("presence-x", `{"user_id":"ada"}`), r.join("").enter("presence-x", `{"user_id":"bob"}`)
	ada.next() // bob is added
	ada.subscribe("presence-x", `{"user_id":"eve"}`)
	if kind, _, _ := status(t, ada.next(), "presence-x"); kind != "LimitReached" {
		t.Errorf("refused with %s", kind)
	}
	ada.send(`{"event":"client-x","channel":"presence-x","data":"1"}`)
	bob.next()
	if len(ada.told) != 1 || ada.told[0].UserID != "ada" {
		t.Errorf("webhooks are told %+v", ada.told)
	}
}

func TestSignInAfterAMembership(t *testing.T) {
	for _, id := range []string{"1", "2"} {
		p := newRoom(t).join("").enter("presence-x", `{"user_id":"1"}`)
		p.signInAs(`{"id":"` + id + `"}`)
		if e := p.next(); e.Event != "pusher:signin_success" {
			t.Errorf("as %s: %+v", id, e)
		}
		if user, _ := p.on.User(); user.ID != id || !p.on.SignedIn() {
			t.Errorf("the user is %+v", user)
		}
	}
}

func TestSignInRefuses(t *testing.T) {
	r := newRoom(t)
	for name, frame := range map[string]string{
		"no data":         `{}`,
		"null":            `null`,
		"a number":        `7`,
		"text":            `"x"`,
		"no user_data":    `{"auth":"key:00"}`,
		"wrong signature": `{"auth":"key:00","user_data":"{\"id\":\"ada\"}"}`,
	} {
		p := r.join("")
		p.send(`{"event":"pusher:signin","data":%s}`, frame)
		if got := code(t, p.next()); got != 4009 || p.on.SignedIn() {
			t.Errorf("%s: %d", name, got)
		}
	}
	for _, data := range []string{`{}`, `{"id":""}`, `{"id":1.5}`, `[]`} {
		p := r.join("")
		p.signInAs(data)
		if got := code(t, p.next()); got != 4009 || p.on.SignedIn() {
			t.Errorf("%s: %d", data, got)
		}
	}
	p := r.join("native")
	p.signInAs(`{"id":"ada"}`)
	if got := code(t, p.next()); got != 4009 {
		t.Errorf("a connection that is logged in as another user: %d", got)
	}
	p.refused = site.ErrLoginRefused
	p.signInAs(`{"id":"native"}`)
	if e := p.next(); e.Event != "pusher:signin_success" {
		t.Errorf("as the user of the login: %+v", e)
	}
	p = r.join("")
	p.refused = site.ErrLoginRefused
	p.signInAs(`{"id":"ada"}`)
	if got := code(t, p.next()); got != 4009 {
		t.Errorf("refused by a plugin: %d", got)
	}
}

func TestClientEvents(t *testing.T) {
	r := newRoom(t)
	a, b := r.join(""), r.join("")
	for _, channel := range []string{"private-x", "private-cache-x"} {
		a.enter(channel, "")
		b.enter(channel, "")
	}
	for _, p := range []*peer{a, b} {
		p.want("pusher:cache_miss", "private-cache-x", "{}")
	}
	a.enter("presence-x", `{"user_id":"1"}`)
	b.enter("presence-x", `{"user_id":"2"}`)
	a.want("pusher_internal:member_added", "presence-x", `{"user_id":"2"}`)
	for _, test := range []struct{ frame, channel, data, user string }{
		{`{"event":"client-x","channel":"private-x","data":{ "a" : [1] }}`, "private-x", `{ "a" : [1] }`, ""},
		{`{"event":"client-x","channel":"private-x","data":"text \"é\""}`, "private-x", `text "é"`, ""},
		{`{"event":"client-x","channel":"private-x","data":"\"json\""}`, "private-x", `"json"`, ""},
		{`{"event":"client-x","channel":"private-x","data":" {\"a\":1}\n"}`, "private-x", " {\"a\":1}\n", ""},
		{`{"event":"client-x","channel":"private-x","data":""}`, "private-x", ``, ""},
		{`{"event":"client-x","channel":"private-x","data":null}`, "private-x", `{}`, ""},
		{`{"event":"client-x","channel":"private-x"}`, "private-x", `{}`, ""},
		{`{"event":"client-x","channel":"private-cache-x","data":7}`, "private-cache-x", `7`, ""},
		{`{"event":"client-x","channel":"presence-x","data":{},"user_id":"2"}`, "presence-x", `{}`, "1"},
	} {
		a.send("%s", test.frame)
		if got := b.next(); got != (event{"client-x", test.channel, test.data, test.user}) {
			t.Errorf("%s arrives as %+v", test.frame, got)
		}
		if got, want := a.told[len(a.told)-1], (events.ClientEvent{Channel: test.channel, Event: "client-x", Data: test.data, SocketID: a.socket.String(), UserID: test.user}); got != want {
			t.Errorf("%s is told as %+v", test.frame, got)
		}
	}
	a.silent()
}

func TestClientEventsRefused(t *testing.T) {
	for _, test := range []struct{ name, frame string }{
		{"public", `{"event":"client-x","channel":"news","data":{}}`},
		{"encrypted", `{"event":"client-x","channel":"private-encrypted-x","data":{}}`},
		{"no channel", `{"event":"client-x","data":{}}`},
		{"bad channel", `{"event":"client-x","channel":"tab|x","data":{}}`},
		{"of a user", `{"event":"client-x","channel":"#server-to-user-x","data":{}}`},
		{"not subscribed", `{"event":"client-x","channel":"private-other","data":{}}`},
		{"long name", `{"event":"client-` + strings.Repeat("x", 194) + `","channel":"private-x","data":{}}`},
		{"long data", `{"event":"client-x","channel":"private-x","data":"` + strings.Repeat("x", 10<<10+1) + `"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRoom(t)
			a, b := r.join(""), r.join("")
			for _, channel := range []string{"news", "private-x", "private-encrypted-x"} {
				a.enter(channel, "")
				b.enter(channel, "")
			}
			b.enter("private-other", "")
			a.send("%s", test.frame)
			if got := code(t, a.next()); got != 0 {
				t.Errorf("got %d", got)
			}
			b.silent()
			if len(a.told) > 0 {
				t.Errorf("webhooks are told of %+v", a.told)
			}
		})
	}
	r := newRoom(t)
	r.site.Pusher.ClientEvents = false
	p := r.join("").enter("private-x", "")
	p.send(`{"event":"client-x","channel":"private-x","data":{}}`)
	if got := code(t, p.next()); got != 0 {
		t.Errorf("disabled: %d", got)
	}
}

func TestClientEventsAreLimited(t *testing.T) {
	p := newRoom(t).join("").enter("private-x", "")
	for range 10 {
		p.send(`{"event":"client-x","channel":"private-x","data":{}}`)
	}
	p.silent()
	p.send(`{"event":"client-x","channel":"private-x","data":{}}`)
	if got := code(t, p.next()); got != 4301 {
		t.Errorf("the eleventh: %d", got)
	}
}

func TestFramesThatAreNoCommands(t *testing.T) {
	p := newRoom(t).join("")
	for _, frame := range []string{``, `x`, `[]`, `{}`, `{"event":1}`, `{"event":null}`, `{"event":"pusher:subscribe"}`, `{"event":"pusher:subscribe","data":"x"}`, `{"event":"pusher:subscribe","data":{"channel":1}}`, "{\"event\":\"\xff\"}"} {
		p.send("%s", frame)
		if got := code(t, p.next()); got != 0 {
			t.Errorf("%s: %d", frame, got)
		}
	}
	p.message(p, false, []byte(`{"event":"pusher:ping"}`), true)
	if got := code(t, p.next()); got != 0 {
		t.Errorf("a binary frame: %d", got)
	}
	for _, frame := range []string{`{"event":"pusher:unknown"}`, `{"event":"pusher:pong"}`, `{"event":"x","data":1}`} {
		p.send("%s", frame)
	}
	p.silent()
	p.send(`{"event":"pusher:ping","data":{}}`)
	p.want("pusher:pong", "", "{}")
}

func TestFramesOverTheLimit(t *testing.T) {
	p := newRoom(t).join("").enter("private-x", "")
	over := func(frame string) event {
		p.message(p, true, []byte(frame), false)
		return p.next()
	}
	if e := over(`{"event":"pusher:ping"}`); e.Event != "pusher:pong" {
		t.Errorf("a ping is answered with %+v", e)
	}
	if kind, code, _ := status(t, over(`{"event":"pusher:subscribe","data":{"channel":"news"}}`), "news"); kind != "LimitReached" || code != 4100 {
		t.Errorf("got %s and %d", kind, code)
	}
	if got := code(t, over(`{"event":"client-x","channel":"private-x"}`)); got != 4301 {
		t.Errorf("a client event: %d", got)
	}
	if got := code(t, over(`{"event":"pusher:signin","data":{}}`)); got != 4009 {
		t.Errorf("a sign-in: %d", got)
	}
}

// A reload can take the app away before the gateway has closed its connections.
func TestFramesOfAnAppThatIsGone(t *testing.T) {
	r := newRoom(t)
	p := r.join("")
	of := *r.site.Pusher
	of.Apps = of.Apps[1:]
	r.site = &site.Site{Pusher: &of}
	p.send(`{"event":"pusher:subscribe","data":{"channel":"news"}}`)
	if p.Serves(r.site) || p.Serves(&site.Site{}) || len(p.events) > 0 {
		t.Error("the app is still there")
	}
}
