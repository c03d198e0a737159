package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// troubles are what the plugin of the demo can be made to do, and the code that the sender gets.
var troubles = map[string]string{
	"refuse": "denied", "trap": "unavailable", "loop": "unavailable", "error": "unavailable",
	"rubbish": "unavailable", "large": "unavailable",
}

// troubled runs a Caddy with the plugin, which has the time that a busy machine needs.
func troubled(t *testing.T, options string) *process {
	t.Helper()
	file, err := filepath.Abs("../../examples/demo/trouble.wasm")
	if err != nil {
		t.Fatal(err)
	}
	return start(t, setup{globals: "metrics", options: "limits {\nframes_per_second 100000\n}\nplugin " + file +
		" {\nclassify_timeout 30s\nmessage_timeout 30s\n" + options + "\n}"})
}

// backendSends sends a message of the backend to lobby, an anonymous channel.
func (p *process) backendSends(t *testing.T, message string) ws.Answer {
	t.Helper()
	return p.site.Request(t, http.MethodPost, "/message/sendmessage", `{"channels":["anonymous-lobby"],"message":`+message+`}`,
		"Content-Type", "application/json", "X-Api-Key", p.site.Key)
}

// Whatever a plugin does with a message, with deny nothing gets through, and the sender is told.
func TestMessageOnWhichAPluginFailsReachesNobody(t *testing.T) {
	p := troubled(t, "on_failure deny")
	ada, eve := p.site.Dial(t), p.site.Dial(t)
	ada.Join(t, "anonymous-lobby")
	eve.Join(t, "anonymous-lobby")
	n := 0
	good := func() { // many of these keep the breaker closed
		t.Helper()
		n++
		ada.Ask(t, fmt.Sprintf(`{"type":"send","channels":["anonymous-lobby"],"echo":false,"message":{"n":%d}}`, n), `{"type":"sent"}`)
		eve.Expect(t, fmt.Sprintf(`{"type":"message","channel":"anonymous-lobby","from":null,"message":{"n":%d}}`, n))
	}
	for range 20 {
		good()
	}
	for way, code := range troubles {
		ada.Send(t, `{"type":"send","id":1,"channels":["anonymous-lobby"],"message":{"trouble":"`+way+`"}}`)
		ada.ExpectError(t, "1", code)
		for range 4 {
			good() // eve gets this next
		}
		a := p.backendSends(t, `{"trouble":"`+way+`"}`)
		want := map[string]int{"denied": http.StatusForbidden, "unavailable": http.StatusServiceUnavailable}[code]
		if a.Status != want || !strings.Contains(a.Body, `"code":"`+code+`"`) {
			t.Errorf("%s: the backend gets %d %s, want %d %s", way, a.Status, a.Body, want, code)
		}
		for range 4 {
			good()
		}
	}
	ada.ExpectNothing(t)
	eve.ExpectNothing(t)
}

// With pass, a message on which a plugin fails is sent; a refusal refuses it nevertheless.
func TestMessageOnWhichAPluginFailsMayPass(t *testing.T) {
	p := troubled(t, "on_failure pass")
	ada := p.site.Dial(t)
	ada.Join(t, "anonymous-lobby")
	for way, code := range troubles {
		for range 8 { // these keep the breaker closed: a plugin that is not called refuses nothing
			ada.Ask(t, `{"type":"send","channels":["anonymous-lobby"],"echo":false,"message":{}}`, `{"type":"sent"}`)
		}
		ada.Send(t, `{"type":"send","id":1,"channels":["anonymous-lobby"],"echo":false,"message":{"trouble":"`+way+`"}}`)
		if code == "denied" {
			ada.ExpectError(t, "1", code)
			continue
		}
		ada.Expect(t, `{"type":"sent","id":1}`)
	}
}

