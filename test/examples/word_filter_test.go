package examples

import (
	"testing"
)

func TestWordFilter(t *testing.T) {
	s := start(t, "word-filter").site("localhost")
	ada := login(t, s, "ada", "ada@example.com", "room")
	bob := login(t, s, "bob", "bob@example.com", "room")
	for _, test := range []struct{ message, got string }{
		{`{"text":"oh Heck, check"}`, `{"text":"oh ****, check"}`},
		{`{"text":"h\u0065ck","darn":1}`, `{"text":"****","****":1}`},
		{`{"text": "hello"}`, `{"text": "hello"}`}, // byte for byte
	} {
		ada.Ask(t, `{"type":"send","channels":["room"],"message":`+test.message+`,"echo":false}`, `{"type":"sent"}`)
		bob.Expect(t, `{"type":"message","channel":"room","from":{"id":"ada"},"message":`+test.got+`}`)
	}
	ada.Send(t, `{"type":"send","id":1,"channels":["room"],"message":{"text":"Buy now!"}}`)
	ada.ExpectError(t, "1", "denied")
	ada.Ask(t, `{"type":"send","channels":["room"],"message":{"text":"fifth"},"echo":false}`, `{"type":"sent"}`)
	bob.Expect(t, `{"type":"message","channel":"room","from":{"id":"ada"},"message":{"text":"fifth"}}`)
	ada.Send(t, `{"type":"send","id":2,"channels":["room"],"message":{"text":"sixth"}}`)
	ada.ExpectError(t, "2", "denied")
	bob.Ask(t, `{"type":"send","channels":["room"],"message":{"text":"mine"},"echo":false}`, `{"type":"sent"}`)
	ada.Expect(t, `{"type":"message","channel":"room","from":{"id":"bob"},"message":{"text":"mine"}}`)
	for range 10 {
		s.Answer(t, "sendmessage", `{"channels":["room"],"message":{"text":"darn"}}`)
		ada.Expect(t, `{"type":"message","channel":"room","from":null,"backend":true,"message":{"text":"****"}}`)
	}
}
