package plugins

import (
	"errors"
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
	(i64.const 0)`

func TestClassifyReturnsWhatTheGuestSays(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	c := NewChain(load(t, e, Spec{Path: wat(t, classifier(byFirstLetter))}))
	for channel, want := range map[string]Decision{
		"anon":   {Kind: Anonymous},
		"hidden": {Kind: Authenticated, Hidden: true},
		"number": {CountOnly: true},
		"denied": {Kind: Denied},
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
		"a reserved bit": "(i64.const 0x400)",
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
