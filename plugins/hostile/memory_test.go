package hostile

import (
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// TestMemoryIsBoundedByTheEngine makes guests of many hosts use all the memory that they can get
// from an engine that has less.
func TestMemoryIsBoundedByTheEngine(t *testing.T) {
	const most, hosts = 64 << 20, 50
	e := newEngine(t, plugins.EngineConfig{Memory: most})
	g := guest{classify: `(loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
		(memory.fill (i32.const 0x200000) (i32.const 1) (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 0x200000)))`}
	l := stepLimits
	l.ClassifyBudget = 100_000_000
	p := load(t, e, plugins.Spec{Path: g.file(t), Limits: l})
	before := resident(t)
	worked := 0
	for i := range hosts {
		d, err := p.chain.Classify(fmt.Sprintf("h%d.example.com", i), "room!", plugins.Authenticated)
		switch {
		case err == nil && d.Kind == plugins.Anonymous:
			worked++
		default:
			t.Fatalf("host %d: %+v, %v", i, d, err)
		}
		if n := memory(e); n > most {
			t.Fatalf("instances have %d bytes, the engine has %d", n, most)
		}
	}
	if worked != hosts {
		t.Errorf("%d of %d hosts worked, although the instances of others are idle", worked, hosts)
	}
	p.Release()
	settled(t, e)
	if n := resident(t) - before; n > 48<<20 {
		t.Errorf("%d MiB more than before are in use after the release", n>>20)
	}
	// Freed memory is available again.
	q := load(t, e, plugins.Spec{Path: guest{classify: nothing}.file(t), Limits: stepLimits})
	await(t, q.chain, plugins.HookClassify)
}

// TestMemoryThatGrowsWithEachCallStaysBelowTheLimit creeps up to the limit of an instance, and
// fails to exceed it.
func TestMemoryThatGrowsWithEachCallStaysBelowTheLimit(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	g := guest{classify: `(drop (memory.grow (i32.const 1)))`}
	p := load(t, e, plugins.Spec{Path: g.file(t), Limits: stepLimits})
	for i := range 2000 {
		if got := ask(t, p.chain, plugins.HookClassify, host, true); got.err != nil || got.text != "anonymous" {
			t.Fatalf("call %d: got %q and %v", i, got.text, got.err)
		}
		if n := memory(e); n > int64(stepLimits.Instances)*plugins.DefaultMemory {
			t.Fatalf("instances have %d bytes after call %d", n, i)
		}
	}
}

// TestFailuresDoNotUseUpMemory fails again and again in the costliest ways: with a deep stack, and
// with all memory touched.
func TestFailuresDoNotUseUpMemory(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	l := stepLimits
	l.ClassifyBudget = 100_000_000
	for name, g := range map[string]guest{
		"stack": {
			fields:   `(func $again (param i64) (result i64) (i64.add (call $again (local.get 0)) (local.get 0)))`,
			classify: `(drop (call $again (i64.const 1)))`,
		},
		"memory": {classify: `(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
			(memory.fill (i32.const 0x200000) (i32.const 1) (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 0x200000)))
			(unreachable)`},
	} {
		t.Run(name, func(t *testing.T) {
			p := load(t, e, plugins.Spec{Path: g.file(t), Limits: l})
			var first int64
			for i := range 5 + int(fewer(20)) {
				// One host per call, because the breaker would soon answer for a single host.
				if _, err := p.chain.Classify(fmt.Sprintf("h%d.example.com", i), "room!", plugins.Authenticated); err == nil {
					t.Fatal("the call succeeds")
				}
				if i == 4 {
					first = resident(t)
				}
			}
			if n := resident(t) - first; n > 128<<20 {
				t.Errorf("%d MiB more are in use after more failures", n>>20)
			}
			p.Release()
		})
	}
	settled(t, e)
}

// resident returns the physical memory of the process after a garbage collection, in bytes.
func resident(t *testing.T) int64 {
	t.Helper()
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n * int64(os.Getpagesize())
}

// TestGuestsThatTurnBadAreReplaced has a guest that behaves for a thousand calls, and then
// misbehaves in different ways.
func TestGuestsThatTurnBadAreReplaced(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	for name, bad := range map[string]string{
		"loop":       `(loop $l (br $l))`,
		"trap":       `(unreachable)`,
		"exit":       `(call $proc_exit (i32.const 1))`,
		"bad result": returns(^uint64(0)),
		"log":        `(loop $l (call $log (i32.const 3) (i32.const 65536) (i32.const 100)) (br $l))`,
	} {
		t.Run(name, func(t *testing.T) {
			g := guest{fields: `(global $n (mut i32) (i32.const 0))`, classify: `
				(global.set $n (i32.add (global.get $n) (i32.const 1)))
				(if (i32.gt_u (global.get $n) (i32.const 1000)) (then ` + bad + `))`}
			l := stepLimits
			l.Instances = 1
			p := load(t, e, plugins.Spec{Path: g.file(t), Limits: l})
			failed := 0
			start := time.Now()
			for range 3500 {
				got := ask(t, p.chain, plugins.HookClassify, host, true)
				if got.err != nil {
					failure(t, got.err, plugins.HookClassify, budget, trap, exit, badness)
					failed++
					await(t, p.chain, plugins.HookClassify)
				}
			}
			if failed != 3 {
				t.Errorf("%d of 3,500 calls failed, want 3", failed)
			}
			if d := time.Since(start); d > patience {
				t.Errorf("it took %s", d)
			}
		})
	}
}
