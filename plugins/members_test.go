package plugins

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// Guests for members. Each gets a batch and reads only what the host sends.
const (
	// emptied leaves out users whose ID starts with "x", by emptying their records in a copy of the
	// batch.
	emptied = `(func (export "rollcall_members") (param $e i32) (param $p i32) (param $n i32) (result i64)
		(local $o i32) (local $end i32) (local $l i32)
		(local.set $o (i32.const 131072)) (local.set $end (i32.add (local.get $p) (local.get $n)))
		(block $done (loop $next
			(br_if $done (i32.ge_u (local.get $p) (local.get $end)))
			(local.set $l (i32.load (local.get $p)))
			(if (i32.eq (i32.load8_u (i32.add (local.get $p) (i32.const 12))) (i32.const 120))
				(then (i32.store (local.get $o) (i32.const 0)) (local.set $o (i32.add (local.get $o) (i32.const 4))))
				(else
					(memory.copy (local.get $o) (local.get $p) (i32.add (local.get $l) (i32.const 4)))
					(local.set $o (i32.add (local.get $o) (i32.add (local.get $l) (i32.const 4))))))
			(local.set $p (i32.add (local.get $p) (i32.add (local.get $l) (i32.const 4))))
			(br $next)))
		(i64.or (i64.shl (i64.const 131072) (i64.const 32)) (i64.extend_i32_u (i32.sub (local.get $o) (i32.const 131072)))))`
	unchanged = `(func (export "rollcall_members") (param i32 i32 i32) (result i64) (i64.const 0))`
)

// answers returns a guest whose members always returns the given bytes.
func answers(data string, size int) string {
	return guest(fmt.Sprintf(`(data (i32.const 1024) "%s")
		(func (export "rollcall_members") (param i32 i32 i32) (result i64) (i64.const 0x400%08x))`, data, size))
}

func users(n int, id func(int) string) func() (User, bool) {
	i := 0
	return func() (User, bool) {
		if i == n {
			return User{}, false
		}
		i++
		return User{ID: id(i - 1), Email: fmt.Sprintf("user%d@example.com", i-1)}, true
	}
}

func collect(m *Members) (list []string, err error) {
	for {
		object, err := m.Next()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return list, err
		}
		if object == nil {
			list = append(list, "-")
		} else {
			list = append(list, string(object))
		}
	}
}

func TestMembersLeavesOutEmptyRecordsBeforeTheNextPlugin(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	first := load(t, e, Spec{Path: wat(t, guest(emptied))})
	second := load(t, e, Spec{Path: wat(t, guest(unchanged))})
	ids := []string{"x1", "a", "x2", "x3", "b\"", "x4"}
	for name, c := range map[string]*Chain{"one": NewChain(first), "two": NewChain(first, second), "swapped": NewChain(second, first)} {
		got, err := collect(c.Members(t.Context(), EndpointUsers, "h", nil, users(len(ids), func(i int) string { return ids[i] })))
		want := []string{"-", `{"id":"a","email":"user1@example.com"}`, "-", "-", `{"id":"b\"","email":"user4@example.com"}`, "-"}
		if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

func TestMembersWithoutPluginsReturnsTheUsers(t *testing.T) {
	var none *Chain
	got, err := collect(none.Members(t.Context(), EndpointUsers, "h", nil, users(600, func(int) string { return "x" })))
	if err != nil || len(got) != 600 || got[599] != `{"id":"x","email":"user599@example.com"}` {
		t.Errorf("got %d users, %v", len(got), err)
	}
}

func TestMembersRefusesBrokenResults(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	for name, test := range map[string]struct{ text, says string }{
		"too few":          {answers(`\00\00\00\00`, 4), "1 record for 2 users"},
		"too many":         {answers(strings.Repeat(`\00`, 12), 12), "more records than 2 users"},
		"half a length":    {answers(`\00\00\00\00\00`, 5), "too early"},
		"long record":      {answers(`\ff\ff\ff\ff`, 4), "too early"},
		"outside":          {answers(``, 0x7fffffff), "not in the memory"},
		"long key":         {answers(`\02\00\00\00\09a\00\00\00\00`, 10), "key of 9 bytes"},
		"unknown type":     {answers(`\07\00\00\00\01a\03\00\00\00\00\00\00\00\00`, 15), "has type 3"},
		"not JSON":         {answers(`\08\00\00\00\01a\02\01\00\00\00}\00\00\00\00`, 16), "not a JSON value"},
		"key twice":        {answers(`\0e\00\00\00\01a\01\00\00\00\00\01a\01\00\00\00\00\00\00\00\00`, 22), "occurs twice"},
		"key is not UTF-8": {answers(`\07\00\00\00\01\ff\01\00\00\00\00\00\00\00\00`, 15), "not UTF-8"},
		"more than allowed": {guest(`(func (export "rollcall_members") (param i32 i32 i32) (result i64)
			(drop (memory.grow (i32.const 32))) (i64.const 0x200000))`), "at most 1048576 are allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			p := load(t, e, Spec{Path: wat(t, test.text)})
			_, err := collect(NewChain(p).Members(t.Context(), EndpointUsers, "h", nil, users(2, func(int) string { return "a" })))
			var failure *Error
			if !errors.As(err, &failure) || failure.Reason != ReasonBadResult || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %q", err, test.says)
			}
			passing := load(t, e, Spec{Path: p.Path(), OnFailure: Pass})
			got, err := collect(NewChain(passing).Members(t.Context(), EndpointUsers, "h", nil, users(2, func(int) string { return "a" })))
			if err != nil || len(got) != 2 || got[1] != `{"id":"a","email":"user1@example.com"}` {
				t.Errorf("pass: got %v, %v", got, err)
			}
		})
	}
}

func TestMembersRefusesAUserWhoIsTooLarge(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	p := load(t, e, Spec{Path: wat(t, guest(unchanged))})
	long := strings.Repeat("a", batchBytes)
	got, err := collect(NewChain(p).Members(t.Context(), EndpointUsers, "h", nil, users(3, func(i int) string { return []string{"a", long, "b"}[i] })))
	var failure *Error
	if !errors.As(err, &failure) || failure.Reason != ReasonTooLarge || len(got) != 1 {
		t.Errorf("got %d users, %v", len(got), err)
	}
}

func TestMembersPasses100000UsersInBoundedMemory(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	p := load(t, e, Spec{Path: wat(t, guest(emptied))})
	m := NewChain(p).Members(t.Context(), EndpointUsers, "h", nil, users(100_000, func(i int) string {
		if i%2 == 0 {
			return "x"
		}
		return "a"
	}))
	shown := 0
	for {
		object, err := m.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if object != nil {
			shown++
		}
		if held := cap(m.batch) + cap(m.spare) + cap(m.objects); held > 512<<10 {
			t.Fatalf("%d bytes are held", held)
		}
	}
	if shown != 50_000 {
		t.Errorf("%d users were shown", shown)
	}
}
