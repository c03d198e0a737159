package integration

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// seed has the connections of the scenario in the reference text.
type seed struct {
	tab1, tab2 *ws.Client // of USER_1
	other      *ws.Client // of USER_2
	anonymous  [3]*ws.Client
}

// arrive connects all of them to the portal and has them join.
func arrive(t *testing.T) seed {
	t.Helper()
	user := func(id, email string) *ws.Client {
		c := portalHost.Dial(t, "Authorization", "Bearer "+token(t, id, email, 0))
		c.Join(t, "salesRoom")
		return c
	}
	s := seed{
		tab1:  user("USER_1", "a@example.com"),
		tab2:  user("USER_1", "a@example.com"),
		other: user("USER_2", "b@example.com"),
	}
	for i := range s.anonymous {
		s.anonymous[i] = portalHost.Dial(t)
		s.anonymous[i].Join(t, "anonymousChat")
	}
	return s
}

const (
	user1 = `{"id":"USER_1","email":"a@example.com"}`
	user2 = `{"id":"USER_2","email":"b@example.com"}`
)

// privates returns the entries of private channels.
func (s seed) privates() string {
	out := fmt.Sprintf("%q:%s,%q:%s,%q:%s", s.tab1.Welcome.Channel, user1, s.tab2.Welcome.Channel, user1,
		s.other.Welcome.Channel, user2)
	for _, c := range s.anonymous {
		out += fmt.Sprintf(",%q:1", c.Welcome.Channel)
	}
	return out
}

func TestEndpointsAnswerAsTheSeedSays(t *testing.T) {
	load(t, caddyfile("rollcall {\n data_center us-east-1\n }", portalSite(jwtOptions)+
		"http://other.example.com:9080 {\n rollcall {\n api_key "+apiKey+"\n }\n}\n"))
	s := arrive(t)

	all := `{` + s.privates() + `,"salesRoom":[` + user1 + `,` + user2 + `],"anonymousChat":3}`
	raw := `{` + s.privates() + `,"salesRoom":[` + user1 + `,` + user1 + `,` + user2 + `],"anonymousChat":3}`
	tests := map[string]struct{ endpoint, body, want string }{
		"users":                 {"users", `{}`, all},
		"an unknown key":        {"users", `{"colour":"red","scope":"pod"}`, all},
		"every connection":      {"users", `{"dedupeUsers":false}`, raw},
		"authenticated channel": {"users", `{"channel":"salesRoom"}`, `{"salesRoom":[` + user1 + `,` + user2 + `]}`},
		"every connection of a channel": {
			"users", `{"channel":"salesRoom","dedupeUsers":false}`,
			`{"salesRoom":[` + user1 + `,` + user1 + `,` + user2 + `]}`,
		},
		"anonymous channel": {"users", `{"channel":"anonymousChat"}`, `{"anonymousChat":3}`},
		"private channel of a user": {
			"users", fmt.Sprintf(`{"channel":%q}`, s.tab2.Welcome.Channel),
			fmt.Sprintf(`{%q:%s}`, s.tab2.Welcome.Channel, user1),
		},
		"private channel of a visitor": {
			"users", fmt.Sprintf(`{"channel":%q}`, s.anonymous[0].Welcome.Channel),
			fmt.Sprintf(`{%q:1}`, s.anonymous[0].Welcome.Channel),
		},
		"unknown channel":     {"users", `{"channel":"nobodyIsHere"}`, `{}`},
		"channel in any case": {"users", `{"channel":"SALESROOM"}`, `{}`},
		"allusers": {
			"allusers", `{}`,
			`{"us-east-1":{"authenticated":2,"anonymous":3},"_total":{"authenticated":2,"anonymous":3}}`,
		},
		"allusers, every connection": {
			"allusers", `{"dedupeUsers":false}`,
			`{"us-east-1":{"authenticated":3,"anonymous":3},"_total":{"authenticated":3,"anonymous":3}}`,
		},
		"allusers with users": {
			"allusers", `{"includeUsers":true}`,
			`{"us-east-1":{"authenticated":[` + user1 + `,` + user2 + `],"authenticatedCount":2,"anonymous":3},
			  "_total":{"authenticated":2,"anonymous":3}}`,
		},
		"allusers with users, every connection": {
			"allusers", `{"includeUsers":true,"dedupeUsers":false}`,
			`{"us-east-1":{"authenticated":[` + user1 + `,` + user1 + `,` + user2 + `],"authenticatedCount":3,"anonymous":3},
			  "_total":{"authenticated":3,"anonymous":3}}`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { portalHost.Expect(t, tt.endpoint, tt.body, tt.want) })
	}

	t.Run("names of channels", func(t *testing.T) {
		for host, want := range map[string]string{
			portalHost.Host: `{"authenticated":["salesRoom"],"anonymous":["anonymousChat"]}`, "other.example.com": `{"authenticated":[],"anonymous":[]}`,
		} {
			to := portalHost
			to.Host = host
			a := to.Request(t, http.MethodPost, "/message/channels", `{"apiKey":"`+apiKey+`","requireComplete":true}`)
			if a.Status != http.StatusCreated || a.Body != want || a.Header.Get("Rollcall-Complete") != "true" {
				t.Errorf("%s: status %d: %s, want %s", host, a.Status, a.Body, want)
			}
		}
	})
	t.Run("another host sees nothing", func(t *testing.T) {
		other := portalHost
		other.Host = "other.example.com"
		other.Expect(t, "users", `{}`, `{}`)
		other.Expect(t, "users", `{"channel":"salesRoom"}`, `{}`)
		other.Expect(t, "users", fmt.Sprintf(`{"channel":%q}`, s.tab1.Welcome.Channel), `{}`)
		other.Expect(t, "allusers", `{"includeUsers":true}`,
			`{"us-east-1":{"authenticated":[],"authenticatedCount":0,"anonymous":0},"_total":{"authenticated":0,"anonymous":0}}`)
	})
	t.Run("the host in another spelling", func(t *testing.T) {
		other := portalHost
		other.Host = "PORTAL.Example.com:1234"
		other.Expect(t, "users", `{}`, all)
	})
	t.Run("one tab less", func(t *testing.T) {
		s.tab2.Close(t)
		portalHost.Await(t, "users", `{"channel":"salesRoom","dedupeUsers":false}`,
			`{"salesRoom":[`+user1+`,`+user2+`]}`)
		s.tab1.Close(t)
		portalHost.Await(t, "users", `{"channel":"salesRoom"}`, `{"salesRoom":[`+user2+`]}`)
	})
}

