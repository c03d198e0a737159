package examples

import (
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

func TestNamingRules(t *testing.T) {
	s := start(t, "naming-rules").site("localhost")
	ann := login(t, s, "ann", "ann@acme.example", "lobby-1", "vip-room", "vip-secret-room", "big-webinar", "acme-1", "acme-board")
	bob := login(t, s, "bob", "bob@acme.test", "vip-room", "big-webinar", "acme-1")
	eve := login(t, s, "eve", "eve@evil.example", "vip-room")
	nobody := s.Dial(t)
	nobody.Join(t, "lobby-1")
	nobody.Join(t, "party-open")

	for _, c := range []struct {
		name          string
		client        *ws.Client
		channel, code string
	}{
		{"closed to all", ann, "lobby-closed", "denied"},
		{"a login is needed", nobody, "staff-open", "login_required"}, // staff-* is stricter than *-open
		{"a login is needed to be counted", nobody, "small-webinar", "login_required"},
		{"another company", eve, "acme-1", "denied"},
		{"one of two rules", bob, "acme-board", "denied"},
		{"no company", nobody, "acme-open", "denied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.client.Send(t, `{"type":"join","id":"x","channel":"`+c.channel+`"}`)
			c.client.ExpectError(t, `"x"`, c.code)
		})
	}

	s.Expect(t, "users", ask("vip-room"), `{"vip-room":[
		{"id":"ann","email":"ann@acme.example"},
		{"id":"bob","email":"bob@acme.test"},
		{"id":"eve","email":"eve@evil.example"}
	]}`)
	s.Expect(t, "users", ask("acme-board"), `{"acme-board":[{"id":"ann","email":"ann@acme.example"}]}`)
	s.Expect(t, "users", ask("big-webinar"), `{"big-webinar":2}`)
	s.Expect(t, "users", ask("lobby-1"), `{"lobby-1":2}`)
	s.Expect(t, "users", ask("vip-secret-room"), `{}`)
	s.Expect(t, "users", ask("lobby-closed"), `{}`)
}
