package plugins

import (
	"errors"
	"strings"
	"testing"
)

// byFirstLetter classifies by the first letter of the channel; the benchmarks use it.
const byFirstLetter = `
	(local $c i32)
	(local.set $c (i32.add (i32.add (local.get 0) (i32.const 16)) (i32.load16_u offset=4 (local.get 0))))
	(if (i32.eqz (i32.load16_u offset=6 (local.get 0))) (then (return (i64.const 0))))
	(if (i32.eq (i32.load8_u (local.get $c)) (i32.const 97)) (then (return (i64.const 2))))
	(if (i32.eq (i32.load8_u (local.get $c)) (i32.const 104)) (then (return (i64.const 0x101))))
	(if (i32.eq (i32.load8_u (local.get $c)) (i32.const 110)) (then (return (i64.const 0x200))))
	(if (i32.eq (i32.load8_u (local.get $c)) (i32.const 100)) (then (return (i64.const 3))))
	(if (i32.eq (i32.load8_u (local.get $c)) (i32.const 103)) (then (return (i64.const 0x402))))
	(i64.const 0)`

func TestClassifyReturnsWhatTheGuestSays(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	c := NewChain(load(t, e, Spec{Path: wat(t, classifier(byFirstLetter))}))
	for channel, want := range map[string]Decision{
		"anon":   {Kind: Anonymous},
		"hidden": {Kind: Authenticated, Hidden: true},
		"number": {CountOnly: true},
		"denied": {Kind: Denied},
		"grant":  {Kind: Anonymous, Grant: true},
		"other":  {},
		"":       {},
	} {
		got, err := c.Classify("a.example.com", channel, Authenticated)
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v, want %+v", channel, got, err, want)
		}
	}
}

func TestClassifyAllocatesNothing(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	c := NewChain(load(t, e, Spec{Path: wat(t, classifier(byFirstLetter))}))
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := c.Classify("a.example.com", "anonymous-lobby", Authenticated); err != nil {
			t.Error(err)
		}
	}); n >= 1 {
		t.Errorf("%v allocations", n)
	}
}

func TestClassifyRefusesWhatTheContractDoesNotAllow(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	for name, body := range map[string]string{
		"an error":       "(i64.const -1)",
		"a reserved bit": "(i64.const 0x800)",
		"a high bit":     "(i64.const 0x100000000)",
		"a kind":         "(i64.const 4)",
	} {
		t.Run(name, func(t *testing.T) {
			p := load(t, e, Spec{Path: wat(t, classifier(body))})
			_, err := NewChain(p).Classify("a", "b", Authenticated)
			var failure *Error
			if !errors.As(err, &failure) || failure.Reason != ReasonBadResult {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A plugin learns that the patterns of the site need a grant, and cannot open the channel.
func TestClassifyOfAGrantedChannel(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	const flags = `(i64.and (i64.load16_u offset=2 (local.get 0)) (i64.const 4))`
	c := NewChain(load(t, e, Spec{Path: wat(t, classifier("(i64.shl "+flags+" (i64.const 6))"))}))
	for site, hidden := range map[Kind]bool{Authenticated: false, Anonymous: false, Granted: true} {
		if d, err := c.Classify("a", "b", site); err != nil || d.Hidden != hidden {
			t.Errorf("%s: %+v, %v: flag bit 2 must be %t", site, d, err, hidden)
		}
	}
	for _, policy := range []Policy{Deny, Pass} {
		p := load(t, e, Spec{Path: wat(t, classifier(byFirstLetter)), OnFailure: policy})
		for _, channel := range []string{"anon", "grant"} {
			d, err := NewChain(p).Classify("a", channel, Granted)
			var failure *Error
			switch {
			case policy == Deny && (!errors.As(err, &failure) || failure.Reason != ReasonBadResult):
				t.Errorf("%s: got %+v, %v", channel, d, err)
			case policy == Pass && (err != nil || d != Decision{Failed: true}):
				t.Errorf("%s, passed over: got %+v, %v", channel, d, err)
			}
		}
		if d, err := NewChain(p).Classify("a", "hidden", Granted); err != nil || d.Failed || !d.Hidden {
			t.Errorf("authenticated: got %+v, %v", d, err)
		}
	}
}

// The hook authorize has the flag, too.
func TestAuthorizeInAGrantedChannel(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	// Denied unless the kind is authenticated and the flags are exactly those of the request.
	const body = `(func (export "rollcall_authorize") (param i32 i32) (result i64)
		(if (result i64) (i32.eq (i32.load8_u offset=1 (local.get 0)) (i32.const 1))
			(then (i64.load16_u offset=2 (local.get 0))) (else (i64.const 9))))`
	c := NewChain(load(t, e, Spec{Path: wat(t, guest(body))}))
	for _, test := range []struct {
		site Kind
		user *User
		want string
	}{
		{Authenticated, &User{ID: "a"}, ""},
		{Granted, &User{ID: "a"}, "0x4"},
		{Granted, nil, "0x5"},
	} {
		_, err := c.Authorize("a", "b", test.site, test.user)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s, user %v: the flags are not %q: %v", test.site, test.user, test.want, err)
		}
	}
}

func BenchmarkClassify(b *testing.B) {
	e := newEngine(b, EngineConfig{})
	c := NewChain(load(b, e, Spec{Path: wat(b, classifier(byFirstLetter))}))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Classify("portal.example.com", "anonymous-lobby", Authenticated); err != nil {
			b.Fatal(err)
		}
	}
}
