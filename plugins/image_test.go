package plugins

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// bothWays calls f with an engine whose plugins all have images, where the system has them, and
// with one whose plugins have none. It compares the results.
func bothWays(t *testing.T, f func(e *Engine) string) {
	t.Helper()
	with := newEngine(t, EngineConfig{})
	with.imageFrom = 1
	without := newEngine(t, EngineConfig{WithoutImages: true})
	want := f(without)
	if got := f(with); got != want {
		t.Errorf("with an image: %s\nwithout: %s", got, want)
	}
}

// With the race detector on a busy machine, a plugin compiles for a minute.
func init() { compileTimeout = 10 * time.Minute }

// TestHostileDataIsTheSameWithAnImage gives each of two hosts its own memory, and damages it.
func TestHostileDataIsTheSameWithAnImage(t *testing.T) {
	// Classify returns whether the sum of all bytes is the same as before the last call, which
	// wrote to all of them.
	const sums = `(global $last (mut i32) (i32.const 0))
		(func $sum (result i32) (local $at i32) (local $sum i32)
			(loop $l
				(local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31)) (i32.load8_u (local.get $at))))
				(br_if $l (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 196608))))
			(local.get $sum))
		(func (export "rollcall_classify") (param i32 i32) (result i64) (local $sum i32)
			(memory.fill (i32.const 8192) (i32.const 0) (i32.const 57344)) %s
			(local.set $sum (call $sum))
			(call $log (i32.const 2) (i32.const 0) (i32.const 16))
			(memory.fill (i32.const 0) (i32.const 88) (i32.const 196608))
			(i64.extend_i32_u (i32.and (local.get $sum) (i32.const 3))))`
	for name, test := range map[string]struct{ data, code string }{
		"overlapping":           {`(data (i32.const 4) "abcdef") (data (i32.const 6) "XY") (data (i32.const 2) "zzz")`, ""},
		"the last bytes":        {`(data (i32.const 196605) "end") (data (i32.const 0) "begin")`, ""},
		"sparse":                {`(data (i32.const 100000) "a") (data (i32.const 150000) "b") (data (i32.const 3) "c")`, ""},
		"empty":                 {`(data (i32.const 196608) "") (data (i32.const 7) "a")`, ""},
		"out of range":          {`(data (i32.const 196606) "end") (data (i32.const 0) "begin")`, ""},
		"far out of range":      {`(data (i32.const -1) "x")`, ""},
		"passive":               {`(data "nobody names it") (data (i32.const 1) "a")`, ""},
		"passive, copied":       {`(data $p "passive") (data (i32.const 1) "a")`, `(memory.init $p (i32.const 20) (i32.const 0) (i32.const 7))`},
		"active, copied again":  {`(data $p (i32.const 1) "a")`, `(memory.init $p (i32.const 20) (i32.const 0) (i32.const 1))`},
		"dropped":               {`(data $p (i32.const 1) "a")`, `(data.drop $p)`},
		"as many as 200 little": {strings.Repeat(`(data (i32.const 70000) "q") (data (i32.const 5) "r")`, 100), ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := wat(t, guest(fmt.Sprintf(sums, test.code)+test.data))
			bothWays(t, func(e *Engine) string {
				said := ""
				p, err := e.Load(t.Context(), Spec{Path: file, Limits: Limits{Instances: 1, ClassifyBudget: maxBudget, ClassifyTimeout: time.Minute}})
				if err != nil {
					return strings.ReplaceAll(err.Error(), file, "FILE")
				}
				defer p.Release()
				c := NewChain(p)
				for i := range 4 {
					d, err := c.Classify(fmt.Sprint("h", i%2), "c", Authenticated)
					said += fmt.Sprintf("%+v %v\n", d, err)
				}
				return said
			})
		})
	}
}

// An image is the memory before any code has run. Otherwise, all hosts would have the same random
// numbers.
func TestInstancesOfAnImageRunTheirOwnStart(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	e.imageFrom = 1
	p := load(t, e, Spec{Path: wat(t, guest(`(data (i32.const 64) "image") (start $start)
		(func $start (i32.store8 (i32.const 69) (i32.const 33)) (drop (call $random (i32.const 80) (i32.const 16))))
		(func (export "rollcall_classify") (param i32 i32) (result i64) (i64.const 1))`,
		`(import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))`))})
	seen := make(map[string]bool)
	for i := range 5 {
		pool := p.anchor.pool(fmt.Sprint("h", i))
		s, f := pool.tryAcquire(t.Context())
		if f != nil {
			t.Fatal(f)
		}
		if got := string(s.instance.linear.Bytes()[64:70]); got != "image!" {
			t.Errorf("the memory of host %d has %q", i, got)
		}
		seen[string(s.instance.linear.Bytes()[80:96])] = true
		pool.freeSlot(s, slotIdle)
	}
	if len(seen) != 5 {
		t.Errorf("%d random numbers for 5 hosts", len(seen))
	}
}

func TestAnImageIsChargedOnce(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	e.imageFrom = 1
	file := wat(t, guest(`(data (i32.const 64) "image") (func (export "rollcall_classify") (param i32 i32) (result i64) (i64.const 1))`))
	a, b := load1(t, e, Spec{Path: file, Name: "a"}), load1(t, e, Spec{Path: file, Name: "b"})
	image := e.Report()[0].Image // none, except on Linux
	if e.memory.Used() != image || e.Report()[1].Image != image {
		t.Errorf("%d bytes are in use, the image has %d", e.memory.Used(), image)
	}
	if err := a.Try(t.Context(), "h"); err != nil || e.memory.Used() != image+3*pageSize {
		t.Errorf("%d bytes are in use, %v", e.memory.Used(), err)
	}
	a.Release()
	b.Release()
	await(t, "the image to be freed", func() bool {
		runtime.GC()
		return e.memory.Used() == 0
	})
}
