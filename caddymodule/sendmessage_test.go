package caddymodule

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
)

// basket is an Outbox that keeps the payloads of short text frames.
type basket struct {
	mu     sync.Mutex
	frames []string
}

func (b *basket) Push(frame []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.frames = append(b.frames, string(frame[bytes.IndexByte(frame, '{'):]))
}

func (b *basket) Queue(frames []byte, _ int) bool {
	b.Push(frames)
	return false
}

func (b *basket) Flush() {}

func (b *basket) has(frame string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Contains(b.frames, frame)
}

func TestSendMessage(t *testing.T) {
	c := mustLoad(t, "http://portal.example.com {\n\trollcall {\n\t\tapi_key k\n\t}\n}")
	h := c.handler(t)
	out := new(basket)
	conn, err := h.app.hub.Registry.Connect(testkit.MustHost(t, "portal.example.com"), h.rollcall.Site.Rules(), &presence.User{ID: "ann"}, out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if err := conn.Join("room", presence.WatchNone, ""); err != nil {
		t.Fatal(err)
	}
	private := conn.ID().PrivateChannel()
	longest := `{"x":"` + strings.Repeat("x", 60<<10) + `"}`
	for _, test := range []struct {
		name, body, want string // want is the body of the answer
		frames           []string
	}{
		{
			"channel and private channel",
			`{"apiKey":"k", "channels": ["room", "` + private + `", "empty"], "message": {"actions": [1], "x":1e3}}`,
			`{"channels": ["room", "` + private + `", "empty"],"message": {"actions": [1], "x":1e3}}`,
			[]string{
				`{"type":"message","channel":"room","from":null,"backend":true,"message":{"actions": [1], "x":1e3}}`,
				`{"type":"message","channel":"` + private + `","from":null,"backend":true,"message":{"actions": [1], "x":1e3}}`,
			},
		},
		{
			"what looks like a key is not repeated",
			`{"APIKEY":"a","more":{"apiKey":"inside"},"apiKey":"k","channels":["nobody"],"message":{},"api\u004bey":"k","ApiKey":7}`,
			`{"more":{"apiKey":"inside"},"channels":["nobody"],"message":{}}`, nil,
		},
		{
			"user and channel", `{"apiKey":"k","users":["ann"],"channels":["room"],"message":{"n":1}}`,
			`{"users":["ann"],"channels":["room"],"message":{"n":1}}`,
			[]string{
				`{"type":"message","channel":"room","from":null,"backend":true,"message":{"n":1}}`,
				`{"type":"message","channel":"` + private + `","from":null,"backend":true,"message":{"n":1}}`,
			},
		},
		{"user alone", `{"apiKey":"k","users":["ann","nobody"],"message":{"n":2}}`, `{"users":["ann","nobody"],"message":{"n":2}}`, []string{
			`{"type":"message","channel":"` + private + `","from":null,"backend":true,"message":{"n":2}}`,
		}},
		{
			"users in a large body", `{"apiKey":"k","users":["ann"],"message":` + longest + `,"idempotencyKey":"` + strings.Repeat("k", 128) + `","pad":"` + strings.Repeat("x", 60<<10) + `"}`,
			`{"users":["ann"],"message":` + longest + `,"idempotencyKey":"` + strings.Repeat("k", 128) + `","pad":"` + strings.Repeat("x", 60<<10) + `"}`, nil,
		},
		{"another pod's connection", `{"apiKey":"k","channels":["tab|AAAAAAAAAAAAAAAAAAAAAA"],"message":{}}`, `{"channels":["tab|AAAAAAAAAAAAAAAAAAAAAA"],"message":{}}`, nil},
		{"long message", `{"apiKey":"k","channels":["empty"],"message":` + longest + `}`, `{"channels":["empty"],"message":` + longest + `}`, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := post(t, h, "/message/sendmessage", test.body)
			if w.Code != http.StatusCreated || w.Body.String() != test.want {
				t.Errorf("status %d with\n%s\nwant\n%s", w.Code, w.Body, test.want)
			}
			if got := w.Header().Get("Content-Type") + w.Header().Get("Rollcall-Complete"); got != "application/json" {
				t.Errorf("headers %q", w.Header())
			}
			for _, frame := range test.frames {
				testkit.Eventually(t, "the frame "+frame, func() bool { return out.has(frame) })
			}
		})
	}
	got := scrape(t, c.ctx.GetMetricsRegistry())
	for _, line := range []string{
		"messages_total{from=backend,host=_other,result=ok} 7",
		"request_duration_seconds{code=201,endpoint=sendmessage} 7",
	} {
		if !strings.Contains(got, line) {
			t.Errorf("no %s in\n%s", line, got)
		}
	}
}

