package presence

import (
	"errors"
	"strings"
	"testing"
)

func TestCompactInfo(t *testing.T) {
	for _, test := range []struct{ object, want, wrong string }{
		{`{}`, `{}`, ""},
		{" { \"a\" : [ 1 , \"b c\" ] }\n", `{"a":[1,"b c"]}`, ""},
		{``, "", "is not a JSON object"},
		{`null`, "", "is not a JSON object"},
		{`[1]`, "", "is not a JSON object"},
		{`{"a":1}x`, "", "is not a JSON object"},
		{"{\"a\":\"\xff\"}", "", "is not a JSON object"},
		{`{"a":"` + strings.Repeat("x", MaxInfo-8) + `"}`, `{"a":"` + strings.Repeat("x", MaxInfo-8) + `"}`, ""},
		{`{"a":"` + strings.Repeat("x", MaxInfo-7) + `"}`, "", "is longer than 2048 bytes"},
	} {
		got, err := CompactInfo([]byte(test.object))
		if got != test.want || (err == nil) != (test.wrong == "") || err != nil && err.Error() != test.wrong {
			t.Errorf("%.40q: got %.40q and the error %v", test.object, got, err)
		}
		if err == nil {
			if err := CheckUser(User{ID: "a", Info: got}); err != nil {
				t.Errorf("%.40q: %v", got, err)
			}
		}
	}
	if err := CheckUser(User{ID: "a", Info: `{ }`}); err == nil {
		t.Error("an info with white space is accepted")
	}
}

func TestCheckUser(t *testing.T) {
	long := strings.Repeat("a", MaxUserID)
	tests := []struct {
		name string
		user User
		want string
	}{
		{"an ID alone", User{ID: "a"}, ""},
		{"an address", User{ID: "a", Email: "a@example.com"}, ""},
		{"no ID", User{Email: "a@example.com"}, "the id is empty"},
		{"longest ID", User{ID: long}, ""},
		{"a longer ID", User{ID: long + "a"}, "the id is longer than 256 bytes"},
		{"a longer address", User{ID: "a", Email: strings.Repeat("a", MaxEmail+1)}, "the e-mail address is longer than 320 bytes"},
		{"half a letter", User{ID: "a\xc3"}, "the id is not valid UTF-8"},
		{"half a surrogate pair", User{ID: "a\ufffd"}, "the id is not valid UTF-8"},
		{"a control character before half a letter", User{ID: "\x00\xc3"}, "the id is not valid UTF-8"},
		{"the next line", User{ID: "a\u0085"}, "the id has control characters"},
		{"a tab in the address", User{ID: "a", Email: "\t"}, "the e-mail address has control characters"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if err := CheckUser(tt.user); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCheckChannel(t *testing.T) {
	for name, ok := range map[string]bool{
		"": false, "a": true, "tab|AAAAAAAAAAAAAAAAAAAAAA": true, strings.Repeat("a", MaxChannelName): true,
		strings.Repeat("a", MaxChannelName+1): false, "a\xff": false, "a\ufffd": false, "a\u0085": false, "a\u200e": true,
	} {
		if err := CheckChannel(name); (err == nil) != ok || err != nil && !errors.Is(err, ErrBadChannel) {
			t.Errorf("%.20q: %v, want ok %t", name, err, ok)
		}
	}
}

// Every byte at every index of a text, because texts are checked 8 bytes at a time.
func TestCheckTextOfEachByte(t *testing.T) {
	for place := range 17 {
		for c := range 256 {
			text := []byte(strings.Repeat("a", 17))
			text[place] = byte(c)
			var want textFault
			switch {
			case c >= 0x80:
				want = textNotUTF8
			case c < 0x20 || c == 0x7f:
				want = textControl
			}
			if got := checkText(string(text), 17); got != want {
				t.Errorf("byte %#x at %d: %d, want %d", c, place, got, want)
			}
		}
	}
}
