package guest

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// refused is the result of connect and message that refuses.
const refused = 1

// Message returns the input of the hook message.
func Message(r Request, message string) []byte {
	request := r.Encode()
	return append(append(binary.LittleEndian.AppendUint32(nil, uint32(len(request))), request...), message...)
}

// consults checks the hooks connect and message, and the store. The probes of all SDKs do the same:
// connect does what the ID of the user says, message what the channel says.
func consults(t *testing.T, file []byte) {
	t.Run("logins", func(t *testing.T) { logins(t, file) })
	t.Run("messages", func(t *testing.T) { messages(t, file) })
	t.Run("replaced messages", func(t *testing.T) { replaced(t, file) })
	t.Run("rubbish", func(t *testing.T) { rubbish(t, file) })
	t.Run("store", func(t *testing.T) { store(t, file) })
	t.Run("misused store", func(t *testing.T) { misused(t, file) })
}

func login(user string) []byte {
	return []byte(`{"host":"h.example","connection":"C1","user":{"id":"` + user + `","email":"e@x","info":{"n":"ü"}},"claims":{"role":"host"}}`)
}

func logins(t *testing.T, file []byte) {
	g := Configured(t, file)
	for in, want := range map[string]string{
		string(login("u1")): `1 h.example|C1|known|u1|e@x|{"n":"ü"}|host`,
		`{"host":"h","connection":"C2","user":null,"claims":null}`:                                                     `1 h|C2|anonymous||||`,
		`{"host":"h","connection":"C3","user":{"id":"\"\u00fc\"","email":"","info":null},"claims":null}`:               `1 h|C3|known|"ü"|||`,
		`{"host":"h","connection":"C4","user":{"id":"u2","email":"","info":null},"claims":{"role":["a"],"x":{"y":1}}}`: `1 h|C4|known|u2|||`,
	} {
		g.Logs = nil
		got, err := g.Call("rollcall_connect", []byte(in))
		if err != nil || got != 0 || !slices.Equal(g.Logs, []string{want}) {
			t.Errorf("%s: got %#x, %v, log %q; want the log %q", in, got, err, g.Logs, want)
		}
	}
	if got, err := g.Call("rollcall_connect", login("eve")); err != nil || got != refused {
		t.Errorf("eve: got %#x, %v; want a refusal", got, err)
	}
	for user, want := range map[string]string{
		"info": `{"info":{"role":"host"}}`, "null": `{"info":null}`, "open": `{"channels":["news-*","a\"b"]}`,
		"both": `{"info":{"role":"host"},"channels":["news-*","a\"b"]}`,
	} {
		if got, err := g.Slice("rollcall_connect", login(user)); err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v; want %s", user, got, err, want)
		}
	}
}

func messages(t *testing.T, file []byte) {
	g := Configured(t, file)
	connection := []byte{9, 0, 1, 0, 7, 1, 0, 2, 0, 'C', '1'}
	for _, c := range []struct {
		name    string
		request Request
		message string
		want    uint64
		log     string
	}{
		{"of a user", Request{1, 1, 0, "h", "grün", "u1", "e@x", connection}, `{"text":"hi"}`, 0, "2 h|grün|1|known|u1|e@x|C1|hi"},
		{"of nobody", Request{1, 2, 1, "h", "lobby", "", "", connection}, `{"text":""}`, 0, "2 h|lobby|2|anonymous|||C1|"},
		{"of the backend", Request{1, 1, 2, "h", "room", "", "", nil}, `{}`, 0, "2 h|room|1|backend||||"},
		{"with a cut extension", Request{1, 1, 2, "h", "room", "", "", []byte{1, 0, 9, 0, 'C'}}, `{}`, 0, "2 h|room|1|backend||||"},
		{"that is refused", Request{1, 1, 0, "h", "refuse", "u1", "", nil}, `{}`, refused, "2 h|refuse|1|known|u1|||"},
		{"with escapes", Request{1, 1, 0, "h", "c", "u1", "", nil}, `{"t\u0065xt":"\u0068\ud83c\udf89"}`, 0, "2 h|c|1|known|u1|||h🎉"},
		{"with a repeated name", Request{1, 1, 0, "h", "c", "u1", "", nil}, `{"text":"first","a":1,"text":"last"}`, 0, "2 h|c|1|known|u1|||last"},
		{"whose text is none", Request{1, 1, 0, "h", "c", "u1", "", nil}, `{"text":{"text":"inner"},"a":{"text":"inner"}}`, 0, "2 h|c|1|known|u1|||"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g.Logs = nil
			got, err := g.Call("rollcall_message", Message(c.request, c.message))
			if err != nil || got != c.want || !slices.Equal(g.Logs, []string{c.log}) {
				t.Errorf("got %#x, %v, log %q; want %#x, log %q", got, err, g.Logs, c.want, c.log)
			}
		})
	}
}

