package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rollcall-gateway/rollcall/presence"
)

func TestParse(t *testing.T) {
	longest := `"` + strings.Repeat("x", maxRef-2) + `"`
	for _, test := range []struct {
		name, frame string
		want        Command
	}{
		{"join", `{"type":"join","channel":"room"}`, Command{Type: TypeJoin, Channel: "room"}},
		{"join with presence list", `{"type":"join","channel":"room","presence":"list"}`, Command{Type: TypeJoin, Channel: "room", Watch: presence.WatchList}},
		{"join with presence count", `{"type":"join","channel":"room","presence":"count"}`, Command{Type: TypeJoin, Channel: "room", Watch: presence.WatchCount}},
		{"join with presence none", `{"type":"join","channel":"room","presence":"none"}`, Command{Type: TypeJoin, Channel: "room"}},
		{"join of an empty name", `{"type":"join","channel":""}`, Command{Type: TypeJoin}},
		{"join of an escaped name", `{"type":"join","channel":"\u00e9\n\"\ud83d\ude00"}`, Command{Type: TypeJoin, Channel: "é\n\"😀"}},
		{"join of a name with half a surrogate pair", `{"type":"join","channel":"\ud83d"}`, Command{Type: TypeJoin, Channel: "\ufffd"}},
		{"leave", `{"type":"leave","channel":"room","id":7}`, Command{Type: TypeLeave, Channel: "room", Ref: "7"}},
		{"authenticate", `{"type":"authenticate","token":"abc"}`, Command{Type: TypeAuthenticate, Token: "abc"}},
		{
			"send", `{"type":"send","channels":["room"],"message":{"text":"hi"},"id":1}`,
			Command{Type: TypeSend, Ref: "1", Channels: []string{"room"}, Message: []byte(`{"text":"hi"}`)},
		},
		{
			"send without echo", `{"type":"send","channels":["room"],"echo":false,"message":{"echo":true}}`,
			Command{Type: TypeSend, Channels: []string{"room"}, Message: []byte(`{"echo":true}`), NoEcho: true},
		},
		{
			"send with echo", `{"type":"send","channels":["room"],"message":{"echo":false},"echo": true }`,
			Command{Type: TypeSend, Channels: []string{"room"}, Message: []byte(`{"echo":false}`)},
		},
		{
			"send as the backend", `{"type":"send","channels":["room"],"backend":true,"from":null,"message":{"backend":true}}`,
			Command{Type: TypeSend, Channels: []string{"room"}, Message: []byte(`{"backend":true}`)},
		},
		{
			"send to several in white space", `{ "message" : { "a" : [ 1, "]" ] } , "channels" : [ "a" , "\u00e9,]", "", "a" ] , "type" : "send" }`,
			Command{Type: TypeSend, Channels: []string{"a", "é,]", "", "a"}, Message: []byte(`{ "a" : [ 1, "]" ] }`)},
		},
		{
			"send to as many as allowed", `{"type":"send","channels":` + many(MaxChannels) + `,"message":{}}`,
			Command{Type: TypeSend, Channels: slices.Repeat([]string{"x"}, MaxChannels), Message: []byte(`{}`)},
		},
		{"status", `{"type":"status","status":{ "away" : true }}`, Command{Type: TypeStatus, Status: `{"away":true}`}},
		{"status of the longest", `{"type":"status","status":{"a":"` + strings.Repeat("x", 504) + `"}}`, Command{Type: TypeStatus, Status: `{"a":"` + strings.Repeat("x", 504) + `"}`}},
		{"no status", `{"type":"status","status":null}`, Command{Type: TypeStatus}},
		{"ping", `{"type":"ping"}`, Command{Type: TypePing}},
		{"ping in white space", "\r\n\t {\"type\" : \"ping\" }\n", Command{Type: TypePing}},

		{"id that is a string", `{"type":"ping","id":"a\"b"}`, Command{Type: TypePing, Ref: `"a\"b"`}},
		{"id that is empty", `{"type":"ping","id":""}`, Command{Type: TypePing, Ref: `""`}},
		{"id that is a number", `{"type":"ping","id":-1.5e300}`, Command{Type: TypePing, Ref: `-1.5e300`}},
		{"id that no float holds", `{"type":"ping","id":1e999}`, Command{Type: TypePing, Ref: `1e999`}},
		{"id that is as long as allowed", `{"type":"ping","id":` + longest + `}`, Command{Type: TypePing, Ref: longest}},

		{"unknown keys", `{"type":"ping","more":{"id":1},"channel":7,"token":null,"presence":[]}`, Command{Type: TypePing}},
		{"keys in another case are unknown", `{"type":"ping","ID":[],"Type":"join"}`, Command{Type: TypePing}},
		{"escaped key", `{"t\u0079pe":"ping"}`, Command{Type: TypePing}},
		{"values of all types between", `{"a":{"id":[1,"}]"]},"b":[],"c":"\\","d":-1.5e3 ,"e":true,"f":null , "type":"ping"}`, Command{Type: TypePing}},
		{"an empty name for a key", `{"":"join","type":"ping"}`, Command{Type: TypePing}},
		{"the last of two counts", `{"type":"join","type":"ping"}`, Command{Type: TypePing}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Parse([]byte(test.frame))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	tooLong := `"` + strings.Repeat("x", maxRef-1) + `"`
	for _, test := range []struct {
		name, frame string
		code        Code
		ref         string
	}{
		{"empty", "", CodeBadFrame, ""},
		{"no JSON", "hello", CodeBadFrame, ""},
		{"half an object", `{"type":"ping"`, CodeBadFrame, ""},
		{"more than an object", `{"type":"ping"} {}`, CodeBadFrame, ""},
		{"empty object", `{}`, CodeBadFrame, ""},
		{"comma at the end", `{"type":"ping",}`, CodeBadFrame, ""},
		{"array", `[{"type":"ping"}]`, CodeBadFrame, ""},
		{"string", `"ping"`, CodeBadFrame, ""},
		{"number", `7`, CodeBadFrame, ""},
		{"null", `null`, CodeBadFrame, ""},
		{"not UTF-8", "{\"type\":\"join\",\"channel\":\"\xff\"}", CodeBadFrame, ""},
		{"not UTF-8 in an ignored key", "{\"type\":\"ping\",\"x\":\"\xed\xa0\x80\"}", CodeBadFrame, ""},
		{"very deep", `{"type":"ping","x":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`, CodeBadFrame, ""},

		{"null id", `{"type":"ping","id":null}`, CodeBadFrame, ""},
		{"true id", `{"type":"ping","id":true}`, CodeBadFrame, ""},
		{"object id", `{"type":"ping","id":{}}`, CodeBadFrame, ""},
		{"array id", `{"type":"ping","id":[1]}`, CodeBadFrame, ""},
		{"long id", `{"type":"ping","id":` + tooLong + `}`, CodeBadFrame, ""},
		{"long number", `{"type":"ping","id":1` + strings.Repeat("0", maxRef) + `}`, CodeBadFrame, ""},

		{"no type", `{"id":1}`, CodeBadFrame, "1"},
		{"null type", `{"id":1,"type":null}`, CodeBadFrame, "1"},
		{"number as type", `{"id":1,"type":2}`, CodeBadFrame, "1"},
		{"status that is missing", `{"type":"status"}`, CodeBadFrame, ""},
		{"status that is no object", `{"type":"status","id":"a","status":"away"}`, CodeBadFrame, `"a"`},
		{"status that is too long", `{"type":"status","status":{"a":"` + strings.Repeat("x", 505) + `"}}`, CodeTooLarge, ""},
		{"unknown type", `{"id":"a","type":"shout"}`, CodeUnknownType, `"a"`},
		{"empty type", `{"id":1,"type":""}`, CodeUnknownType, "1"},
		{"type in another case", `{"id":1,"type":"Ping"}`, CodeUnknownType, "1"},

		{"join without channel", `{"id":1,"type":"join"}`, CodeBadChannel, "1"},
		{"join of a number", `{"id":1,"type":"join","channel":7}`, CodeBadChannel, "1"},
		{"join of null", `{"id":1,"type":"join","channel":null}`, CodeBadChannel, "1"},
		{"leave without channel", `{"id":1,"type":"leave"}`, CodeBadChannel, "1"},
		{"leave of an array", `{"id":1,"type":"leave","channel":["a"]}`, CodeBadChannel, "1"},
		{"unknown presence", `{"id":1,"type":"join","channel":"a","presence":"all"}`, CodeBadFrame, "1"},
		{"empty presence", `{"id":1,"type":"join","channel":"a","presence":""}`, CodeBadFrame, "1"},
		{"true as presence", `{"id":1,"type":"join","channel":"a","presence":true}`, CodeBadFrame, "1"},
		{"null as presence", `{"id":1,"type":"join","channel":"a","presence":null}`, CodeBadFrame, "1"},
		{"send without channels", `{"id":1,"type":"send","message":{}}`, CodeBadFrame, "1"},
		{"send to none", `{"id":1,"type":"send","channels":[ ],"message":{}}`, CodeBadFrame, "1"},
		{"send to a string", `{"id":1,"type":"send","channels":"a","message":{}}`, CodeBadFrame, "1"},
		{"send to an object", `{"id":1,"type":"send","channels":{"a":1},"message":{}}`, CodeBadFrame, "1"},
		{"send to null", `{"id":1,"type":"send","channels":null,"message":{}}`, CodeBadFrame, "1"},
		{"send to a number", `{"id":1,"type":"send","channels":["a",7],"message":{}}`, CodeBadFrame, "1"},
		{"send to an array in it", `{"id":1,"type":"send","channels":["a",["b"]],"message":{}}`, CodeBadFrame, "1"},
		{"send to too many", `{"id":1,"type":"send","channels":` + many(MaxChannels+1) + `,"message":{}}`, CodeBadFrame, "1"},
		{"send without a message", `{"id":1,"type":"send","channels":["a"]}`, CodeBadFrame, "1"},
		{"send of a string", `{"id":1,"type":"send","channels":["a"],"message":"{}"}`, CodeBadFrame, "1"},
		{"send of an array", `{"id":1,"type":"send","channels":["a"],"message":[{}]}`, CodeBadFrame, "1"},
		{"send of null", `{"id":1,"type":"send","channels":["a"],"message":null}`, CodeBadFrame, "1"},
		{"send with echo as text", `{"id":1,"type":"send","channels":["a"],"message":{},"echo":"false"}`, CodeBadFrame, "1"},
		{"send with echo null", `{"id":1,"type":"send","channels":["a"],"message":{},"echo":null}`, CodeBadFrame, "1"},
		{"no token", `{"id":1,"type":"authenticate"}`, CodeBadFrame, "1"},
		{"object as token", `{"id":1,"type":"authenticate","token":{}}`, CodeBadFrame, "1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd, err := Parse([]byte(test.frame))
			var failed *Error
			if !errors.As(err, &failed) {
				t.Fatalf("got %+v and error %v, want an Error", cmd, err)
			}
			if failed.Code != test.code || failed.Ref != test.ref || failed.Message == "" {
				t.Errorf("got %+v, want the code %s and the ref %q", failed, test.code, test.ref)
			}
			if !reflect.DeepEqual(cmd, Command{}) {
				t.Errorf("a command with the error: %+v", cmd)
			}
			if !strings.HasPrefix(failed.Error(), string(test.code)+": ") {
				t.Errorf("the error reads %q", failed)
			}
		})
	}
}

// No error repeats a part of the frame, because errors are logged and sent to others.
func TestParseErrorsRepeatNothing(t *testing.T) {
	for _, frame := range []string{
		`{"type":"canary"}`, `canary`, `{"type":"authenticate","token":["canary"]}`,
		`{"type":"send","channels":[{"canary":1}],"message":{}}`, `{"type":"send","channels":["canary"],"message":"canary"}`,
		`{"type":"join","channel":["canary"]}`, `{"type":"join","channel":"a","presence":"canary"}`, `{"type":"ping","id":["canary"]}`,
	} {
		if _, err := Parse([]byte(frame)); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: error %v", frame, err)
		}
	}
}

