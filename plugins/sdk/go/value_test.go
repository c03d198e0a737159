package rollcall

import (
	"slices"
	"testing"
)

func parsed(t *testing.T, text string) Value {
	t.Helper()
	v, err := ParseJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestValue(t *testing.T) {
	v := parsed(t, `{"a":{"b":"\u0062"},"n":12,"t":true,"l":["x",1,null,{"y":2}],"w":"word","z":null}`)
	if got := v.Get("a", "b").Text() + v.Get("n").Text() + v.Get("none", "b").Text(); got != "b12" {
		t.Errorf("texts: %q", got)
	}
	if !v.Get("t").Bool() || v.Get("n").Bool() || !v.Get("z").Exists() || v.Get("none").Exists() || v.Get("l").IsObject() || !v.Get("a").IsObject() {
		t.Error("kinds are mixed up")
	}
	if got := v.Get("l").Texts(); !slices.Equal(got, []string{"x", "1"}) {
		t.Errorf("list: %q", got)
	}
	if got := v.Get("w").Texts(); !slices.Equal(got, []string{"word"}) || v.Get("none").Texts() != nil || v.Get("a").Texts() != nil {
		t.Errorf("a word as a list: %q", got)
	}
	if items := v.Get("a").Items(); len(items) != 1 || items[0].Text() != "b" || !slices.Equal(v.Get("a").Names(), []string{"b"}) {
		t.Errorf("items: %+v", items)
	}
	if got := string(v.Get("a").JSON()); got != `{"b":"\u0062"}` {
		t.Errorf("JSON: %s", got)
	}
}

func TestWithText(t *testing.T) {
	for in, want := range map[string]string{
		`{}`:                         `{"text":"ü\u000a\""}`,
		`{"a": [1, 2]}`:              `{"a":[1, 2],"text":"ü\u000a\""}`,
		`{"text":"x","b":{}}`:        `{"text":"ü\u000a\"","b":{}}`,
		`{"t\u0065xt":{"y":1}}`:      `{"text":"ü\u000a\""}`,
		`{"text":1,"\n":2,"text":3}`: `{"text":"ü\u000a\"","\u000a":2,"text":"ü\u000a\""}`,
	} {
		got := parsed(t, in).WithText("text", "ü\n\"")
		if string(got) != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
		if parsed(t, string(got)).Get("text").Text() != "ü\n\"" {
			t.Errorf("%s: the text of %s is another", in, got)
		}
	}
}
