package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestOnlyTimeWasOver(t *testing.T) {
	tests := []struct {
		name, output string
		want         bool
	}{
		{"the deadline", "fuzz: elapsed: 30s, execs: 7 (0/sec)\n--- FAIL: FuzzA (30.10s)\n    context deadline exceeded\nFAIL\n", true},
		{"a failing input", "--- FAIL: FuzzA (0.10s)\n    --- FAIL: FuzzA (0.00s)\n        a_test.go:9: broken\n    \n" +
			"    Failing input written to testdata/fuzz/FuzzA/1\n", false},
		{"the target's own deadline", "--- FAIL: FuzzA (0.10s)\n    a_test.go:9: dialing:\n    context deadline exceeded\n", false},
		{"another message", "--- FAIL: FuzzA (0.10s)\n    fuzzing process hung or terminated unexpectedly\n", false},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if got := onlyTimeWasOver(tc.output); got != tc.want {
				t.Errorf("onlyTimeWasOver = %t, want %t", got, tc.want)
			}
		})
	}
}

func TestFuzzAllFindsTheFailingTarget(t *testing.T) {
	writeModule(t, `package m

import "testing"

func FuzzGood(f *testing.F) { f.Fuzz(func(*testing.T, []byte) {}) }

func FuzzBad(f *testing.F) {
	f.Add([]byte("seed"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != 4 {
			t.Error("broken")
		}
	})
}
`)
	var out bytes.Buffer
	// A number of inputs rather than a duration, so that the test ends as soon as possible.
	got, err := fuzzAll(&out, "2000x", []string{"."})
	if want := (counts{passed: 1, failed: 1}); got != want || err == nil {
		t.Errorf("fuzzAll = %v, %v, want %v and an error:\n%s", got, err, want, &out)
	}
	if !strings.Contains(out.String(), "Failing input written to") {
		t.Errorf("the output does not name the failing input:\n%s", &out)
	}
	if strings.Contains(out.String(), "not built with coverage instrumentation") {
		t.Errorf("the target is not instrumented:\n%s", &out)
	}
}

func TestFuzzAllNeedsATarget(t *testing.T) {
	writeModule(t, "package m\n")
	if _, err := fuzzAll(new(bytes.Buffer), "1x", []string{"./..."}); err == nil {
		t.Error("fuzzAll found no target, and no error")
	}
}