// FuzzParse checks that a frame from a client is a command or an error with a known code, and that
// its id can be echoed.
func FuzzParse(f *testing.F) {
	for _, frame := range []string{
		`{"type":"join","channel":"room","presence":"list","id":"a\u00e9"}`,
		`{"type":"leave","channel":"room","id":-0.1e+7}`,
		`{"type":"authenticate","token":"a.b.c"}`,
		`{"type":"ping","id":{}}`,
		`{"type":"send","channels":["room","a\u005d,\"["],"message":{"a":[{}]},"id":1}`,
		`{"type":"send","channels":[ "a" , 1e5 ,[],{} ],"message": {} }`,
		`{"type":null,"id":" "}`,
		`{"type":"join","channel":"\ud800"}`,
		"{\"type\":\"ping\",\"x\":\"\xff\"}",
		`{"type":"send","channels":["room"],"message":{},"echo":false}`,
		`{"type":"status","status":{ "a" : [1] }}`,
		`{"type":"status","status":{"a":"` + strings.Repeat("x", 600) + `"}}`,
		`[]`, `null`, ``, ` {`, `{}`, `{"a":[{"b":"]}\\\""}],"t\u0079pe" : "ping" , "id":1 }`,
	} {
		f.Add([]byte(frame))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		sameFields(t, frame)
		cmd, err := Parse(frame)
		ref := cmd.Ref
		if err != nil {
			var failed *Error
			if !errors.As(err, &failed) {
				t.Fatalf("unexpected error: %v", err)
			}
			switch failed.Code {
			case CodeBadFrame, CodeBadChannel, CodeUnknownType, CodeTooLarge:
			default:
				t.Errorf("code %q", failed.Code)
			}
			if !reflect.DeepEqual(cmd, Command{}) {
				t.Errorf("a command with the error: %+v", cmd)
			}
			ref = failed.Ref
			valid(t, Failed(failed), ref)
			return
		}
		switch cmd.Type {
		case TypeJoin, TypeLeave, TypeAuthenticate, TypePing:
		case TypeSend:
			sameMessage(t, frame, cmd)
		case TypeStatus:
			if again, err := presence.CompactStatus([]byte(cmd.Status)); cmd.Status != "" && (err != nil || again != cmd.Status) {
				t.Errorf("status %q: %v", cmd.Status, err)
			}
			valid(t, Status(ref, cmd.Status), ref)
		default:
			t.Errorf("type %q", cmd.Type)
		}
		if len(ref) > maxRef {
			t.Errorf("the ref has %d bytes", len(ref))
		}
		valid(t, Pong(ref), ref)
		valid(t, Sent(ref), ref)
		valid(t, Encoder{}.Left(ref, cmd.Channel, ""), ref)
	})
}

