package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// expectSent reads the answer to a send and the sender's own message, which come in any order.
func expectSent(t *testing.T, c *ws.Client, message string) {
	t.Helper()
	for range 2 {
		if got := c.Next(t); got != `{"type":"sent","id":1}` && ws.Diff(got, message) != "" {
			t.Fatalf("got %s, want an answer or %s", got, message)
		}
	}
}

func TestClientsSendToThoseWhoListen(t *testing.T) {
	load(t, caddyfile("", portalSite(jwtOptions)+"http://other.example.com:9080 {\n rollcall {\n api_key "+apiKey+"\n }\n}\n"))
	ann := portalHost.Dial(t, login(t, "ann", "a@example.com")...)
	visitor, outside := portalHost.Dial(t), portalHost.Dial(t)
	other := portalHost
	other.Host = "other.example.com"
	elsewhere := other.Dial(t)
	for _, c := range []*ws.Client{ann, visitor, elsewhere} {
		c.Join(t, "anonymousRoom")
	}
	ann.Join(t, "team")
	outside.Join(t, "anonymousHall")

	ann.Send(t, `{"type":"send","id":1,"channels":["anonymousRoom"],"message":{"text":"h\u00e9","n":[1.50]}}`)
	want := `{"type":"message","channel":"anonymousRoom","from":{"id":"ann","email":"a@example.com"},"message":{"text":"h\u00e9","n":[1.50]}}`
	expectSent(t, ann, want)
	if got := visitor.Next(t); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	visitor.Send(t, `{"type":"send","id":1,"channels":["anonymousRoom"],"message":{}}`)
	want = `{"type":"message","channel":"anonymousRoom","from":null,"message":{}}`
	expectSent(t, visitor, want)
	ann.Expect(t, want)

	// No client can send as the backend, or as another user.
	visitor.Send(t, `{"type":"send","channels":["anonymousRoom"],"message":{"backend":true},"backend":true,"from":{"id":"ann"},"echo":false}`)
	visitor.Expect(t, `{"type":"sent"}`)
	ann.Expect(t, `{"type":"message","channel":"anonymousRoom","from":null,"message":{"backend":true}}`)

	for name, tt := range map[string]struct{ channels, code string }{
		"another channel":           {`["anonymousRoom","anonymousHall"]`, "not_joined"},
		"a channel of others":       {`["team"]`, "not_joined"},
		"another's private channel": {fmt.Sprintf(`[%q]`, ann.Welcome.Channel), "reserved_channel"},
		"its own private channel":   {fmt.Sprintf(`[%q]`, visitor.Welcome.Channel), "reserved_channel"},
		"no name":                   {`["anonymousRoom",""]`, "bad_channel"},
		"no channel":                {`[]`, "bad_frame"},
	} {
		t.Run(name, func(t *testing.T) {
			visitor.Send(t, `{"type":"send","id":"x","channels":`+tt.channels+`,"message":{}}`)
			visitor.ExpectError(t, `"x"`, tt.code)
		})
	}
	for _, c := range []*ws.Client{ann, visitor, outside, elsewhere} {
		c.ExpectNothing(t)
	}
}

func TestBackendSendsMessages(t *testing.T) {
	load(t, portal(jwtOptions))
	ann, visitor := portalHost.Dial(t, login(t, "ann", "a@example.com")...), portalHost.Dial(t)
	ann.Join(t, "team")
	const message = `{"actions":[{"type":"refresh"}],"model":"order","app":"sales"}`
	send := func(channels, want string) {
		t.Helper()
		a := portalHost.Request(t, http.MethodPost, "/message/sendmessage",
			`{"apiKey":"`+apiKey+`","channels":`+channels+`,"message":`+message+`}`)
		if a.Status != http.StatusCreated || a.Body != want {
			t.Errorf("status %d: %s", a.Status, a.Body)
		}
	}
	private := visitor.Welcome.Channel
	channels := fmt.Sprintf(`["team",%q,"nobodyIsHere"]`, private)
	send(channels, `{"channels":`+channels+`,"message":`+message+`}`)
	ann.Expect(t, `{"type":"message","channel":"team","from":null,"backend":true,"message":`+message+`}`)
	visitor.Expect(t, fmt.Sprintf(`{"type":"message","channel":%q,"from":null,"backend":true,"message":%s}`, private, message))
	ann.ExpectNothing(t)
	visitor.ExpectNothing(t)
}

// A site's limits apply to messages, too, and those of package presence where a site's are higher.
func TestMessagesAreBounded(t *testing.T) {
	load(t, portal(jwtOptions+"limits {\n frame 1MiB\n queue 4MiB\n}"))
	ann := portalHost.Dial(t, login(t, "ann", "a@example.com")...)
	ann.Join(t, "team")
	ann.Send(t, `{"type":"send","id":1,"channels":["team"],"message":{"x":"`+strings.Repeat("x", 256<<10)+`"}}`)
	ann.ExpectError(t, "1", "too_large")
	large := `{"x":"` + strings.Repeat("x", 200<<10) + `"}`
	ann.Send(t, `{"type":"send","id":1,"channels":["team"],"message":`+large+`}`)
	expectSent(t, ann, `{"type":"message","channel":"team","from":{"id":"ann","email":"a@example.com"},"message":`+large+`}`)
}