// Whatever a plugin does with a login, with deny nobody gets in, and the client is told.
func TestLoginOnWhichAPluginFailsIsRefused(t *testing.T) {
	closeCodes := map[string]int{"denied": 4005, "unavailable": 4110}
	for way, code := range troubles {
		t.Run(way, func(t *testing.T) {
			p := troubled(t, "on_failure deny")
			raw := issued(t, "trouble."+way, time.Now())
			conn, _ := ws.Open(t, ws.Request{URL: p.site.Socket().URL, Host: p.site.Host, Header: ws.Header("Authorization", "Bearer "+raw)})
			ws.ExpectClose(t, conn, closeCodes[code])

			c := p.site.Dial(t)
			c.Join(t, "anonymous-lobby")
			c.Send(t, `{"type":"authenticate","id":1,"token":"`+raw+`"}`)
			c.ExpectError(t, "1", code)
			c.Send(t, `{"type":"join","channel":"members","id":2}`) // it stays as it was: anonymous
			c.ExpectError(t, "2", "login_required")
			p.site.Expect(t, "users", `{"channel":"anonymous-lobby"}`, `{"anonymous-lobby":1}`)
			p.site.Expect(t, "allusers", `{}`, `{"local":{"authenticated":0,"anonymous":1},"_total":{"authenticated":0,"anonymous":1}}`)
			c.Ask(t, `{"type":"authenticate","token":"`+issued(t, "ada", time.Time{})+`"}`, `{"type":"authenticated","user":{"id":"ada","email":""}}`)
			c.ExpectNothing(t)
		})
	}
}

// answered is the answer to a frame.
type answered struct{ Type, Code string }

// answer sends a frame, and returns the next one.
func answer(conn *websocket.Conn, frame string) (got answered, err error) {
	_ = conn.SetWriteDeadline(time.Now().Add(ws.Patience))
	if err := conn.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
		return got, err
	}
	_ = conn.SetReadDeadline(time.Now().Add(ws.Patience))
	return got, conn.ReadJSON(&got)
}

// Messages that crash a plugin stop no join and no login, although the same plugin decides about
// them.
func TestMessagesThatCrashAPluginStopNoJoin(t *testing.T) {
	p := troubled(t, "")
	l := &load{ended: make(chan struct{})}
	t.Cleanup(func() { l.stop(t) })
	var refused, logins atomic.Int64
	for range 2 {
		c := p.site.Dial(t)
		c.Join(t, "anonymous-lobby")
		l.repeat(func(int) error {
			got, err := answer(c.Conn, `{"type":"send","channels":["anonymous-lobby"],"message":{"trouble":"trap"}}`)
			if err == nil && got.Code != "unavailable" {
				err = fmt.Errorf("a message that crashes the plugin is answered with %+v", got)
			}
			if err != nil {
				return err
			}
			refused.Add(1)
			return nil
		})
		joiner := p.site.Dial(t)
		l.repeat(func(n int) error {
			l.joins.Add(1)
			return joinAndLeave(joiner.Conn, fmt.Sprintf("anonymous-%d", n%7))
		})
		raw := issued(t, "ada", time.Time{})
		visitor := p.site.Dial(t)
		l.repeat(func(int) error {
			got, err := answer(visitor.Conn, `{"type":"authenticate","token":"`+raw+`"}`)
			if err == nil && got.Type != "authenticated" {
				err = fmt.Errorf("a login is answered with %+v", got)
			}
			if err != nil {
				return err
			}
			logins.Add(1)
			return nil
		})
	}
	const series = `caddy_rollcall_plugin_calls_total{hook="message",host="portal.example.com",plugin="trouble",result=%q}`
	ws.Poll(t, 3*ws.Patience, func() error {
		crashes, suspended := p.metric(t, fmt.Sprintf(series, "trap")), p.metric(t, fmt.Sprintf(series, "breaker"))
		if crashes < 5 || suspended < 50 || refused.Load() < 100 || l.joins.Load() < 200 || logins.Load() < 100 {
			return fmt.Errorf("%v crashes, %v calls were not made, %d messages, %d joins, %d logins",
				crashes, suspended, refused.Load(), l.joins.Load(), logins.Load())
		}
		return nil
	})
	l.stop(t)
	if l.errs == nil {
		t.Logf("%d messages were refused, %d joins and %d logins were not", refused.Load(), l.joins.Load(), logins.Load())
	}
}
