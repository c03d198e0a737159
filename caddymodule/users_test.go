package caddymodule

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/presence"
)

// sameJSON checks that two documents are equal, except for the order of keys and of users in lists.
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

// sorted sorts arrays; encoding/json sorts keys.
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
		for i := range texts { // few entries
			for j := i + 1; j < len(texts); j++ {
				if texts[j] < texts[i] {
					texts[i], texts[j], v[i], v[j] = texts[j], texts[i], v[j], v[i]
				}
			}
		}
	}
	return v
}

// The example of the reference: two tabs of USER_1 and one of USER_2 in salesRoom, three anonymous
// ones in anonymousChat.
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

// With includeInfo, users have what else is known of them, before plugins see them; without,
// answers are as before.
func TestEndpointsIncludeInfoIfRequested(t *testing.T) {
	for name, plugin := range map[string]string{"no plugin": "", "plugin": "plugin " + assemble(t, "mask")} {
		t.Run(name, func(t *testing.T) {
			h := mustLoad(t, "{\n\trollcall {\n\t\tdata_center us-east-1\n\t}\n}\nhttp://portal.example.com {\n\trollcall {\n\t\tapi_key k\n\t\t"+plugin+"\n\t}\n}").handler(t)
			const host = "portal.example.com"
			bob := arrive(t, h, host, "bob", "", "room")
			ann := arrive(t, h, host, "ann", "", "room")
			if err := ann.Authenticate(presence.User{ID: "ann", Info: `{"name":"Ann"}`}, nil); err != nil {
				t.Fatal(err)
			}
			if err := ann.SetStatus(`{"away":true}`); err != nil {
				t.Fatal(err)
			}
			const plain, known, other = `{"id":"ann","email":""}`, `{"id":"ann","email":"","info":{"name":"Ann"},"status":{"away":true}}`, `{"id":"bob","email":""}`
			tabs := func(user string) string {
				return `"` + ann.ID().PrivateChannel() + `":` + user + `,"` + bob.ID().PrivateChannel() + `":` + other
			}
			all := func(user string) string {
				return `{"us-east-1":{"authenticated":[` + user + `,` + other + `],"authenticatedCount":2,"anonymous":0},"_total":{"authenticated":2,"anonymous":0}}`
			}
			for _, test := range []struct{ path, body, want string }{
				{"/message/users", `{"apiKey":"k"}`, `{"room":[` + plain + `,` + other + `],` + tabs(plain) + `}`},
				{"/message/users", `{"apiKey":"k","includeInfo":false}`, `{"room":[` + plain + `,` + other + `],` + tabs(plain) + `}`},
				{"/message/users", `{"apiKey":"k","includeInfo":true}`, `{"room":[` + known + `,` + other + `],` + tabs(known) + `}`},
				{"/message/users", `{"apiKey":"k","includeInfo":true,"channel":"room","dedupeUsers":false}`, `{"room":[` + known + `,` + other + `]}`},
				{"/message/allusers", `{"apiKey":"k","includeUsers":true}`, all(plain)},
				{"/message/allusers", `{"apiKey":"k","includeUsers":true,"includeInfo":true}`, all(known)},
				{"/message/allusers", `{"apiKey":"k","includeUsers":true,"includeInfo":true,"dedupeUsers":false}`, all(known)},
				{"/message/allusers", `{"apiKey":"k","includeInfo":true}`, `{"us-east-1":{"authenticated":2,"anonymous":0},"_total":{"authenticated":2,"anonymous":0}}`},
			} {
				w := post(t, h, test.path, test.body)
				sameJSON(t, test.path+" "+test.body, w.Body.String(), test.want)
			}
			for _, path := range []string{"/message/users", "/message/allusers"} {
				if w := post(t, h, path, `{"apiKey":"k","includeUsers":true,"includeInfo":"yes"}`); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `"bad_value"`) {
					t.Errorf("%s: includeInfo as text is answered with %d %s", path, w.Code, w.Body)
				}
			}
		})
	}
}
