package caddymodule

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/presence"
)

func TestAppendListings(t *testing.T) {
	ann, bob := presence.User{ID: "USER_1", Email: "a@example.com"}, presence.User{ID: "USER_2", Email: "b@example.com"}
	for _, test := range []struct {
		name string
		list []presence.Listing
		want string
	}{
		{"none", nil, `{}`},
		{
			"the example of the reference",
			[]presence.Listing{
				{Channel: "tab|abc123", Kind: presence.Private, Users: []presence.User{{ID: "USER_ID", Email: "person@example.com"}}},
				{Channel: "salesRoom", Kind: presence.Authenticated, Users: []presence.User{ann, bob}},
				{Channel: "anonymousChat", Kind: presence.Anonymous, Count: 3},
			},
			`{"tab|abc123":{"id":"USER_ID","email":"person@example.com"},` +
				`"salesRoom":[{"id":"USER_1","email":"a@example.com"},{"id":"USER_2","email":"b@example.com"}],"anonymousChat":3}`,
		},
		{"private channel of an anonymous connection", []presence.Listing{{Channel: "tab|a", Kind: presence.Private, Count: 1}}, `{"tab|a":1}`},
		{"authenticated channel without users", []presence.Listing{{Channel: "a", Kind: presence.Authenticated}}, `{"a":[]}`},
		{"count only", []presence.Listing{{Channel: "a", Kind: presence.Authenticated, CountOnly: true, Count: 7}}, `{"a":7}`},
		{"no e-mail", []presence.Listing{{Channel: "a", Kind: presence.Authenticated, Users: []presence.User{{ID: "1"}}}}, `{"a":[{"id":"1","email":""}]}`},
		{"odd name", []presence.Listing{{Channel: "a\"\\b", Kind: presence.Anonymous, Count: 1}}, `{"a\"\\b":1}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := appendListings(nil, test.list)
			if !json.Valid(got) || string(got) != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

func TestAppendAllUsers(t *testing.T) {
	ann, bob := presence.User{ID: "USER_1", Email: "a@example.com"}, presence.User{ID: "USER_2", Email: "b@example.com"}
	for _, test := range []struct {
		name string
		dcs  []dcUsers
		want string
	}{
		{
			"the counts of the reference",
			[]dcUsers{
				{name: "us-east-1", authenticated: 12, anonymous: 4},
				{name: "eu-west-1", authenticated: 7, anonymous: 2},
			},
			`{"us-east-1":{"authenticated":12,"anonymous":4},"eu-west-1":{"authenticated":7,"anonymous":2},"_total":{"authenticated":19,"anonymous":6}}`,
		},
		{
			"the users of the reference",
			[]dcUsers{{name: "us-east-1", authenticated: 2, anonymous: 4, users: []presence.User{ann, bob}}},
			`{"us-east-1":{"authenticated":[{"id":"USER_1","email":"a@example.com"},{"id":"USER_2","email":"b@example.com"}],` +
				`"authenticatedCount":2,"anonymous":4},"_total":{"authenticated":2,"anonymous":4}}`,
		},
		{
			"zeros",
			[]dcUsers{{name: "local"}},
			`{"local":{"authenticated":0,"anonymous":0},"_total":{"authenticated":0,"anonymous":0}}`,
		},
		{
			"no users",
			[]dcUsers{{name: "local", users: []presence.User{}}},
			`{"local":{"authenticated":[],"authenticatedCount":0,"anonymous":0},"_total":{"authenticated":0,"anonymous":0}}`,
		},
		{"no data center", nil, `{"_total":{"authenticated":0,"anonymous":0}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := slices.Concat(encodeAllUsers(test.dcs)...)
			if !json.Valid(got) || string(got) != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// sameJSON holds that two documents say the same, whatever the order of keys and of the members of lists of users.
func sameJSON(t *testing.T, what, got, want string) {
	t.Helper()
	if canonical(t, got) != canonical(t, want) {
		t.Errorf("%s:\ngot  %s\nwant %s", what, got, want)
	}
}

func canonical(t *testing.T, text string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	b, _ := json.Marshal(sorted(v))
	return string(b)
}

// sorted brings arrays in order; encoding/json does it for keys.
func sorted(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			v[key] = sorted(v[key])
		}
	case []any:
		texts := make([]string, len(v))
		for i := range v {
			b, _ := json.Marshal(v[i])
			texts[i] = string(b)
		}
		for i := range texts { // few
			for j := i + 1; j < len(texts); j++ {
				if texts[j] < texts[i] {
					texts[i], texts[j], v[i], v[j] = texts[j], texts[i], v[j], v[i]
				}
			}
		}
	}
	return v
}

// The scene of the reference: two tabs of USER_1 and one of USER_2 in salesRoom, three anonymous ones in anonymousChat.
func TestEndpointsAnswerAsTheReference(t *testing.T) {
	h := mustLoad(t, "{\n\trollcall {\n\t\tdata_center us-east-1\n\t}\n}\nhttp://portal.example.com, http://other.example.com, http://third.example.com {\n\trollcall {\n\t\tapi_key k\n\t}\n}").handler(t)
	const host = "portal.example.com"
	var tabs, visitors []string
	for _, u := range [][2]string{{"USER_1", "a@example.com"}, {"USER_1", ""}, {"USER_2", "b@example.com"}} {
		c := arrive(t, h, host, u[0], u[1], "salesRoom")
		user := `{"id":"USER_1","email":"a@example.com"}`
		if u[0] == "USER_2" {
			user = `{"id":"USER_2","email":"b@example.com"}`
		}
		tabs = append(tabs, `"`+c.ID().PrivateChannel()+`":`+user)
	}
	for range 3 {
		c := arrive(t, h, host, "", "", "anonymousChat")
		visitors = append(visitors, `"`+c.ID().PrivateChannel()+`":1`)
	}
	arrive(t, h, "other.example.com", "USER_9", "z@example.com", "salesRoom", "elsewhere")
	private := strings.Join(append(tabs, visitors...), ",")
	const ann, bob = `{"id":"USER_1","email":"a@example.com"}`, `{"id":"USER_2","email":"b@example.com"}`
	tab, _, _ := strings.Cut(strings.TrimPrefix(tabs[0], `"`), `"`)

	for _, test := range []struct{ name, path, body, want string }{
		{"users", "/message/users", `{"apiKey":"k"}`, `{` + private + `,"salesRoom":[` + ann + `,` + bob + `],"anonymousChat":3}`},
		{"users not deduplicated", "/message/users", `{"apiKey":"k","dedupeUsers":false}`, `{` + private + `,"salesRoom":[` + ann + `,` + ann + `,` + bob + `],"anonymousChat":3}`},
		{"one channel", "/message/users", `{"apiKey":"k","channel":"salesRoom"}`, `{"salesRoom":[` + ann + `,` + bob + `]}`},
		{"one channel, of any scope", "/message/users", `{"apiKey":"k","channel":"anonymousChat","scope":"all","requireComplete":true}`, `{"anonymousChat":3}`},
		{"one private channel", "/message/users", `{"apiKey":"k","channel":"` + tab + `"}`, `{"` + tab + `":` + ann + `}`},
		{"unknown channel", "/message/users", `{"apiKey":"k","channel":"nowhere"}`, `{}`},
		{"channel of another host", "/message/users", `{"apiKey":"k","channel":"elsewhere"}`, `{}`},
		{"empty channel name", "/message/users", `{"apiKey":"k","channel":""}`, `{}`},
		{"private channel that is not there", "/message/users", `{"apiKey":"k","channel":"tab|AAAAAAAAAAAAAAAAAAAAAA"}`, `{}`},
		{"no private channel", "/message/users", `{"apiKey":"k","channel":"tab|"}`, `{}`},

		{"allusers", "/message/allusers", `{"apiKey":"k"}`, `{"us-east-1":{"authenticated":2,"anonymous":3},"_total":{"authenticated":2,"anonymous":3}}`},
		{
			"allusers not deduplicated", "/message/allusers", `{"apiKey":"k","dedupeUsers":false}`,
			`{"us-east-1":{"authenticated":3,"anonymous":3},"_total":{"authenticated":3,"anonymous":3}}`,
		},
		{
			"allusers with users", "/message/allusers", `{"apiKey":"k","includeUsers":true}`,
			`{"us-east-1":{"authenticated":[` + ann + `,` + bob + `],"authenticatedCount":2,"anonymous":3},"_total":{"authenticated":2,"anonymous":3}}`,
		},
		{
			"allusers with users not deduplicated", "/message/allusers", `{"apiKey":"k","includeUsers":true,"dedupeUsers":false}`,
			`{"us-east-1":{"authenticated":[` + ann + `,` + ann + `,` + bob + `],"authenticatedCount":3,"anonymous":3},"_total":{"authenticated":3,"anonymous":3}}`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := post(t, h, test.path, test.body)
			if w.Code != http.StatusOK {
				t.Fatalf("status %d: %s", w.Code, w.Body)
			}
			sameJSON(t, test.body, w.Body.String(), test.want)
		})
	}
	t.Run("host without connections", func(t *testing.T) {
		for path, want := range map[string]string{
			"/message/users":    `{}`,
			"/message/allusers": `{"us-east-1":{"authenticated":0,"anonymous":0},"_total":{"authenticated":0,"anonymous":0}}`,
		} {
			r, _ := http.NewRequest(http.MethodPost, "http://third.example.com"+path, strings.NewReader(`{"apiKey":"k"}`))
			if w := serve(t, h, r); w.Body.String() != want {
				t.Errorf("%s: %s, want %s", path, w.Body, want)
			}
		}
	})
	t.Run("bad flags of allusers", func(t *testing.T) {
		for _, flag := range []string{"includeUsers", "dedupeUsers", "requireComplete"} {
			checkProblem(t, post(t, h, "/message/allusers", `{"apiKey":"k","`+flag+`":"yes"}`), http.StatusBadRequest, "bad_value")
		}
	})
}
