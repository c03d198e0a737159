package wire

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// payload returns the payload of a text frame.
func payload(t testing.TB, frame []byte) []byte {
	t.Helper()
	head := 2
	if len(frame) > 1 {
		switch frame[1] {
		case 126:
			head = 4
		case 127:
			head = 10
		}
	}
	if len(frame) < head || frame[0] != 0x81 {
		t.Fatalf("%q is not a text frame", frame)
	}
	return frame[head:]
}

func TestFrames(t *testing.T) {
	ann := presence.User{ID: "USER_1", Email: "a@example.com"}
	bob := presence.User{ID: "USER_2"}
	odd := presence.User{ID: "a\"\\\n\u2028é<", Email: "\x7f"}
	var e Encoder
	var id presence.ID
	copy(id[:], "0123456789abcdef")
	const name = "MDEyMzQ1Njc4OWFiY2RlZg"

	for _, test := range []struct {
		name  string
		frame []byte
		want  string
	}{
		{
			"welcome", Welcome(id, &ann, 25*time.Second),
			`{"type":"welcome","connection":"` + name + `","channel":"tab|` + name + `","user":{"id":"USER_1","email":"a@example.com"},"ping":25}`,
		},
		{
			"welcome with info", Welcome(id, &presence.User{ID: "USER_1", Info: `{"name":"Ann"}`}, 25*time.Second),
			`{"type":"welcome","connection":"` + name + `","channel":"tab|` + name + `","user":{"id":"USER_1","email":"","info":{"name":"Ann"}},"ping":25}`,
		},
		{
			"welcome of an anonymous connection", Welcome(id, nil, 1500*time.Millisecond),
			`{"type":"welcome","connection":"` + name + `","channel":"tab|` + name + `","user":null,"ping":1.5}`,
		},
		{
			"joined", e.Joined(presence.Joined{Channel: "room", Kind: presence.Authenticated, Seq: 3, Count: 2, Members: e.Members(views(ann), 0)}),
			`{"type":"joined","channel":"room","kind":"authenticated"}`,
		},
		{
			"joined to count", e.Joined(presence.Joined{Ref: `"r"`, Channel: "room", Kind: presence.Anonymous, Watch: presence.WatchCount, Seq: 3, Count: 2}),
			`{"type":"joined","id":"r","channel":"room","kind":"anonymous","seq":3,"count":2}`,
		},
		{
			"joined to list", e.Joined(presence.Joined{
				Ref: "7", Channel: "room", Kind: presence.Authenticated, Watch: presence.WatchList,
				Seq: 18446744073709551615, Count: 2, Members: e.Members(views(ann, bob), 0),
			}),
			`{"type":"joined","id":7,"channel":"room","kind":"authenticated","seq":18446744073709551615,` +
				`"members":[{"id":"USER_1","email":"a@example.com"},{"id":"USER_2","email":""}],"count":2}`,
		},
		{
			"joined with a grant", e.Joined(presence.Joined{Channel: "room", Kind: presence.Authenticated, Grant: true, May: presence.MayAll}),
			`{"type":"joined","channel":"room","kind":"authenticated","may":["send","see"]}`,
		},
		{
			"joined with a grant to see", e.Joined(presence.Joined{Channel: "room", Kind: presence.Authenticated, Grant: true, May: presence.MayJoin | presence.MaySee}),
			`{"type":"joined","channel":"room","kind":"authenticated","may":["see"]}`,
		},
		{
			"joined with a grant to listen", e.Joined(presence.Joined{Channel: "room", Kind: presence.Authenticated, Grant: true, May: presence.MayJoin}),
			`{"type":"joined","channel":"room","kind":"authenticated","may":[]}`,
		},
		{
			"joined without a grant", e.Joined(presence.Joined{Channel: "room", Kind: presence.Anonymous, May: presence.MayJoin | presence.MaySee}),
			`{"type":"joined","channel":"room","kind":"anonymous"}`,
		},
		{
			"joined to an empty list", e.Joined(presence.Joined{Channel: "room", Kind: presence.Authenticated, Watch: presence.WatchList, Members: e.Members(nil, 0)}),
			`{"type":"joined","channel":"room","kind":"authenticated","seq":0,"members":[],"count":0}`,
		},
		{
			"left", e.Left("1", "room", ""),
			`{"type":"left","id":1,"channel":"room"}`,
		},
		{
			"left for a reason", e.Left("", "room", presence.ReasonDenied),
			`{"type":"left","channel":"room","reason":"denied"}`,
		},
		{
			"presence", e.Presence(presence.Diff{Channel: "room", Seq: 4, Joined: views(ann), Left: views(bob), Count: 1}),
			`{"type":"presence","channel":"room","seq":4,"joined":[{"id":"USER_1","email":"a@example.com"}],"left":[{"id":"USER_2","email":""}],"count":1}`,
		},
		{
			"presence without names", e.Presence(presence.Diff{Channel: "room", Seq: 5, Count: 3}),
			`{"type":"presence","channel":"room","seq":5,"joined":[],"left":[],"count":3}`,
		},
		{
			"presence with too many members", e.Presence(presence.Diff{Channel: "room", Seq: 5, Names: presence.NamesHidden, Count: 3}),
			`{"type":"presence","channel":"room","seq":5,"count":3,"names":false}`,
		},
		{
			"presence with names again", e.Presence(presence.Diff{Channel: "room", Seq: 5, Names: presence.NamesReturned, Count: 3}),
			`{"type":"presence","channel":"room","seq":5,"count":3,"names":true}`,
		},
		{
			"joined with too many members", e.Joined(presence.Joined{
				Ref: "1", Channel: "room", Kind: presence.Authenticated, Watch: presence.WatchList, Seq: 2, Count: 3, Unnamed: true,
			}),
			`{"type":"joined","id":1,"channel":"room","kind":"authenticated","seq":2,"count":3,"names":false}`,
		},
		{
			"presence of a channel of another kind", e.Presence(presence.Diff{Channel: "room", Seq: 5, Kind: presence.Anonymous, Left: views(bob), Count: 3}),
			`{"type":"presence","channel":"room","seq":5,"kind":"anonymous","joined":[],"left":[{"id":"USER_2","email":""}],"count":3}`,
		},
		{
			"presence with a new e-mail", e.Presence(presence.Diff{Channel: "room", Seq: 6, Updated: views(ann), Count: 3}),
			`{"type":"presence","channel":"room","seq":6,"joined":[],"left":[],"updated":[{"id":"USER_1","email":"a@example.com"}],"count":3}`,
		},
		{
			"authenticated", Authenticated(`"x"`, ann),
			`{"type":"authenticated","id":"x","user":{"id":"USER_1","email":"a@example.com"}}`,
		},
		{
			"message", e.Message("room", presence.Source{User: &ann}, []byte(`{"text": "hi"}`)),
			`{"type":"message","channel":"room","from":{"id":"USER_1","email":"a@example.com"},"message":{"text": "hi"}}`,
		},
		{
			"message of the backend", e.Message("room", presence.Source{Backend: true}, []byte(`{"backend":false}`)),
			`{"type":"message","channel":"room","from":null,"backend":true,"message":{"backend":false}}`,
		},
		{
			"message of an anonymous connection", e.Message(odd.ID, presence.Source{}, []byte(`{}`)),
			`{"type":"message","channel":"a\"\\\n\u2028é\u003c","from":null,"message":{}}`,
		},
		{
			"large message", e.Message("room", presence.Source{}, []byte(`{"x":"`+strings.Repeat("y", 70_000)+`"}`)),
			`{"type":"message","channel":"room","from":null,"message":{"x":"` + strings.Repeat("y", 70_000) + `"}}`,
		},
		{"status", Status("1", `{"away":true}`), `{"type":"status","id":1,"status":{"away":true}}`},
		{"no status", Status("", ""), `{"type":"status","status":null}`},
		{"sent", Sent(`"s"`), `{"type":"sent","id":"s"}`},
		{"pong", Pong(""), `{"type":"pong"}`},
		{"pong with an id", Pong("1e999"), `{"type":"pong","id":1e999}`},
		{
			"error", Failed(&Error{Code: CodeLoginRequired, Ref: "2", Message: "log in first"}),
			`{"type":"error","id":2,"code":"login_required","message":"log in first"}`,
		},
		{
			"error without an id", Failed(&Error{Code: CodeBadFrame, Message: `a "b"`}),
			`{"type":"error","code":"bad_frame","message":"a \"b\""}`,
		},
		{
			"odd texts", e.Presence(presence.Diff{Channel: odd.ID, Seq: 1, Joined: views(odd), Count: 1}),
			`{"type":"presence","channel":"a\"\\\n\u2028é\u003c","seq":1,"joined":[{"id":"a\"\\\n\u2028é\u003c","email":"` + "\x7f" + `"}],"left":[],"count":1}`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := payload(t, test.frame)
			if !json.Valid(got) {
				t.Errorf("%s is not JSON", got)
			}
			if string(got) != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// Error codes are written without escaping, so none may need it.
func TestCodesArePlain(t *testing.T) {
	for _, code := range []Code{
		CodeBadFrame, CodeUnknownType, CodeBadChannel, CodeReservedChannel, CodeLoginRequired, CodeDenied, CodeNotJoined,
		CodeBadToken, CodeTooManyChannels, CodeRateLimited, CodeTooLarge, CodeUnavailable,
	} {
		var got struct{ Type, Code, Message string }
		if err := json.Unmarshal(payload(t, Failed(&Error{Code: code, Message: "m"})), &got); err != nil {
			t.Errorf("%s: %v", code, err)
		}
		if got.Type != "error" || got.Code != string(code) || got.Message != "m" {
			t.Errorf("%s: got %+v", code, got)
		}
	}
}

func TestAppendString(t *testing.T) {
	for _, test := range []struct{ s, want string }{
		{"", `""`},
		{"tab|abc 123", `"tab|abc 123"`},
		{`a"b\c`, `"a\"b\\c"`},
		{"\x00\n\x1f", `"\u0000\n\u001f"`},
		{"é😀", `"é😀"`},
		{"\u2028\u2029", `"\u2028\u2029"`},
		{"\xff", `"\ufffd"`},
	} {
		if got := string(AppendString([]byte("before"), test.s)); got != "before"+test.want {
			t.Errorf("%q: got %s, want %s", test.s, got, test.want)
		}
	}
}

// Each byte is found in each position, and nothing else.
func TestPlain(t *testing.T) {
	for n := range 26 {
		for i := range n {
			for c := range 256 {
				s := []byte(strings.Repeat("!~", 13)[:n])
				s[i] = byte(c)
				want := c >= 0x20 && c < 0x7f && c != '"' && c != '\\'
				if plain(string(s)) != want {
					t.Fatalf("%q: %v", s, !want)
				}
			}
		}
	}
}

// FuzzAppendString checks that another decoder reads the result.
func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "salesRoom", "\"\\/\b\f\n\r\t", "é😀\u2028", "\xff\xed\xa0\x80", "<script>&", "\x7f\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		quoted := AppendString(nil, s)
		if err := json.Unmarshal(quoted, &got); err != nil {
			t.Fatalf("%q: %s: %v", s, quoted, err)
		}
		if want := string([]rune(s)); got != want { // a byte that is not UTF-8 becomes U+FFFD
			t.Errorf("%q comes back as %q, want %q", s, got, want)
		}
	})
}

