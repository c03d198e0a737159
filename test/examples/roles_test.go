package examples

import (
	"fmt"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// withRole returns a token of a user with a claim role.
func withRole(t *testing.T, id string, role any) string {
	t.Helper()
	claims := jwt.MapClaims{"sub": id, "role": role, "exp": time.Now().Add(time.Hour).Unix()}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestRoles(t *testing.T) {
	s := start(t, "roles").site("localhost")
	host := s.Dial(t, "Authorization", "Bearer "+withRole(t, "ada", "host"))
	guest := s.Dial(t, "Authorization", "Bearer "+withRole(t, "bob", []string{"unknown", "guest"}))
	nobody := s.Dial(t, "Authorization", "Bearer "+withRole(t, "eve", "unknown"))
	for _, test := range []struct {
		who     *ws.Client
		channel string
		denied  bool
	}{
		{host, "stage-1", false},
		{host, "backstage", false},
		{guest, "stage-1", false},
		{guest, "backstage", true},
		{nobody, "stage-1", true},
		{nobody, "lobby", false},
	} {
		test.who.Send(t, fmt.Sprintf(`{"type":"join","id":1,"channel":%q}`, test.channel))
		if test.denied {
			test.who.ExpectError(t, "1", "denied")
			continue
		}
		may := `,"may":["send","see"]`
		if test.channel == "lobby" {
			may = ""
		}
		test.who.Expect(t, fmt.Sprintf(`{"type":"joined","id":1,"channel":%q,"kind":"authenticated"%s}`, test.channel, may))
	}

	// Others see the role as a badge.
	host.Join(t, "room")
	awaitMembers(t, guest, `[{"id":"ada","badge":"host"},{"id":"bob","badge":"guest"}]`)
	s.Expect(t, "users", `{"channel":"backstage"}`, `{"backstage":[{"id":"ada","email":""}]}`)
}

func TestRolesRefuse(t *testing.T) {
	s := start(t, "roles").site("localhost")
	request := s.Socket()
	request.Header = ws.Header("Authorization", "Bearer "+withRole(t, "mallory", "banned"))
	conn, _ := ws.Open(t, request)
	ws.ExpectClose(t, conn, 4005)

	visitor := s.Dial(t)
	visitor.Send(t, `{"type":"authenticate","id":1,"token":"`+withRole(t, "mallory", "banned")+`"}`)
	visitor.ExpectError(t, "1", "denied")
	visitor.ExpectNothing(t)
}
