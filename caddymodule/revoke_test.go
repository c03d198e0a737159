package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// revoker is a site whose users log in by tokens, and a server of it.
type revoker struct {
	*Handler
	server *httptest.Server
}

// newRevoker keeps revocations in a folder of its own, because they outlive a test.
func newRevoker(t *testing.T) revoker {
	t.Helper()
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	h := loadHandler(t, "api_key k\njwt {\nkey "+tokenSecret+"\ncookie rollcall_token\nrevocation 2h\n}")
	return revoker{h, listen(t, h)}
}

// tokenOf returns a token that was issued a while ago.
func tokenOf(t *testing.T, user string, ago time.Duration) string {
	t.Helper()
	return signedToken(t, jwt.MapClaims{"sub": user, "iat": time.Now().Add(-ago).Unix(), "exp": time.Now().Add(time.Hour).Unix()})
}

// login opens a connection with a token, and returns it or the status and the code of the refusal.
func (r revoker) login(t *testing.T, raw string) (conn *websocket.Conn, refusal string) {
	t.Helper()
	conn, resp, err := dial(t, r.server, "portal.example.com", "Authorization", "Bearer "+raw)
	if err == nil {
		return conn, ""
	}
	if resp == nil {
		t.Fatal(err)
	}
	var p struct{ Code string }
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil {
		t.Fatal(err)
	}
	return nil, fmt.Sprint(resp.StatusCode, " ", p.Code)
}

// wantClose reads the end of a connection.
func wantClose(t *testing.T, conn *websocket.Conn, code int, reason string) {
	t.Helper()
	_, frame, err := conn.ReadMessage()
	if e, ok := errors.AsType[*websocket.CloseError](err); !ok || e.Code != code || e.Text != reason {
		t.Errorf("got %s, %v, want the code %d with %q", frame, err, code, reason)
	}
}

func TestDisconnectRevokesTokens(t *testing.T) {
	r := newRevoker(t)
	old, ofBob := tokenOf(t, "amy", time.Minute), tokenOf(t, "bob", time.Minute)
	ada, refusal := r.login(t, old)
	if refusal != "" {
		t.Fatal(refusal)
	}
	welcome(t, ada)
	wantAnswer(t, r.Handler, "disconnect", `"users":["amy"],"revoke":true,"reason":"banned"`, `{"disconnected":1}`)
	wantClose(t, ada, 4002, "banned")
	for _, raw := range []string{old, signedToken(t, jwt.MapClaims{"sub": "amy"}), tokenOf(t, "amy", -4*time.Second)} {
		if _, refusal := r.login(t, raw); refusal != "503 unavailable" {
			t.Errorf("the token %s: %q", raw, refusal)
		}
	}
	if _, refusal := r.login(t, ofBob); refusal != "" {
		t.Errorf("another user: %s", refusal)
	}
	visitor := mustDial(t, r.server, "portal.example.com")
	welcome(t, visitor)
	if got := asks(t, visitor, `{"type":"authenticate","token":"`+old+`"}`); !strings.Contains(got, `"code":"unavailable"`) {
		t.Errorf("authenticate: %s", got)
	}
	// Logins by Caddy's handlers are disconnected, and may come back.
	handled := mustDial(t, r.server, "portal.example.com", "Test-User", "amy")
	welcome(t, handled)
	wantAnswer(t, r.Handler, "disconnect", `"users":["amy"],"revoke":true`, `{"disconnected":1}`)
	welcome(t, mustDial(t, r.server, "portal.example.com", "Test-User", "amy"))

	book := r.app.hub.Assignments.Book
	portal := testkit.MustHost(t, "portal.example.com")
	for user, issued := range map[string]int64{"amy": 0, "bob": time.Now().Unix() - 60} {
		if _, revoked := book.Revoked(portal, user, issued); revoked != (user == "amy") {
			t.Errorf("%s: revoked %v", user, revoked)
		}
	}
}

// issuedBefore spares what was issued later, and refuses at once what is from before.
func TestDisconnectRevokesUpToATime(t *testing.T) {
	r := newRevoker(t)
	at := time.Now().Add(-time.Minute).Unix()
	wantAnswer(t, r.Handler, "disconnect", fmt.Sprintf(`"users":["kim","kim","eve"],"revoke":true,"reconnect":true,"issuedBefore":%d`, at), `{"disconnected":0}`)
	for iat, want := range map[int64]string{at: "503 unavailable", at + 1: ""} {
		if _, refusal := r.login(t, signedToken(t, jwt.MapClaims{"sub": "kim", "iat": iat})); refusal != want {
			t.Errorf("issued at %+d s: %q, want %q", iat-at, refusal, want)
		}
	}
}

func TestRevokeProblems(t *testing.T) {
	r := newRevoker(t)
	before := r.app.hub.Assignments.Book.Revocations() // tests share the file
	future := time.Now().Add(time.Minute).Unix()
	for name, body := range map[string]string{
		"a channel":         `"channel":"room","revoke":true`,
		"connections":       `"connections":["AAAAAAAAAAAAAAAAAAAAAQ"],"revoke":true`,
		"no revoke":         `"users":["amy"],"issuedBefore":1700000000`,
		"revoke is false":   `"users":["amy"],"revoke":false,"issuedBefore":1700000000`,
		"a word":            `"users":["amy"],"revoke":"yes"`,
		"null":              `"users":["amy"],"revoke":null`,
		"the future":        fmt.Sprintf(`"users":["amy"],"revoke":true,"issuedBefore":%d`, future),
		"milliseconds":      fmt.Sprintf(`"users":["amy"],"revoke":true,"issuedBefore":%d`, time.Now().UnixMilli()),
		"a time as text":    `"users":["amy"],"revoke":true,"issuedBefore":"2026-01-01"`,
		"a fraction":        `"users":["amy"],"revoke":true,"issuedBefore":1700000000.5`,
		"1970":              `"users":["amy"],"revoke":true,"issuedBefore":0`,
		"before 1970":       `"users":["amy"],"revoke":true,"issuedBefore":-1`,
		"a null time":       `"users":["amy"],"revoke":true,"issuedBefore":null`,
		"beyond any number": `"users":["amy"],"revoke":true,"issuedBefore":1e400`,
	} {
		t.Run(name, func(t *testing.T) {
			checkProblem(t, post(t, r.Handler, "/message/disconnect", `{"apiKey":"k",`+body+`}`), http.StatusBadRequest, "bad_value")
		})
	}
	if n := r.app.hub.Assignments.Book.Revocations(); n != before {
		t.Errorf("%d revocations more", n-before)
	}
}