// views returns users about whom no plugin has decided.
func views(users ...presence.User) (list []presence.View) {
	for _, u := range users {
		list = append(list, presence.View{User: u})
	}
	return list
}

// A hidden field is in no frame, and the info and the status are only where members are shown.
func TestFramesHideFields(t *testing.T) {
	e, user := Encoder{}, presence.User{ID: "1", Email: "a@x", Info: `{"n":1}`, Status: `{"s":1}`}
	for hide, test := range map[presence.Fields]struct{ member, sender string }{
		0:                                        {`{"id":"1","email":"a@x","info":{"n":1},"status":{"s":1}}`, `{"id":"1","email":"a@x"}`},
		presence.FieldEmail:                      {`{"id":"1","info":{"n":1},"status":{"s":1}}`, `{"id":"1"}`},
		presence.FieldEmail | presence.FieldInfo: {`{"id":"1","status":{"s":1}}`, `{"id":"1"}`},
		presence.FieldEmail | presence.FieldStatus: {`{"id":"1","info":{"n":1}}`, `{"id":"1"}`},
		presence.FieldInfo | presence.FieldStatus:  {`{"id":"1","email":"a@x"}`, `{"id":"1","email":"a@x"}`},
	} {
		diff := presence.Diff{Channel: "c", Joined: views(user), Left: views(user), Updated: views(user), Hide: hide}
		for _, frame := range []struct{ got, want string }{
			{string(e.Members(views(user), hide)), "[" + test.member + "]"},
			{
				string(payload(t, e.Presence(diff))),
				`{"type":"presence","channel":"c","seq":0,"joined":[` + test.member + `],"left":[` + test.sender + `],"updated":[` + test.member + `],"count":0}`,
			},
			{
				string(payload(t, e.Message("c", presence.Source{User: &user, Hide: hide}, []byte(`{}`)))),
				`{"type":"message","channel":"c","from":` + test.sender + `,"message":{}}`,
			},
		} {
			if frame.got != frame.want {
				t.Errorf("without %03b: got %s, want %s", hide, frame.got, frame.want)
			}
		}
	}
}

