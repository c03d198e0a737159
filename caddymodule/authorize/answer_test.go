package authorize

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestParseAnswer(t *testing.T) {
	now := time.Now()
	in := func(seconds int) time.Time { return now.Add(time.Duration(seconds) * time.Second) }
	for _, test := range []struct {
		name, text string
		want       Answer
		err        string // "" for an answer
	}{
		{"yes", `{"allow":true}`, Answer{Allow: true, Send: true, See: true}, ""},
		{"all keys", `{"allow":true,"send":false,"see":true,"expires_in":60}`, Answer{Allow: true, See: true, Until: in(60)}, ""},
		{"unknown keys and spaces", " {\"note\":{\"allow\":1}, \"allow\" : true,\"see\":false}\n", Answer{Allow: true, Send: true}, ""},
		{"least time", `{"allow":true,"expires_in":10}`, Answer{Allow: true, Send: true, See: true, Until: in(10)}, ""},
		{"very long time", `{"allow":true,"expires_in":1e300}`, Answer{Allow: true, Send: true, See: true, Until: in(maxExpires)}, ""},
		{"no", `{"allow":false}`, Answer{}, ""},
		{"no, whatever else", `{"allow":false,"send":true,"expires_in":"soon"}`, Answer{}, ""},

		{"nothing", ``, Answer{}, "not a JSON object"},
		{"rubbish", `<html>yes</html>`, Answer{}, "not a JSON object"},
		{"true", `true`, Answer{}, "not a JSON object"},
		{"array", `[{"allow":true}]`, Answer{}, "not a JSON object"},
		{"cut", `{"allow":true`, Answer{}, "not a JSON object"},
		{"two objects", `{"allow":true}{"allow":false}`, Answer{}, "not a JSON object"},
		{"no allow", `{"send":true}`, Answer{}, "no boolean allow"},
		{"allow is null", `{"allow":null}`, Answer{}, "no boolean allow"},
		{"allow is a text", `{"allow":"true"}`, Answer{}, "no boolean allow"},
		{"allow is a number", `{"allow":1}`, Answer{}, "no boolean allow"},
		{"other case", `{"Allow":true}`, Answer{}, "no boolean allow"},
		{"twice", `{"allow":false,"allow":true}`, Answer{}, "allow twice"},
		{"twice, escaped", `{"allow":false,"\u0061llow":true}`, Answer{}, "allow twice"},
		{"send is null", `{"allow":true,"send":null}`, Answer{}, "must be booleans"},
		{"see is a text", `{"allow":true,"see":"no"}`, Answer{}, "must be booleans"},
		{"short time", `{"allow":true,"expires_in":9.99}`, Answer{}, "a number from 10"},
		{"time is null", `{"allow":true,"expires_in":null}`, Answer{}, "a number from 10"},
		{"time is a text", `{"allow":true,"expires_in":"60"}`, Answer{}, "a number from 10"},
		{"too large", `{"allow":true,"note":"` + strings.Repeat("x", maxAnswer) + `"}`, Answer{}, "more than 4096 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseAnswer([]byte(test.text), now)
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("the error is %v, want %q", err, test.err)
			}
		})
	}
}

// FuzzParseAnswer compares yes with what an ordinary JSON decoder reads.
func FuzzParseAnswer(f *testing.F) {
	for _, text := range []string{
		`{"allow":true}`, `{"allow":true,"send":false,"see":true,"expires_in":60}`, `{"allow":false}`, `{"ALLOW":true,"allow":false}`,
		`{"allow":true,"allow":false}`, `{"allow":true}x`, `{"a":[{"allow":true}]}`, `{"allow":true,"expires_in":1e999}`, `{"allow":tru`, "\xff",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		now := time.Now()
		a, err := parseAnswer(p, now)
		if err != nil && a != (Answer{}) {
			t.Fatalf("%+v with %v", a, err)
		}
		if !a.Allow {
			if a != (Answer{}) {
				t.Fatalf("a no is %+v", a)
			}
			return
		}
		var plain map[string]any
		d := json.NewDecoder(bytes.NewReader(p))
		d.UseNumber() // an unknown key may have a number of any size
		if err := d.Decode(&plain); err != nil || len(p) > maxAnswer {
			t.Fatalf("a yes of %q: %v", p, err)
		}
		if plain["allow"] != true || a.Send != (plain["send"] != false) || a.See != (plain["see"] != false) {
			t.Fatalf("%q is %+v", p, a)
		}
		number, ok := plain["expires_in"].(json.Number)
		if seconds, err := number.Float64(); ok != !a.Until.IsZero() || ok && (err != nil || seconds < minExpires || a.Until.Before(now.Add(minExpires*time.Second))) {
			t.Fatalf("%q ends at %s", p, a.Until)
		}
	})
}