func TestEndpointHeaders(t *testing.T) {
	load(t, portal(""))
	for endpoint, status := range map[string]int{
		"users": http.StatusOK, "allusers": http.StatusOK, "channels": http.StatusCreated,
	} {
		a := portalHost.Request(t, http.MethodPost, "/message/"+endpoint, `{"apiKey":"`+apiKey+`"}`)
		want := map[string]string{
			"Content-Type":      "application/json",
			"Cache-Control":     "no-store",
			"Rollcall-Complete": "true",
			"Rollcall-Missing":  "",
		}
		for field, value := range want {
			if got := a.Header.Get(field); got != value {
				t.Errorf("%s: %s is %q, want %q", endpoint, field, got, value)
			}
		}
		if a.Status != status {
			t.Errorf("%s: status %d: %s", endpoint, a.Status, a.Body)
		}
	}
}

func TestEndpointsBelowAnotherPrefix(t *testing.T) {
	load(t, portal("prefix /api/v1"))
	if a := portalHost.Request(t, http.MethodPost, "/api/v1/users", "", "X-Api-Key", apiKey); a.Status != http.StatusOK {
		t.Errorf("below the prefix: status %d: %s", a.Status, a.Body)
	}
	for _, path := range []string{"/message/users", "/api/v1", "/api/v1/", "/api/v1/other", "/api/v1users"} {
		if a := portalHost.Request(t, http.MethodPost, path, "", "X-Api-Key", apiKey); a.Status != http.StatusNotFound {
			t.Errorf("%s: status %d, want 404 of the next handler", path, a.Status)
		}
	}
}
