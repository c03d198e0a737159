package examples

import (
	"maps"
	"net/http"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// tokenWith returns a token of a user with further claims.
func tokenWith(t *testing.T, id string, claims jwt.MapClaims) string {
	t.Helper()
	all := jwt.MapClaims{"sub": id}
	maps.Copy(all, claims)
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, all).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// says sends a message to a channel, for which the answer is the code of an error or "sent".
func says(t *testing.T, c *ws.Client, channels, want string) {
	t.Helper()
	c.Send(t, `{"type":"send","id":1,"channels":[`+channels+`],"echo":false,"message":{"text":"hello"}}`)
	if want == "sent" {
		c.Expect(t, `{"type":"sent","id":1}`)
	} else {
		c.ExpectError(t, "1", want)
	}
}

// In a quiet room hosts write and others listen. Elsewhere everybody writes.
func TestQuietRoom(t *testing.T) {
	s := start(t, "quiet-room").site("portal.localhost")
	bob := s.Dial(t, "Authorization", "Bearer "+tokenWith(t, "bob", jwt.MapClaims{"role": "guest"}))
	bob.Join(t, "townhall")
	for name, c := range map[string]struct {
		claims jwt.MapClaims
		want   string
	}{
		"a host":                {jwt.MapClaims{"role": "host"}, "sent"},
		"one of several roles":  {jwt.MapClaims{"role": []string{"speaker", "host"}}, "sent"},
		"a guest":               {jwt.MapClaims{"role": "guest"}, "denied"},
		"no role":               {nil, "denied"},
		"a role in an object":   {jwt.MapClaims{"role": map[string]string{"a": "host"}}, "denied"},
		"the end of a role":     {jwt.MapClaims{"role": "cohost"}, "denied"},
		"another claim":         {jwt.MapClaims{"roles": "host"}, "denied"},
		"a role in other claim": {jwt.MapClaims{"x": map[string]string{"role": "host"}}, "denied"},
	} {
		t.Run(name, func(t *testing.T) {
			ada := s.Dial(t, "Authorization", "Bearer "+tokenWith(t, "ada", c.claims))
			for _, channel := range []string{"townhall", "webinar-7", "lobby"} {
				ada.Join(t, channel)
			}
			says(t, ada, `"townhall"`, c.want)
			says(t, ada, `"webinar-7"`, c.want)
			says(t, ada, `"lobby"`, "sent")
			says(t, ada, `"lobby","townhall"`, c.want)
			ada.ExpectNothing(t)
			ada.Close(t)
		})
	}
	for range 4 {
		bob.Expect(t, `{"type":"message","channel":"townhall","from":{"id":"ada"},"message":{"text":"hello"}}`)
	}
	bob.ExpectNothing(t)
}

// Another login on the connection of a host ends the right to write; the backend always has it.
func TestQuietRoomAfterAnotherLogin(t *testing.T) {
	s := start(t, "quiet-room").site("portal.localhost")
	c := s.Dial(t, "Authorization", "Bearer "+tokenWith(t, "ada", jwt.MapClaims{"role": "host"}))
	c.Join(t, "townhall")
	says(t, c, `"townhall"`, "sent")
	c.Ask(t, `{"type":"authenticate","token":"`+tokenWith(t, "ada", nil)+`"}`, `{"type":"authenticated","user":{"id":"ada","email":""}}`)
	says(t, c, `"townhall"`, "denied")
	a := s.Request(t, http.MethodPost, "/message/sendmessage", `{"channels":["townhall"],"message":{"n":1}}`,
		"Content-Type", "application/json", "X-Api-Key", apiKey)
	if a.Status != http.StatusCreated {
		t.Errorf("the backend gets %d %s", a.Status, a.Body)
	}
	c.Expect(t, `{"type":"message","channel":"townhall","from":null,"backend":true,"message":{"n":1}}`)
}
