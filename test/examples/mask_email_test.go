package examples

import (
	"testing"
)

func TestMaskEmail(t *testing.T) {
	s := start(t, "mask-email").site("localhost")
	ada := login(t, s, "ada", "ada@example.com", "room")
	login(t, s, "bob", "bob@example.org", "room")

	s.Expect(t, "users", ask("room"),
		`{"room":[{"id":"ada","email":"a***@example.com"},{"id":"bob","email":"bob@example.org"}]}`)
	s.Expect(t, "users", ask(ada.Welcome.Channel), `{"`+ada.Welcome.Channel+`":{"id":"ada","email":"a***@example.com"}}`)
	s.Expect(t, "allusers", `{"includeUsers":true}`, `{
		"local": {
			"authenticated": [{"id":"ada","email":"a***@example.com"},{"id":"bob","email":"bob@example.org"}],
			"authenticatedCount": 2, "anonymous": 0
		},
		"_total": {"authenticated": 2, "anonymous": 0}
	}`)
	s.Expect(t, "allusers", `{}`,
		`{"local":{"authenticated":2,"anonymous":0},"_total":{"authenticated":2,"anonymous":0}}`)
}

func TestMaskEmailForBrowsers(t *testing.T) {
	for show, want := range map[string]string{
		"":                           `[{"id":"ada"},{"id":"bob"}]`,
		"members {\nshow email\n}\n": `[{"id":"ada","email":"a***@example.com"},{"id":"bob","email":"bob@example.org"}]`,
	} {
		s := start(t, "mask-email", "plugin ", show+"plugin ").site("localhost")
		login(t, s, "ada", "ada@example.com", "room")
		bob := login(t, s, "bob", "bob@example.org")
		awaitMembers(t, bob, want)
	}
}

func TestMaskEmailOptions(t *testing.T) {
	for change, want := range map[string]string{
		"keep 2": `{"id":"ada","email":"ad***@example.com"}`,
		"keep 0": `{"id":"ada","email":"***@example.com"}`,
		"remove": `{"id":"ada"}`,
	} {
		t.Run(change, func(t *testing.T) {
			s := start(t, "mask-email", "keep 1", change).site("localhost")
			login(t, s, "ada", "ada@example.com", "room")
			s.Expect(t, "users", ask("room"), `{"room":[`+want+`]}`)
		})
	}
}