// sameFields checks that an object is parsed as by encoding/json.
func sameFields(t *testing.T, frame []byte) {
	t.Helper()
	var want map[string]json.RawMessage
	isObject := json.Unmarshal(frame, &want) == nil && want != nil
	got, ok := parseFields(frame)
	if ok != isObject {
		t.Fatalf("%q is parsed as an object: %v, want %v", frame, ok, isObject)
	}
	for name, value := range map[string][]byte{
		"id": got.id, "type": got.kind, "channel": got.channel, "presence": got.presence, "token": got.token,
		"channels": got.channels, "message": got.message, "echo": got.echo, "status": got.status,
	} {
		if string(value) != string(want[name]) {
			t.Errorf("%q has %q as %s, want %q", frame, value, name, want[name])
		}
	}
}

// sameMessage checks that the channels are those of encoding/json, and that listeners receive the
// message unchanged.
func sameMessage(t *testing.T, frame []byte, cmd Command) {
	t.Helper()
	var channels []string
	values := make(map[string]json.RawMessage)
	_ = json.Unmarshal(frame, &values)
	if err := json.Unmarshal(values["channels"], &channels); err != nil || !slices.Equal(cmd.Channels, channels) {
		t.Errorf("%q has the channels %q, want %q, error %v", frame, cmd.Channels, channels, err)
	}
	if n := len(cmd.Channels); n == 0 || n > MaxChannels {
		t.Fatalf("%d channels", n)
	}
	var got struct {
		Message json.RawMessage `json:"message"`
	}
	told := payload(t, Encoder{}.Message(cmd.Channels[0], presence.Source{}, cmd.Message))
	if err := json.Unmarshal(told, &got); err != nil || string(got.Message) != string(values["message"]) || !utf8.Valid(told) {
		t.Errorf("%q makes %q, error %v", frame, told, err)
	}
}

