package rawjson

import (
	"encoding/json"
	"testing"
	"unicode/utf8"
)

func TestObjectReturnsMembersAsReceived(t *testing.T) {
	o, ok := Open([]byte(` { "a" : [1, "]}"] , "\u0062":"x\"y","c" : null,"a":-1e5 } `))
	if !ok {
		t.Fatal("it is an object")
	}
	for _, want := range [][2]string{{"a", `[1, "]}"]`}, {"b", `"x\"y"`}, {"c", "null"}, {"a", "-1e5"}} {
		key, value, ok := o.Next()
		if !ok || string(Name(key)) != want[0] || string(value) != want[1] {
			t.Errorf("got %s, %s and %v, want %s", key, value, ok, want)
		}
	}
	if key, value, ok := o.Next(); ok {
		t.Errorf("another member %s: %s", key, value)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, p := range []string{"", " ", "{", "[]", `"{}"`, "null", "{} {}", `{"a":1,}`, "{a:1}"} {
		if _, ok := Open([]byte(p)); ok {
			t.Errorf("%q is no object", p)
		}
	}
}

func TestArrayReturnsElementsAsReceived(t *testing.T) {
	a, ok := OpenArray([]byte(`[ "a,]" , [1,[2]],{"b":[]} ]`))
	if !ok {
		t.Fatal("it is an array")
	}
	for _, want := range []string{`"a,]"`, `[1,[2]]`, `{"b":[]}`} {
		if value, ok := a.Next(); !ok || string(value) != want {
			t.Errorf("got %s and %v, want %s", value, ok, want)
		}
	}
	if value, ok := a.Next(); ok {
		t.Errorf("another element %s", value)
	}
	if _, ok := OpenArray([]byte(`{}`)); ok {
		t.Error("{} is no array")
	}
}

// FuzzObject checks that the members are those that encoding/json finds.
func FuzzObject(f *testing.F) {
	for _, p := range []string{`{}`, `{"a":{"b":[1,{}]},"c":"\\\""}`, `{"\u0061":"x" , "b" : [ "]" ] }`, `[]`, `{"a":1,"a":null}`, "{\"\x81\":\"\"}"} {
		f.Add([]byte(p))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		var want map[string]json.RawMessage
		err := json.Unmarshal(p, &want)
		o, ok := Open(p)
		if ok != (err == nil && want != nil) {
			t.Fatalf("Open reports %v, encoding/json %v", ok, err)
		}
		if !utf8.Valid(p) {
			want = nil // encoding/json replaces bytes in names
		}
		got := make(map[string]string)
		for {
			key, value, more := o.Next()
			if !more {
				break
			}
			got[string(Name(key))] = string(value)
			if a, ok := OpenArray(value); ok {
				for _, more := a.Next(); more; _, more = a.Next() {
				}
			}
		}
		if want != nil && len(got) != len(want) {
			t.Fatalf("got %d members, want %d", len(got), len(want))
		}
		for name, value := range want {
			if got[name] != string(value) {
				t.Errorf("%q is %s, want %s", name, got[name], value)
			}
		}
	})
}
