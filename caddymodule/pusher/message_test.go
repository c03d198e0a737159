package pusher

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/presence"
)

func TestMessage(t *testing.T) {
	ada := &presence.User{ID: "ada"}
	for _, test := range []struct {
		name, channel string
		from          presence.Source
		message       string
		want          event
	}{
		{
			"event of the API", "news",
			presence.Source{Backend: true, Raw: true},
			`{"event":"x","data":{ "a":"\u00e9" }}`,
			event{"x", "news", `{ "a":"\u00e9" }`, ""},
		},
		{
			"event of the API that is a JSON string", "news",
			presence.Source{Backend: true, Raw: true},
			`{"event":"x","data":"text"}`,
			event{"x", "news", `"text"`, ""},
		},
		{
			"event of the API with white space", "news",
			presence.Source{Backend: true, Raw: true},
			`{"event":",\"data\":","data": 7` + "\n}",
			event{`,"data":`, "news", " 7\n", ""},
		},
		{
			"event of the API that is no JSON", "news",
			presence.Source{Backend: true},
			`{"event":"x","data":"te\"xt"}`,
			event{"x", "news", `te"xt`, ""},
		},
		{
			"event of the API that a plugin has replaced", "news",
			presence.Source{Backend: true, Raw: true},
			`{ "data": "text", "event": "y" }`,
			event{"y", "news", "text", ""},
		},
		{
			"event of the API that a plugin has made another message", "news",
			presence.Source{Backend: true, Raw: true},
			`{"event":"y","data":1,"more":2}`,
			event{"message", "news", `{"event":"y","data":1,"more":2}`, ""},
		},
		{
			"to a user", "tab|5o7PjRyBpM9Cw0xYSjXkLg",
			presence.Source{Backend: true, Raw: true, To: "ada"},
			`{"event":"x","data":{}}`,
			event{"x", "#server-to-user-ada", `{}`, ""},
		},
		{
			"message of the backend", "news",
			presence.Source{Backend: true},
			`{"text":"hi"}`,
			event{"message", "news", `{"text":"hi"}`, ""},
		},
		{
			"message of the backend that is an event", "news",
			presence.Source{Backend: true},
			`{"event":"x","data":{"a":1}}`,
			event{"x", "news", `{"a":1}`, ""},
		},
		{
			"message of the backend that is an event with a text", "news",
			presence.Source{Backend: true},
			`{"data":"text","event":"x"}`,
			event{"x", "news", `text`, ""},
		},
		{
			"message of the backend with a reserved event", "news",
			presence.Source{Backend: true},
			`{"event":"pusher:error","data":{}}`,
			event{"message", "news", `{"event":"pusher:error","data":{}}`, ""},
		},
		{
			"message of the backend with more members", "news",
			presence.Source{Backend: true},
			`{"event":"x","data":{},"id":1}`,
			event{"message", "news", `{"event":"x","data":{},"id":1}`, ""},
		},
		{
			"message of the backend without data", "news",
			presence.Source{Backend: true},
			`{"event":"x"}`,
			event{"message", "news", `{"event":"x"}`, ""},
		},
		{
			"message to a connection", "tab|5o7PjRyBpM9Cw0xYSjXkLg",
			presence.Source{Backend: true},
			`{"event":"x","data":{}}`,
			event{"rollcall:message", "", `{"event":"x","data":{}}`, ""},
		},
		{
			"client event", "presence-x",
			presence.Source{User: ada, Raw: true},
			`{"event":"client-x","data":{}}`,
			event{"client-x", "presence-x", `{}`, "ada"},
		},
		{
			"client event in a channel without members", "private-x",
			presence.Source{User: ada, Raw: true},
			`{"event":"client-x","data":{}}`,
			event{"client-x", "private-x", `{}`, ""},
		},
		{
			"client event of a user that plugins rename", "presence-x",
			presence.Source{User: ada, Raw: true, Shown: &presence.Shown{ID: "x", Sender: `{"id":"x"}`}},
			`{"event":"client-x","data":{}}`,
			event{"client-x", "presence-x", `{}`, "x"},
		},
		{
			"client event of a user that plugins hide", "presence-x",
			presence.Source{User: ada, Raw: true, Shown: &presence.Shown{ID: "ada"}},
			`{"event":"client-x","data":{}}`,
			event{"client-x", "presence-x", `{}`, ""},
		},
		{
			"native message", "presence-x",
			presence.Source{User: ada},
			`{"text":"hi"}`,
			event{"client-message", "presence-x", `{"text":"hi"}`, "ada"},
		},
		{
			"native message that is a client event", "private-x",
			presence.Source{User: ada},
			`{"event":"client-x","data":"text"}`,
			event{"client-x", "private-x", `text`, ""},
		},
		{
			"native message that looks like the server's", "news",
			presence.Source{User: ada},
			`{"event":"order-paid","data":{}}`,
			event{"client-message", "news", `{"event":"order-paid","data":{}}`, ""},
		},
		{
			"native message with the event of a protocol frame", "news",
			presence.Source{},
			`{"event":"pusher:error","data":{}}`,
			event{"client-message", "news", `{"event":"pusher:error","data":{}}`, ""},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := one(t, Encoder{}.Message(test.channel, test.from, []byte(test.message))); got != test.want {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
		})
	}
}

// FuzzEvent checks that an event arrives as it was published, and that its native form is JSON.
func FuzzEvent(f *testing.F) {
	for _, data := range []string{`{}`, `text`, `"text"`, ` 1 `, ``, `null`, `{"a":`, `},"data":{`, strings.Repeat("[", 20_000)} {
		f.Add("client-x", data)
	}
	f.Add(`","data":`, `1`)
	f.Fuzz(func(t *testing.T, name, data string) {
		name, data = clientPrefix+strings.ToValidUTF8(name, "?"), strings.ToValidUTF8(data, "?")
		message, raw := body(name, data)
		if !json.Valid(message) {
			t.Fatalf("the native form is no JSON: %s", message)
		}
		for _, backend := range []bool{false, true} {
			got := one(t, Encoder{}.Message("news", presence.Source{Raw: raw, Backend: backend}, message))
			if got != (event{name, "news", data, ""}) {
				t.Errorf("got %+v, want %q with %q", got, name, data)
			}
		}
	})
}
