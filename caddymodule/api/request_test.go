package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

func TestParseRequest(t *testing.T) {
	for _, test := range []struct {
		name, body string
		keys       int
		ok         bool
	}{
		{"nothing", "", 0, true},
		{"white space", " \r\n\t", 0, true},
		{"empty object", "{}", 0, true},
		{"object", ` {"apiKey":"a","more":{"b":[1]}} `, 2, true},
		{"null", "null", 0, false},
		{"array", "[]", 0, false},
		{"string", `"a"`, 0, false},
		{"number", "1", 0, false},
		{"half", `{"apiKey":`, 0, false},
		{"two objects", "{}{}", 0, false},
		{"trailing comma", `{"a":1,}`, 0, false},
		{"form", "apiKey=a", 0, false},
		{"very deep", `{"a":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + "}", 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			body, p := parseRequest([]byte(test.body))
			if !test.ok {
				if p == nil || p.Status != http.StatusBadRequest || p.Code != "bad_json" {
					t.Errorf("got %v and the problem %+v, want bad_json", body, p)
				}
				return
			}
			if p != nil || len(body) != test.keys {
				t.Errorf("got %v and the problem %+v, want %d keys", body, p, test.keys)
			}
		})
	}
}

func TestRequestValues(t *testing.T) {
	body, p := parseRequest([]byte(`{"s":"a\u00e9","empty":"","t":true,"f":false,"null":null,"n":1,"o":{},"a":["s"],"quoted":"true","S":"upper"}`))
	if p != nil {
		t.Fatal(p)
	}
	for key, want := range map[string]string{"s": "aé", "empty": "", "absent": ""} {
		if got, p := body.text(key); p != nil || got != want {
			t.Errorf("text %s: %q and the problem %+v, want %q", key, got, p, want)
		}
	}
	for _, key := range []string{"t", "null", "n", "o", "a"} {
		if got, p := body.text(key); p == nil || p.Code != "bad_value" || p.Status != http.StatusBadRequest || p.Detail != key+" must be a string" {
			t.Errorf("text %s: %q and the problem %+v", key, got, p)
		}
	}
	for key, want := range map[string]bool{"t": true, "f": false, "absent": true} {
		if got, p := body.flag(key, true); p != nil || got != want {
			t.Errorf("flag %s: %v and the problem %+v, want %v", key, got, p, want)
		}
	}
	for _, key := range []string{"s", "null", "n", "o", "a", "quoted"} {
		if got, p := body.flag(key, true); p == nil || p.Detail != key+" must be true or false" {
			t.Errorf("flag %s: %v and the problem %+v", key, got, p)
		}
	}
}

func TestBusyChannelIsToBeTriedAgain(t *testing.T) {
	w := httptest.NewRecorder()
	problemNotSent(fmt.Errorf("a reason: %w", presence.ErrBusy)).Write(w)
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"code":"busy"`) {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	if got := w.Header().Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After %q", got)
	}
}

// FuzzWithoutKey checks that only the key is removed from a body.
func FuzzWithoutKey(f *testing.F) {
	for _, body := range []string{
		`{"apiKey":"k","channels":["a"],"message":{}}`, "{ \"a\" : 1 , \"APIKEY\"\n:{\"b\":[]} ,\"c\":\"\\\"\"}", `{}`, ` {"a":1e999}`,
		`{"api\u004bey":"}","":{}}`, "{\"api\u212aey\":1}", `{"a":{"apiKey":1}}`, `{"a":1,"a":2}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var want map[string]json.RawMessage
		if json.Unmarshal(body, &want) != nil || want == nil {
			return
		}
		for name := range want {
			if strings.EqualFold(name, "apiKey") {
				delete(want, name)
			}
		}
		var got map[string]json.RawMessage
		left := withoutKey(body)
		if err := json.Unmarshal(left, &got); err != nil || len(got) != len(want) {
			t.Fatalf("%q becomes %q, %v", body, left, err)
		}
		for name, value := range want {
			if string(got[name]) != string(value) {
				t.Errorf("%q becomes %q: %q is another value", body, left, name)
			}
		}
	})
}

// FuzzAddUser sends arbitrary requests.
func FuzzAddUser(f *testing.F) {
	st := &site.Site{Patterns: presence.Patterns{Default: presence.Authenticated}, Bounds: presence.Rules{MaxName: 255}}
	st.MakeRules()
	host, err := presence.ParseHostName("portal.example.com")
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`[{"id":"ada","channels":[{"name":"sales","mode":"listen"}]}]`))
	f.Add([]byte(`[{"id":"ada"}]`))
	f.Add([]byte(`[{"id":null,"channels":null}]`))
	f.Add([]byte(`[{"id":"\ud800","channels":[{"name":"\ud800"}]}]`))
	f.Fuzz(func(t *testing.T, users []byte) {
		q := request{site: st, host: host, body: values{"users": json.RawMessage(users)}}
		if _, p := q.readWishes(false); p != nil {
			if _, p := q.readWishes(true); p == nil {
				t.Error("modes are refused only where they do not matter")
			}
			return
		}
		wishes, p := q.readWishes(true)
		if p != nil {
			return
		}
		for _, w := range wishes {
			if presence.CheckUserID(w.User) != nil {
				t.Errorf("the user %q", w.User)
			}
			_ = wire.AppendString(nil, w.User)
		}
		if q.assignable(wishes) != nil {
			return
		}
		for _, w := range wishes {
			for _, a := range w.Channels {
				if err := st.Rules().Assignable(q.host, a.Channel); err != nil || a.Mode == assignment.None {
					t.Errorf("%q, %v: %v", a.Channel, a.Mode, err)
				}
			}
		}
	})
}
