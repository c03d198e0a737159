package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestRequestLayout(t *testing.T) {
	r := Request{Kind: 2, Flags: FlagAnonymous, Host: "ho", Channel: "cha", User: "user", Email: "email"}
	size, ok := r.Size()
	if size != 30 || !ok {
		t.Fatalf("size %d, %v", size, ok)
	}
	got := make([]byte, size)
	r.Put(got)
	want := "\x01\x02\x01\x00\x02\x00\x03\x00\x04\x00\x05\x00\x00\x00\x00\x00" + "hochauseremail"
	if string(got) != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	r.Channel = strings.Repeat("a", maxText+1)
	if _, ok := r.Size(); ok {
		t.Error("a channel of 65536 bytes has a size")
	}
}

func TestAppendStringIsWhatEncodingJSONWrites(t *testing.T) {
	for _, s := range []string{
		"", "plain", `"\/`, "\x00\x1f\b\f\n\r\t\x7f", "äöü € 𝄞", "\u2028 \u2029 \u2027", "<a href='x'>&", "cut \xe2\x82", "\xff", "\xed\xa0\x80",
	} {
		var want bytes.Buffer
		encoder := json.NewEncoder(&want)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(s); err != nil {
			t.Fatal(err)
		}
		if got := string(AppendString(nil, s)); got != strings.TrimSuffix(want.String(), "\n") {
			t.Errorf("%q: got %s, want %s", s, got, want.String())
		}
	}
}

func TestUserBecomesAnObject(t *testing.T) {
	batch := AppendUser(nil, &User{ID: "a\"b", Email: "a@b"})
	if len(batch) != (&User{ID: "a\"b", Email: "a@b"}).Size() {
		t.Errorf("%d bytes, Size says %d", len(batch), (&User{ID: "a\"b", Email: "a@b"}).Size())
	}
	record, rest, err := Cut(batch)
	if err != nil || len(rest) != 0 {
		t.Fatal(err)
	}
	got, err := AppendObject([]byte("x"), record)
	if want := `x{"id":"a\"b","email":"a@b"}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}

func TestUserHasTheKeysThatAreKnown(t *testing.T) {
	for want, u := range map[string]User{
		`{"id":"a","email":""}`:                               {ID: "a"},
		`{"id":"a","email":"","info":{"n":1}}`:                {ID: "a", Info: `{"n":1}`},
		`{"id":"a","email":"b","status":null}`:                {ID: "a", Email: "b", Status: `null`},
		`{"id":"a","email":"","info":[],"status":{"s":"\""}}`: {ID: "a", Info: `[]`, Status: `{"s":"\""}`},
	} {
		batch := AppendUser(nil, &u)
		record, rest, err := Cut(batch)
		if err != nil || len(rest) != 0 || len(batch) != u.Size() {
			t.Fatalf("%s: %d bytes, Size says %d, %v", want, len(batch), u.Size(), err)
		}
		if got, err := AppendObject(nil, record); err != nil || string(got) != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
}

func TestAppendObjectRefusesTooManyKeys(t *testing.T) {
	var record []byte
	for i := range MaxKeys + 1 {
		if _, err := AppendObject(nil, record); err != nil {
			t.Fatalf("%d keys: %v", i, err)
		}
		record = appendField(record, string(rune('0'+i)), typeText, "")
	}
	if _, err := AppendObject(nil, record); err == nil {
		t.Errorf("%d keys were accepted", MaxKeys+1)
	}
}

func FuzzRecords(f *testing.F) {
	f.Add(AppendUser(AppendUser(nil, &User{ID: "a", Email: "b"}), &User{ID: "c", Email: "\xff", Info: `{"n":1}`, Status: "2"}))
	f.Add([]byte("\x08\x00\x00\x00\x01a\x02\x01\x00\x00\x001"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Add([]byte("\x11\x00\x00\x00\x02id\x01\x01\x00\x00\x00z\x02ab\x02\x01\x00\x00\x001"))
	f.Fuzz(func(t *testing.T, batch []byte) {
		for rest := batch; len(rest) > 0; {
			record, after, err := Cut(rest)
			if err != nil {
				return
			}
			if len(after)+len(record)+recordLength != len(rest) {
				t.Fatalf("%d bytes became %d and %d", len(rest), len(record), len(after))
			}
			rest = after
			object, err := AppendObject(nil, record)
			if err != nil {
				continue
			}
			if !json.Valid(object) || !utf8.Valid(object) || object[0] != '{' {
				t.Fatalf("%q became %q", record, object)
			}
			fuzzShown(t, record, object)
		}
	})
}

// fuzzShown compares what is shown of a record with its whole object.
func fuzzShown(t *testing.T, record, object []byte) {
	shown, text, err := AppendShown([]byte("x"), record, []string{"email", "a"})
	if err != nil {
		return
	}
	var all, some map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(object, &all), json.Unmarshal(shown[1:], &some)); err != nil {
		t.Fatalf("%q became %q: %v", record, shown, err)
	}
	var id string
	if err := json.Unmarshal(some["id"], &id); err != nil || len(shown)-1 > MaxShown || utf8.Valid(text) && id != string(text) {
		t.Fatalf("%q became %q: %v", record, shown, err)
	}
	for key := range all {
		if key != "id" && key != "email" && key != "a" {
			delete(all, key)
		}
	}
	if !reflect.DeepEqual(all, some) {
		t.Fatalf("%q became %q", record, shown)
	}
}

// Put every byte at every place of a word, among bytes that are not escaped.
func TestAppendStringEscapesEveryByteThatNeedsIt(t *testing.T) {
	for c := range 256 {
		for at := range 2*wordSize + 1 {
			s := []byte("abcdefgh~ !0[]zABC")
			s[at] = byte(c)
			want, err := json.Marshal(string(s))
			if err != nil {
				t.Fatal(err)
			}
			got := AppendString(nil, s)
			if c == '<' || c == '>' || c == '&' {
				want = bytes.ReplaceAll(want, fmt.Appendf(nil, "\\u%04x", c), []byte{byte(c)})
			}
			if !bytes.Equal(got, want) {
				t.Errorf("byte %#x at %d: got %s, want %s", c, at, got, want)
			}
		}
	}
}

func BenchmarkAppendObject(b *testing.B) {
	record, _, _ := Cut(AppendUser(nil, &User{ID: "8f14e45fceea167a", Email: "somebody.else@example.com"}))
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = AppendObject(dst[:0], record)
	}
}