// many returns an array of n strings.
func many(n int) string { return `["x"` + strings.Repeat(`,"x"`, n-1) + `]` }

// valid checks that a frame is a JSON object that echoes the ref.
func valid(t *testing.T, frame []byte, ref string) {
	t.Helper()
	var got struct {
		ID json.RawMessage `json:"id"`
	}
	if err := json.Unmarshal(payload(t, frame), &got); err != nil || string(got.ID) != ref {
		t.Errorf("%q echoes %q, want %q, error %v", frame, got.ID, ref, err)
	}
}

func ExampleParse() {
	cmd, err := Parse([]byte(`{"type":"join","channel":"salesRoom","presence":"list","id":1}`))
	fmt.Println(cmd.Type, cmd.Channel, cmd.Watch == presence.WatchList, cmd.Ref, err)

	_, err = Parse([]byte(`{"type":"shout","id":2}`))
	fmt.Println(err)
	// Output:
	// join salesRoom true 1 <nil>
	// unknown_type: unknown type: use join, leave, authenticate, send, status or ping
}

func BenchmarkParse(b *testing.B) {
	for _, bb := range []struct{ name, frame string }{
		{"join", `{"type":"join","channel":"salesRoom","presence":"list","id":1}`},
		{"send", `{"type":"send","channels":["salesRoom"],"message":{"text":"` + strings.Repeat("x", 90) + `"},"id":1}`},
	} {
		b.Run(bb.name, func(b *testing.B) {
			frame := []byte(bb.frame)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMessage(b *testing.B) {
	from := presence.Source{User: &presence.User{ID: "USER_1", Email: "ann@example.com"}}
	message := []byte(`{"text":"` + strings.Repeat("x", 90) + `"}`)
	b.ReportAllocs()
	for b.Loop() {
		if len(Encoder{}.Message("salesRoom", from, message)) == 0 {
			b.Fatal("no frame")
		}
	}
}