// replaced checks that a replacement keeps all but the text, and that no other text of a repeated
// name stays: receivers differ in which they take.
func replaced(t *testing.T, file []byte) {
	g := Configured(t, file)
	for in, want := range map[string]string{
		`{}`: `{"text":"!"}`, `{"text":"a\"ü"}`: `{"text":"a\"ü!"}`,
		`{"a":[1,{"x":null}],"text":"hi","ü":""}`: `{"a":[1,{"x":null}],"text":"hi!","ü":""}`,
		`{"text":"first","text":"last"}`:          `{"text":"last!"}`,
	} {
		got, err := g.Slice("rollcall_message", Message(Request{Version: 1, Kind: 1, Channel: "replace", User: "u1"}, in))
		var is, wanted any
		if err != nil || json.Unmarshal(got, &is) != nil || json.Unmarshal([]byte(want), &wanted) != nil ||
			!reflect.DeepEqual(is, wanted) || strings.Contains(string(got), "first") {
			t.Errorf("%s: got %s, %v; want %s", in, got, err, want)
		}
	}
}

// rubbish checks that what cannot be read is a failure, never an answer.
func rubbish(t *testing.T, file []byte) {
	message := Message(Request{1, 1, 0, "h", "c", "u1", "e", []byte{1, 0, 1, 0, 'C'}}, "{}")
	inputs := map[string][][]byte{
		"rollcall_connect": {nil, []byte(`{}`), []byte(`{"host":"h"}`), []byte(`{"connection":""}`)},
		"rollcall_message": {
			nil, message[:3], message[:4], message[:10], message[:len(message)-3],
			append([]byte{255, 255, 255, 255}, message[4:]...), append([]byte{message[0], 0, 0, 0, 2}, message[5:]...),
			Message(Request{Version: 1, Kind: 1, Channel: "c"}, `{"text":"heck","a":`+strings.Repeat("[", 70)+strings.Repeat("]", 70)+`}`),
			Message(Request{Version: 1, Kind: 1, Channel: "c"}, `{"a":`+strings.Repeat("[", 70)+strings.Repeat("]", 70)+`,"text":"heck"}`),
		},
	}
	for export, list := range inputs {
		for _, input := range list {
			g := Configured(t, file) // a failed call ends an instance
			if got, err := g.Call(export, input); err == nil && got != ^uint64(0) {
				t.Errorf("%s of %.80q: got %#x, log %q; want a failure", export, input, got, g.Logs)
			}
		}
	}
}

// command passes a message to the probe, which uses the store, and returns what it logs.
func command(t *testing.T, g *Guest, name, text string) (string, error) {
	t.Helper()
	quoted, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	g.Logs = nil
	_, err = g.Call("rollcall_message", Message(Request{Version: 1, Kind: 1, Channel: name}, fmt.Sprintf(`{"text":%s}`, quoted)))
	return strings.TrimPrefix(strings.Join(g.Logs, "\n"), "1 "), err
}

func store(t *testing.T, file []byte) {
	g := Configured(t, file)
	long := strings.Repeat("k", 128)
	for i, c := range []struct{ name, text, want string }{
		{"get", "n", "none"},
		{"add", "n", "1"},
		{"add", "n", "2"},
		{"add", long, "1"},
		{"get", "ü", "none"},
		{"set", "ü", "true"}, // the value is the key and "!"
		{"get", "ü", "ü!"},
		{"add", "ü", "9223372036854775807"}, // no counter
		{"delete", "ü", ""},
		{"get", "ü", "none"},
		{"count", "a_name", ""},
		{"count", "a_name", ""},
	} {
		if got, err := command(t, g, c.name, c.text); err != nil || got != c.want {
			t.Errorf("step %d, %s %s: got %q, %v; want %q", i, c.name, c.text, got, err, c.want)
		}
	}
	if g.Store["n"].TTL != 60_000 || g.Store[long].TTL != 60_000 {
		t.Errorf("the times are %+v, want a minute", g.Store)
	}
	if want := map[string]int64{"a_name": 4}; !maps.Equal(g.Counts, want) {
		t.Errorf("counted %v, want %v", g.Counts, want)
	}
	if _, err := command(t, g, "set", "v"); err != nil || g.Store["v"] != (Entry{"v!", 1500}) {
		t.Errorf("stored %+v, %v; want 1.5 s", g.Store["v"], err)
	}
	g.Store["large"] = Entry{strings.Repeat("x", 4096), 1}
	if got, err := command(t, g, "get", "large"); err != nil || got != g.Store["large"].Value {
		t.Errorf("a large value: got %d bytes, %v", len(got), err)
	}

	g.Full = true
	for name, want := range map[string]string{"set": "false", "add": "9223372036854775807"} {
		if got, err := command(t, g, name, "v"); err != nil || got != want {
			t.Errorf("%s in a full store: got %q, %v; want %q", name, got, err, want)
		}
	}
	if got, err := command(t, g, "get", "v"); err != nil || got != "v!" {
		t.Errorf("after that: got %q, %v; want the old value", got, err)
	}
}

// misused checks that a misuse ends the call, and that a value that would stay for no time is not a
// removal.
func misused(t *testing.T, file []byte) {
	for _, c := range []struct{ name, text string }{
		{"get", ""}, {"add", strings.Repeat("k", 129)}, {"set", strings.Repeat("k", 200)}, {"count", ""}, {"short", "v"},
	} {
		g := Configured(t, file)
		g.Store["v"] = Entry{"kept", 1}
		if got, err := command(t, g, c.name, c.text); err == nil {
			t.Errorf("%s %q: got %q, want a failure", c.name, c.text, got)
		}
		if g.Store["v"].Value != "kept" {
			t.Errorf("%s %q: the store is %v", c.name, c.text, g.Store)
		}
	}
}
