package json

import (
	"bytes"
	stdjson "encoding/json"
	"strconv"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	v, err := Parse([]byte(` {"a": "x\n\u00e9\ud83d\ude00", "b": [1, -2.5e3, true, false, null], "c": {"d": {}}, "a": "last"} `))
	if err != nil {
		t.Fatal(err)
	}
	if got := v.Items[0].Text; got != "x\né😀" {
		t.Errorf("string is %q", got)
	}
	if got := v.Get("a").Text; got != "last" {
		t.Errorf("of a name that is there twice: %q", got)
	}
	b := v.Get("b")
	for i, want := range []Kind{Number, Number, True, False, Null} {
		if b.Items[i].Kind != want {
			t.Errorf("item %d has kind %d, want %d", i, b.Items[i].Kind, want)
		}
	}
	if b.Items[1].Text != "-2.5e3" || string(b.Raw) != "[1, -2.5e3, true, false, null]" {
		t.Errorf("got %q and %s", b.Items[1].Text, b.Raw)
	}
	if d := v.Get("c").Get("d"); d.Kind != Object || len(d.Items) != 0 {
		t.Errorf("got %+v", d)
	}
	if missing := v.Get("none").Get("none"); missing.Kind != Missing {
		t.Errorf("got %+v", missing)
	}
}

func TestParseRefuses(t *testing.T) {
	tests := map[string]string{
		"nothing": "", "two values": "1 2", "open object": `{"a":1`, "open array": "[1", "open string": `"a`,
		"no name": "{1:2}", "no colon": `{"a" 1}`, "no comma": "[1 2]", "comma at the end": "[1,]",
		"leading zero": "01", "bare minus": "-", "half a number": "1.", "half an exponent": "1e",
		"unknown word": "yes", "unknown escape": `"\x"`, "half an escape": `"\u12"`, "control character": "\"\x01\"",
		"not UTF-8": "\"\xff\"", "too deep": strings.Repeat("[", 100) + strings.Repeat("]", 100),
		"escape at the end": `"\`,
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			if v, err := Parse([]byte(text)); err == nil {
				t.Errorf("got %+v", v)
			}
		})
	}
}

func TestParseCopiesTheText(t *testing.T) {
	text := []byte(`{"a":"b"}`)
	v, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	clear(text)
	if v.Get("a").Text != "b" || string(v.Raw) != `{"a":"b"}` {
		t.Errorf("the value changed with the text: %+v", v)
	}
}

// FuzzParse compares Parse with the standard library.
func FuzzParse(f *testing.F) {
	f.Add(`{"a":["x\n\u00e9\ud83d\ude00","\ud800","\ud800\u0041"],"b":-1.5e+3,"c":null,"d":true}`)
	f.Add(`[[[]]]`)
	f.Fuzz(func(t *testing.T, text string) {
		v, err := Parse([]byte(text))
		if err != nil {
			deep := strings.Count(text, "[")+strings.Count(text, "{") > maxDepth
			if stdjson.Valid([]byte(text)) && !deep && !strings.Contains(err.Error(), "UTF-8") {
				t.Fatalf("%q is refused: %v", text, err)
			}
			return
		}
		if !stdjson.Valid([]byte(text)) {
			t.Fatalf("%q is accepted", text)
		}
		got, want := write(v), new(bytes.Buffer)
		if err := stdjson.Compact(want, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if normal(t, got) != normal(t, want.String()) {
			t.Fatalf("%q is read as %s", text, got)
		}
	})
}

func normal(t *testing.T, text string) string {
	d := stdjson.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	b, err := stdjson.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(v Value) string {
	switch v.Kind {
	case Null:
		return "null"
	case True, False:
		return strconv.FormatBool(v.Kind == True)
	case Number:
		return v.Text
	case String:
		return quote(v.Text)
	default: // an array or an object
	}
	var parts []string
	for i, item := range v.Items {
		if v.Kind == Object {
			parts = append(parts, quote(v.Keys[i])+":"+write(item))
		} else {
			parts = append(parts, write(item))
		}
	}
	if v.Kind == Object {
		return "{" + strings.Join(parts, ",") + "}"
	}
	return "[" + strings.Join(parts, ",") + "]"
}

func quote(s string) string {
	b, _ := stdjson.Marshal(s) // cannot fail for a string
	return string(b)
}
