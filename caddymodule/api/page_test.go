package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/presence"
)

func TestRequestPage(t *testing.T) {
	next := encodeNext("salesRoom")
	for _, test := range []struct {
		name, body string
		want       presence.Page
		detail     string // of the problem; "" if there is none
	}{
		{"none", `{}`, presence.Page{}, ""},
		{"channel", `{"channel":"a"}`, presence.Page{}, ""},
		{"all", `{"prefix":"s","limit":1,"after":"` + next + `"}`, presence.Page{Prefix: "s", After: "salesRoom", Limit: 1}, ""},
		{"empty prefix", `{"prefix":"","limit":10000}`, presence.Page{Limit: 10_000}, ""},
		{"after a private channel", `{"after":"` + encodeNext("tab|AAAAAAAAAAAAAAAAAAAAAA") + `"}`, presence.Page{After: "tab|AAAAAAAAAAAAAAAAAAAAAA"}, ""},
		{"prefix of no name", `{"prefix":"\ud800"}`, presence.Page{}, "prefix has U+FFFD"},
		{"prefix null", `{"prefix":null}`, presence.Page{}, "prefix must be a string"},
		{"no limit", `{"limit":0}`, presence.Page{}, "limit must be from 1 to 10000"},
		{"negative limit", `{"limit":-1}`, presence.Page{}, "limit must be from 1 to 10000"},
		{"limit too large", `{"limit":10001}`, presence.Page{}, "limit must be from 1 to 10000"},
		{"fraction", `{"limit":1.5}`, presence.Page{}, "limit must be a whole number"},
		{"huge limit", `{"limit":1e999}`, presence.Page{}, "limit must be a whole number"},
		{"limit as text", `{"limit":"10"}`, presence.Page{}, "limit must be a whole number"},
		{"after nothing", `{"after":""}`, presence.Page{}, "Rollcall-Next"},
		{"after a name", `{"after":"sales Room"}`, presence.Page{}, "Rollcall-Next"},
		{"after with padding", `{"after":"` + encodeNext("a") + `=="}`, presence.Page{}, "Rollcall-Next"},
		{"after with a line break", `{"after":"` + next + `\n"}`, presence.Page{}, "Rollcall-Next"},
		{"after with other bits at the end", `{"after":"YR"}`, presence.Page{}, "Rollcall-Next"},
		{"after a control character", `{"after":"` + encodeNext("a\x00") + `"}`, presence.Page{}, "Rollcall-Next"},
		{"after no UTF-8", `{"after":"` + encodeNext("\xff") + `"}`, presence.Page{}, "Rollcall-Next"},
		{"after a name too long", `{"after":"` + encodeNext(strings.Repeat("a", presence.MaxChannelName+1)) + `"}`, presence.Page{}, "Rollcall-Next"},
		{"after a number", `{"after":1}`, presence.Page{}, "after must be a string"},
		{"channel and prefix", `{"channel":"a","prefix":""}`, presence.Page{}, "leave out"},
		{"channel and limit", `{"channel":"a","limit":1}`, presence.Page{}, "leave out"},
		{"channel and after", `{"channel":"a","after":"` + next + `"}`, presence.Page{}, "leave out"},
	} {
		t.Run(test.name, func(t *testing.T) {
			body, p := parseRequest([]byte(test.body))
			if p != nil {
				t.Fatal(p)
			}
			page, p := body.page()
			switch {
			case test.detail == "":
				if p != nil || page != test.want {
					t.Errorf("got %+v and the problem %+v, want %+v", page, p, test.want)
				}
			case p == nil || p.Status != http.StatusBadRequest || p.Code != "bad_value" || !strings.Contains(p.Detail, test.detail):
				t.Errorf("got %+v and the problem %+v, want bad_value with %q", page, p, test.detail)
			}
		})
	}
}

// FuzzDecodeNext checks that decodeNext accepts what encodeNext returns for channels, and no other
// text.
func FuzzDecodeNext(f *testing.F) {
	for _, text := range []string{"", "YQ", "YQ==", "YR", "Y", "YQ\n", "dGFifA", "AA", "_w", "4pyT", "a b", "-_-_"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		after, ok := decodeNext(text)
		if !ok {
			if after != "" {
				t.Errorf("%q is refused, with the channel %q", text, after)
			}
			return
		}
		if err := presence.CheckChannel(after); err != nil || encodeNext(after) != text {
			t.Errorf("%q is decoded to %q, which is encoded as %q: %v", text, after, encodeNext(after), err)
		}
		if after, ok = decodeNext(encodeNext(text)); ok != (presence.CheckChannel(text) == nil) || ok && after != text {
			t.Errorf("%q is encoded, and decoded to %q, %v", text, after, ok)
		}
	})
}
