package history

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// parse reads a history. Each word is one operation: its kind (w, u for an unfinished write, r, or
// R for a read at rest), its value ("-" for the first one), "@", and the times of call and return.
func parse(t *testing.T, text string) []Operation {
	t.Helper()
	kinds := map[byte]Kind{'w': Write, 'u': Unfinished, 'r': Read, 'R': RestRead}
	var ops []Operation
	for i, word := range strings.Fields(text) {
		what, when, _ := strings.Cut(word, "@")
		call, end, _ := strings.Cut(when, "-")
		from, err := strconv.Atoi(call)
		if err != nil {
			t.Fatal(err)
		}
		to, err := strconv.Atoi(end)
		if err != nil {
			t.Fatal(err)
		}
		kind, known := kinds[what[0]]
		if !known {
			t.Fatalf("%q has no kind", word)
		}
		ops = append(ops, Operation{
			Kind: kind, By: fmt.Sprint("client-", i), Value: strings.Trim(what[1:], "-"),
			Call: time.Duration(from) * time.Second, Return: time.Duration(to) * time.Second,
		})
	}
	return ops
}

func TestHistories(t *testing.T) {
	tests := []struct {
		name, ops string
		want      []error // nil: the history is right
	}{
		{"nothing", "", nil},
		{"a read without a write", "r-@1-2 R-@3-4", nil},
		{"a read of what nobody wrote", "r1@1-2", []error{ErrNotRegular}},
		{"one write", "w1@1-2 r1@3-4 R1@5-6", nil},
		{"a write is not seen", "w1@1-2 r-@3-4 R1@5-6", []error{ErrNotRegular}},
		{"a write is never seen", "w1@1-2 R-@5-6", []error{ErrNotRegular, ErrNotLinearizable}},
		{"a read during a write sees it", "w1@1-4 r1@2-3 R1@5-6", nil},
		{"a read during a write does not see it", "w1@1-4 r-@2-3 R1@5-6", nil},
		{"a read sees what is written later", "r1@1-2 w1@3-4 R1@5-6", []error{ErrNotRegular}},
		{"two pods see a write in two orders", "w1@1-2 w2@3-10 r2@4-5 r1@6-7 R2@11-12", nil},
		{"the later of two", "w1@1-2 w2@3-4 r2@5-6 R2@7-8", nil},
		{"the earlier of two", "w1@1-2 w2@3-4 R1@7-8", []error{ErrNotRegular, ErrNotLinearizable}},
		{"the earlier of two, for a while", "w1@1-2 w2@3-4 r1@5-6 R2@7-8", []error{ErrNotRegular}},
		{"either of two that were concurrent", "w1@1-4 w2@2-3 r1@5-6 r2@5-6 R1@7-8", nil},
		{"none of two that were concurrent", "w1@1-4 w2@2-3 R-@7-8", []error{ErrNotRegular, ErrNotLinearizable}},
		{"pods differ at rest", "w1@1-4 w2@2-3 R1@5-6 R2@7-8", []error{ErrNotAtRest, ErrNotLinearizable}},
		{"pods differ at rest, and one may", "w1@1-4 u2@2-3 R1@5-6 R2@7-8", []error{ErrNotAtRest}},
		{"a removal is lost", "w1@1-2 w-@3-4 r1@5-6 R1@7-8", []error{ErrNotRegular, ErrNotLinearizable}},
		{"a removal holds", "w1@1-2 w-@3-4 r-@5-6 R-@7-8", nil},
		{"a removal that may have come", "w1@1-2 u-@3-4 r-@5-6 r1@5-6 R1@7-8", nil},
		{"an unfinished write takes effect late", "u1@1-2 w2@3-4 r2@5-6 r1@7-8 R1@9-10", nil},
		{"an unfinished write never takes effect", "u1@1-2 w2@3-4 R2@9-10", nil},
		{"an unfinished write takes effect before its call", "w2@1-2 r1@3-4 u1@5-6 R1@9-10", []error{ErrNotRegular}},
		{"an unfinished write brings back an older value", "w1@1-2 w2@3-4 u3@5-6 R1@7-8", []error{ErrNotRegular, ErrNotLinearizable}},
		{"as many as fit", strings.Repeat("w1@1-2 ", 14) + "u2@1-2 u3@1-2 u4@1-2 u5@1-2 R1@7-8 R1@7-8", nil},
		{"too many", strings.Repeat("r-@1-2 ", 21), []error{ErrTooMany}},
		{"too many that are unfinished", strings.Repeat("u1@1-2 ", 5), []error{ErrTooMany}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := Check(parse(t, tt.ops))
			if (err == nil) != (tt.want == nil) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			for _, all := range []error{ErrTooMany, ErrNotLinearizable, ErrNotRegular, ErrNotAtRest} {
				wanted := false
				for _, want := range tt.want {
					wanted = wanted || errors.Is(want, all)
				}
				if errors.Is(err, all) != wanted {
					t.Errorf("got %v, want %v", err, tt.want)
				}
			}
		})
	}
}

// record records an operation without a duration, and reports whether there was room for it.
func record(r *Recorder, kind Kind, value string, rest int, keys ...Key) bool {
	call, ok := r.Begin(kind, Reserve{Operations: rest}, keys...)
	if ok {
		r.End(kind, &Operation{Kind: kind, By: "client", Value: value, Call: call}, keys...)
	}
	return ok
}

// One request can be for all channels of a user, and only one of them be wrong.
func TestRecorderJudgesEachKey(t *testing.T) {
	r := NewRecorder()
	left, right := Key{"u", "left"}, Key{"u", "right"}
	record(r, Write, "1", 0, left, right)
	record(r, Write, "", 0, left, right)
	record(r, RestRead, "", 0, left)
	record(r, RestRead, "1", 0, right)
	wrong := r.Check()
	if err := wrong[right]; len(wrong) != 1 || !errors.Is(err, ErrNotLinearizable) || !strings.Contains(err.Error(), `read at rest "1"`) {
		t.Errorf("got %v, want the right key alone", wrong)
	}
	if n := r.Count(Write); n != 4 {
		t.Errorf("%d writes, want 4", n)
	}
}

func TestRecorderHasRoomForWhatCanBeChecked(t *testing.T) {
	k := Key{"u", "c"}
	r := NewRecorder()
	for range MaxUnfinished - 1 {
		record(r, Unfinished, "1", 0, k)
	}
	if _, ok := r.Begin(Write, Reserve{Unfinished: 1}, k); ok {
		t.Error("room for a write in place of one to come")
	}
	if _, ok := r.Begin(Write, Reserve{}, k); !ok {
		t.Fatal("no room for the last write that can be unfinished")
	}
	if _, ok := r.Begin(Write, Reserve{}, k); ok {
		t.Error("room for a write that can be unfinished too")
	}
	r.End(Write, nil, k)
	for n := MaxUnfinished - 1; n < MaxOperations-2; n++ {
		if !record(r, Write, "1", 2, k) {
			t.Fatalf("no room after %d operations", n)
		}
	}
	if record(r, Write, "1", 2, k) {
		t.Error("room for an operation in place of two reads at rest")
	}
	for n, want := range []bool{true, true, false} {
		if got := record(r, RestRead, "1", 0, k); got != want {
			t.Errorf("room for read %d at rest: %v, want %v", n+1, got, want)
		}
	}
}
