package pusher

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		name, frame string
		want        command
	}{
		{"ping", `{"event":"pusher:ping","data":{}}`, command{event: "pusher:ping"}},
		{"ping without data", `{"event": "pusher:ping"}`, command{event: "pusher:ping"}},
		{"ping with null", `{"event":"pusher:ping","data":null}`, command{event: "pusher:ping"}},
		{"ping with text", `{"event":"pusher:ping","data":""}`, command{event: "pusher:ping"}},
		{
			"subscribe with an object", `{"event":"pusher:subscribe","data":{"auth":"k:s","channel":"presence-x","channel_data":"{\"user_id\":1}"}}`,
			command{event: "pusher:subscribe", channel: "presence-x", auth: "k:s", channelData: `{"user_id":1}`},
		},
		{
			"subscribe with a string", `{"event":"pusher:subscribe","data":"{\"channel\":\"presence-x\",\"auth\":\"k:s\",\"channel_data\":\"{\\\"user_id\\\":1}\"}"}`,
			command{event: "pusher:subscribe", channel: "presence-x", auth: "k:s", channelData: `{"user_id":1}`},
		},
		{
			"null", `{"event":"pusher:subscribe","data":{"channel":"x","auth":null,"channel_data":null}}`,
			command{event: "pusher:subscribe", channel: "x"},
		},
		{"unsubscribe", `{"event":"pusher:unsubscribe","data":{"channel":"x","more":[]}}`, command{event: "pusher:unsubscribe", channel: "x"}},
		{"sign-in", `{"event":"pusher:signin","data":{"auth":"k:s","user_data":"{}"}}`, command{event: "pusher:signin", auth: "k:s", userData: "{}"}},
		{
			"client event", `{"event":"client-x","channel":"private-x","data":{ "a" : 1 },"user_id":"7"}`,
			command{event: "client-x", channel: "private-x", data: `{ "a" : 1 }`},
		},
		{"client event with text", `{"event":"client-x","channel":"private-x","data":"a\nb"}`, command{event: "client-x", channel: "private-x", data: "a\nb"}},
		{"client event without data", `{"event":"client-x","channel":"private-x"}`, command{event: "client-x", channel: "private-x", data: "{}"}},
		{"unknown event", `{"event":"pusher:x","data":7,"channel":{}}`, command{event: "pusher:x"}},
		{"the last of two", `{"event":"a","event":"b"}`, command{event: "b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, err := parse([]byte(test.frame)); err != nil || got != test.want {
				t.Errorf("got %+v and %v, want %+v", got, err, test.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, test := range []struct{ frame, says string }{
		{``, "not a JSON object"},
		{`{"event":"pusher:ping"`, "not a JSON object"},
		{`"pusher:ping"`, "not a JSON object"},
		{"{\"event\":\"\xff\"}", "not a JSON object"},
		{`{"event":null}`, "event"},
		{`{"data":{}}`, "event"},
		{`{"event":"pusher:subscribe"}`, "data"},
		{`{"event":"pusher:subscribe","data":null}`, "data"},
		{`{"event":"pusher:subscribe","data":""}`, "data"},
		{`{"event":"pusher:subscribe","data":"x"}`, "data"},
		{`{"event":"pusher:subscribe","data":{"channel":7}}`, "channel must be a string"},
		{`{"event":"pusher:subscribe","data":{"channel":"x","channel_data":{"user_id":1}}}`, "channel_data must be a string"},
		{`{"event":"pusher:signin","data":{"auth":["k"]}}`, "auth must be a string"},
	} {
		if got, err := parse([]byte(test.frame)); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: got %+v and %v, want an error with %q", test.frame, got, err, test.says)
		}
	}
}

// FuzzFrames sends frames to a connection: each is answered by frames whose data has the right type
// (T34).
func FuzzFrames(f *testing.F) {
	for _, frame := range []string{
		`{"event":"pusher:ping"}`, `{"event":"pusher:subscribe","data":{"channel":"news"}}`,
		`{"event":"pusher:subscribe","data":"{\"channel\":\"presence-x\",\"auth\":\"key:00\",\"channel_data\":\"{\\\"user_id\\\":1}\"}"}`,
		`{"event":"pusher:unsubscribe","data":{"channel":"private-x"}}`, `{"event":"pusher:signin","data":{"auth":"key:00","user_data":"{}"}}`,
		`{"event":"client-x","channel":"private-x","data":{}}`, `{"event":"client-x","channel":"private-x","data":"\ud800"}`, `[]`, `{"event":null}`, "\xff",
	} {
		f.Add([]byte(frame))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		p := newRoom(t).join("").enter("private-x", "")
		p.message(p, true, frame, true)
		if p.on.SignedIn() {
			t.Error("signed in without a signature")
		}
	})
}