// The excepted connection hears nothing, and a repetition is answered as the first was.
func TestSendMessageExceptAndOnce(t *testing.T) {
	h := loadHandler(t, "api_key k")
	boxes := []*basket{new(basket), new(basket)}
	var tabs []*presence.Conn
	for _, box := range boxes {
		conn, err := h.app.hub.Registry.Connect(testkit.MustHost(t, "portal.example.com"), h.rollcall.Site.Rules(), &presence.User{ID: "ann"}, box)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conn.Close)
		tabs = append(tabs, conn)
	}
	send := func(key string, n int) {
		t.Helper()
		body := fmt.Sprintf(`{"users":["ann"],"except":%q,"idempotencyKey":%q,"message":{"n":%d}}`, tabs[0].ID(), key, n)
		if w := post(t, h, "/message/sendmessage", `{"apiKey":"k",`+body[1:]); w.Code != http.StatusCreated || w.Body.String() != body {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	}
	send("order-1", 1)
	send("order-1", 2)
	send("order-2", 3)
	frame := func(n int) string {
		return fmt.Sprintf(`{"type":"message","channel":%q,"from":null,"backend":true,"message":{"n":%d}}`, tabs[1].ID().PrivateChannel(), n)
	}
	testkit.Eventually(t, "the last message", func() bool { return boxes[1].has(frame(3)) })
	if len(boxes[0].frames) != 0 || len(boxes[1].frames) != 2 || !boxes[1].has(frame(1)) {
		t.Errorf("the excepted connection has %q, the other one %q", boxes[0].frames, boxes[1].frames)
	}
}

func TestSendMessageWithTheKeyInTheHeader(t *testing.T) {
	h := loadHandler(t, "api_key k")
	const body = `{"channels":["room"],"message":{}}`
	r := httptest.NewRequest(http.MethodPost, "http://portal.example.com/message/sendmessage", strings.NewReader(" "+body+"\n"))
	r.Header.Set("X-Api-Key", "k")
	if w := serve(t, h, r); w.Code != http.StatusCreated || w.Body.String() != body {
		t.Errorf("status %d with %s", w.Code, w.Body)
	}
}