func TestFramesShowWhatPluginsMakeOfUsers(t *testing.T) {
	e, user := Encoder{}, presence.User{ID: "1", Email: "ann@example.com"}
	masked := presence.View{User: user, Shown: &presence.Shown{ID: "a", Record: `{"id":"a","badge":1}`, Sender: `{"id":"a"}`}}
	hidden := &presence.Shown{}
	for name, test := range map[string]struct{ got, want string }{
		"members": {string(e.Members([]presence.View{masked, {User: user}}, 0)), `[{"id":"a","badge":1},{"id":"1","email":"ann@example.com"}]`},
		"presence": {
			string(payload(t, e.Presence(presence.Diff{Channel: "c", Joined: []presence.View{masked}, Left: []presence.View{masked}, Updated: []presence.View{masked}}))),
			`{"type":"presence","channel":"c","seq":0,"joined":[{"id":"a","badge":1}],"left":[{"id":"a"}],"updated":[{"id":"a","badge":1}],"count":0}`,
		},
		"message": {
			string(payload(t, e.Message("c", presence.Source{User: &user, Shown: masked.Shown}, []byte(`{}`)))),
			`{"type":"message","channel":"c","from":{"id":"a"},"message":{}}`,
		},
		"message of a hidden user": {
			string(payload(t, e.Message("c", presence.Source{User: &user, Shown: hidden}, []byte(`{}`)))),
			`{"type":"message","channel":"c","from":null,"message":{}}`,
		},
	} {
		if test.got != test.want {
			t.Errorf("%s: got %s", name, test.got)
		}
	}
}

func ExampleAppendUsers() {
	users := []presence.User{{ID: "USER_1", Email: "a@example.com"}, {ID: "USER_2"}}
	fmt.Println(string(AppendUsers(nil, users)))
	fmt.Println(string(AppendUsers(nil, nil)))
	// Output:
	// [{"id":"USER_1","email":"a@example.com"},{"id":"USER_2","email":""}]
	// []
}

func ExampleFailed() {
	frame := Failed(&Error{Code: CodeNotJoined, Ref: "3", Message: "not joined"})
	fmt.Println(string(frame[2:])) // behind the header of the websocket frame
	// Output: {"type":"error","id":3,"code":"not_joined","message":"not joined"}
}

func BenchmarkMembers(b *testing.B) {
	users := make([]presence.View, 10_000)
	for i := range users {
		users[i].User = presence.User{ID: fmt.Sprintf("USER_%d", i), Email: fmt.Sprintf("user%d@example.com", i)}
	}
	b.ReportAllocs()
	for b.Loop() {
		b.SetBytes(int64(len(Encoder{}.Members(users, 0))))
	}
}
