package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// attempt is a join or a message of a user, and whether it succeeds.
type attempt struct {
	host    string // "": portal.example.com
	user    string // "": anonymous; "token": the token on the page; otherwise a token without channels
	join    string
	send    bool   // also send to the channel
	refused string // code of the error; "" if nothing is refused
	names   string // permission that the error names
}

// setups are the five setups of docs/authentication.md by heading.
var setups = map[string][]attempt{
	"A portal with rooms": {
		{user: "token", join: "team-7-plans", send: true},
		{user: "token", join: "deal-12"},
		{user: "token", join: "deal-12", send: true, refused: "denied", names: "send"},
		{user: "token", join: "deal-13", refused: "denied", names: "join"},
		{user: "USER_2", join: "team-7-plans", refused: "denied", names: "join"},
		{join: "team-7-plans", refused: "login_required"},
		{join: "anonymous-lobby", refused: "login_required"},
	},
	"A user's own notifications": {
		{user: "USER_1", join: "notifications-USER_1"},
		{user: "USER_2", join: "notifications-USER_1", refused: "denied"},
		{user: "USER_2", join: "notifications-", refused: "denied"},
		{join: "notifications-USER_1", refused: "login_required"},
		{user: "USER_2", join: "news"},
	},
	"Rooms that your backend decides about": {
		{user: "USER_1", join: "doc-7"},
		{user: "USER_1", join: "doc-7", send: true, refused: "denied", names: "send"},
		{user: "USER_1", join: "doc-8", refused: "denied"},
		{user: "USER_2", join: "doc-7", refused: "denied"},
		{join: "doc-7", refused: "login_required"},
	},
	"A public lobby with hosts": {
		{join: "lobby-1"},
		{join: "lobby-1", send: true, refused: "denied", names: "send"},
		{user: "USER_2", join: "lobby-1", send: true, refused: "denied", names: "send"},
		{user: "token", join: "lobby-1", send: true},
	},
	"Many customers in one block": {
		{host: "shop.example.com", user: "token", join: "orders-1", send: true},
		{host: "shop.example.com", user: "token", join: "inbox-USER_1", send: true},
		{host: "shop.example.com", user: "token", join: "inbox-USER_2", refused: "denied"},
		{host: "shop.example.com", user: "token", join: "returns-1", refused: "denied", names: "join"},
		{host: "blog.example.com", user: "token", refused: "401"},
		{host: "blog.example.com", join: "orders-1", refused: "login_required"},
	},
}

const signingSecret = "an example secret of thirty-two bytes"

// TestSetups serves the five setups of docs/authentication.md as they are written, and joins and
// sends with the tokens on the page.
func TestSetups(t *testing.T) {
	text, err := os.ReadFile("../../docs/authentication.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := regexp.MustCompile(`(?s)\n### ([^\n]+)\n(.*?)(?:\n##|$)`)
	rest, found := string(text), 0
	for {
		at := sections.FindStringSubmatchIndex(rest)
		if at == nil {
			break
		}
		name, section := rest[at[2]:at[3]], rest[at[4]:at[5]]
		rest = rest[at[5]:]
		attempts, ok := setups[name]
		if !ok {
			continue
		}
		found++
		t.Run(name, func(t *testing.T) {
			blocks := fenced(section)
			setKeys(t)
			t.Setenv("ROLLCALL_JWT_SECRET", signingSecret)
			t.Setenv("ROLLCALL_BACKEND_SECRET", "whsec_YW4gZXhhbXBsZSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcw==")
			t.Setenv("ROLLCALL_EVENTS_SECRET", "whsec_YW4gZXhhbXBsZSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcw==")
			site := here(t, strings.ReplaceAll(blocks["caddyfile"][0], "http://app:3000", "http://"+decider(t, blocks["json"])))
			load(t, caddyfile("local_certs\nauto_https disable_redirects\n", site))
			for _, a := range attempts {
				a.try(t, claimsOnPage(t, blocks["json"]))
			}
		})
	}
	if found != len(setups) {
		t.Errorf("%d setups on the page, want %d", found, len(setups))
	}
}

// fenced returns the blocks of a section by language.
func fenced(section string) map[string][]string {
	blocks := make(map[string][]string)
	for _, m := range regexp.MustCompile("(?s)```(\\w+)\n(.*?)```").FindAllStringSubmatch(section, -1) {
		blocks[m[1]] = append(blocks[m[1]], m[2])
	}
	return blocks
}

// claimsOnPage returns the claims on the page, or nil.
func claimsOnPage(t *testing.T, blocks []string) jwt.MapClaims {
	t.Helper()
	for _, text := range blocks {
		var claims jwt.MapClaims
		if err := json.Unmarshal([]byte(text), &claims); err != nil {
			t.Fatal(err)
		}
		if claims["sub"] != nil {
			return claims
		}
	}
	return nil
}

// decider starts a backend that gives the answer on the page to the question on the page, and
// refuses all others. It returns its address.
func decider(t *testing.T, blocks []string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if len(blocks) == 2 && ws.Diff(string(body), strings.ReplaceAll(blocks[0], `"a@example.com"`, `""`)) == "" {
			_, _ = io.WriteString(w, blocks[1])
			return
		}
		_, _ = io.WriteString(w, `{"allow":false}`)
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func (a attempt) try(t *testing.T, onPage jwt.MapClaims) {
	t.Helper()
	name := fmt.Sprintf("%+v", a)
	host := a.host
	if host == "" {
		host = portalName
	}
	claims := jwt.MapClaims{"sub": a.user}
	for key, value := range onPage {
		if a.user == "token" || key == "iss" || key == "aud" {
			claims[key] = value
		}
	}
	var header []string
	if a.user != "" {
		signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(signingSecret))
		if err != nil {
			t.Fatal(err)
		}
		header = []string{"Authorization", "Bearer " + signed}
	}
	at := ws.Site{URL: tlsURL, Host: host + ":9443", Client: tlsClient(host)}
	ws.Poll(t, ws.Patience, func() error { // the certificate is issued after the start
		_, err := at.Do(http.MethodGet, "/message/client.js", "")
		return err
	})
	if a.refused == "401" {
		expectStatus(t, withHeader(at, header...), http.StatusUnauthorized)
		return
	}
	c := at.Dial(t, header...)
	defer c.Close(t)
	frames := []string{fmt.Sprintf(`{"type":"join","channel":%q}`, a.join)}
	wants := []string{"joined"}
	if a.send {
		frames = append(frames, fmt.Sprintf(`{"type":"send","channels":[%q],"message":{"text":"hello"},"echo":false}`, a.join))
		wants = append(wants, "sent")
	}
	for i, frame := range frames {
		var got struct{ Type, Code, Message string }
		c.Send(t, frame)
		answer := c.Next(t)
		if err := json.Unmarshal([]byte(answer), &got); err != nil {
			t.Fatal(err)
		}
		switch {
		case a.refused != "" && i == len(frames)-1:
			if got.Type != "error" || got.Code != a.refused || !strings.Contains(got.Message, a.names) {
				t.Errorf("%s: got %s", name, answer)
			}
		case got.Type != wants[i]:
			t.Errorf("%s: got %s", name, answer)
		}
	}
}