func TestSendMessageProblems(t *testing.T) {
	h := loadHandler(t, "api_key k\nlimits {\nchannel_name 10\n}")
	names := func(n int) string { return `["x"` + strings.Repeat(`,"x"`, n-1) + `]` }
	for _, test := range []struct {
		name, body string // body without the key
		status     int
		code       string
	}{
		{"no channels", `"message":{}`, 400, "bad_value"},
		{"empty channels", `"channels":[],"message":{}`, 400, "bad_value"},
		{"one channel", `"channels":"room","message":{}`, 400, "bad_value"},
		{"null channels", `"channels":null,"message":{}`, 400, "bad_value"},
		{"a number as channel", `"channels":["room",7],"message":{}`, 400, "bad_value"},
		{"too many channels", `"channels":` + names(presence.MaxTargets+1) + `,"message":{}`, 400, "bad_value"},
		{"a channel without a name", `"channels":["room",""],"message":{}`, 400, "bad_value"},
		{"a null channel", `"channels":["room",null],"message":{}`, 400, "bad_value"},
		{"a channel too long", `"channels":["01234567890"],"message":{}`, 400, "bad_value"},
		{"a channel with a control character", `"channels":["a\u0000"],"message":{}`, 400, "bad_value"},
		{"a channel with half a surrogate pair", `"channels":["room","a\ud800"],"message":{}`, 400, "bad_channel"},
		{"a channel with U+FFFD", `"channels":["a\ufffd"],"message":{}`, 400, "bad_channel"},
		{"a private channel with half a surrogate pair", `"channels":["tab|\udfff"],"message":{}`, 400, "bad_channel"},
		{"a private channel of no connection", `"channels":["tab|canary"],"message":{}`, 400, "bad_value"},
		{"no message", `"channels":["room"]`, 400, "bad_value"},
		{"a string as message", `"channels":["room"],"message":"canary"`, 400, "bad_value"},
		{"an array as message", `"channels":["room"],"message":[{}]`, 400, "bad_value"},
		{"a null message", `"channels":["room"],"message":null`, 400, "bad_value"},
		{"a message that is not UTF-8", `"channels":["room"],"message":{"x":"` + "\xff" + `"}`, 400, "bad_json"},
		{"a channel that is not UTF-8", `"channels":["` + "\xff" + `"],"message":{}`, 400, "bad_json"},
		{"nobody", `"users":null,"message":{}`, 400, "bad_value"},
		{"no users", `"users":[],"channels":["room"],"message":{}`, 400, "bad_value"},
		{"no channels but users", `"users":["ann"],"channels":[],"message":{}`, 400, "bad_value"},
		{"one user", `"users":"ann","message":{}`, 400, "bad_value"},
		{"an object as user", `"users":[{"id":"ann"}],"message":{}`, 400, "bad_value"},
		{"a user without an ID", `"users":["ann",""],"message":{}`, 400, "bad_value"},
		{"a null user", `"users":["ann",null],"message":{}`, 400, "bad_value"},
		{"a user too long", `"users":["` + strings.Repeat("x", 257) + `"],"message":{}`, 400, "bad_value"},
		{"a user with half a surrogate pair", `"users":["a\ud800"],"message":{}`, 400, "bad_value"},
		{"too many users", `"users":` + names(presence.MaxUsers+1) + `,"message":{}`, 400, "bad_value"},
		{"except a number", `"channels":["room"],"except":7,"message":{}`, 400, "bad_value"},
		{"except nothing", `"channels":["room"],"except":"","message":{}`, 400, "bad_value"},
		{"except a private channel", `"channels":["room"],"except":"tab|AAAAAAAAAAAAAAAAAAAAAA","message":{}`, 400, "bad_value"},
		{"an empty key", `"channels":["room"],"idempotencyKey":"","message":{}`, 400, "bad_value"},
		{"a key too long", `"channels":["room"],"idempotencyKey":"` + strings.Repeat("canary", 22) + `","message":{}`, 400, "bad_value"},
		{"a key with half a surrogate pair", `"channels":["room"],"idempotencyKey":"canary\ud800","message":{}`, 400, "bad_value"},
		{"a null key", `"channels":["room"],"idempotencyKey":null,"message":{}`, 400, "bad_value"},
		{"a large body without users", `"channels":["room"],"message":{},"pad":"` + strings.Repeat("x", 64<<10) + `"`, 413, "too_large"},
		{
			"too much for all users together",
			`"users":` + names(presence.MaxUsers) + `,"message":{"x":"` + strings.Repeat("x", 20<<10) + `"}`, 413, "too_large",
		},
		{
			"too much in all channels together",
			`"channels":["` + strings.Join(numbers(40), `","`) + `"],"message":{"x":"` + strings.Repeat("x", 60<<10) + `"}`, 413, "too_large",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := post(t, h, "/message/sendmessage", `{"apiKey":"k",`+test.body+`}`)
			checkProblem(t, w, test.status, test.code)
			if strings.Contains(w.Body.String(), "canary") {
				t.Errorf("the answer repeats what was sent: %s", w.Body)
			}
		})
	}
	for _, wrong := range []string{`{"channels":["room"],"message":{}}`, `{"apiKey":"no","channels":["room"],"message":{}}`} {
		checkProblem(t, post(t, h, "/message/sendmessage", wrong), http.StatusUnauthorized, "bad_key")
	}
}

func numbers(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprint(i))
	}
	return list
}
