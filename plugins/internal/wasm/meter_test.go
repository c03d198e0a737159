package wasm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/rollcall-gateway/rollcall/internal/wat"
)

// assemble compiles the text format with wat2wasm of Debian's wabt.
func assemble(t testing.TB, text string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.wasm")
	wat.Compile(t, out, text, "--debug-names")
	file, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// metered checks and rewrites a file.
func metered(t testing.TB, file []byte) []byte {
	t.Helper()
	m, err := Check(file, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return m.Meter()
}

// guest is an instance of a metered module.
type guest struct {
	api.Module
	t testing.TB
}

func newRuntime(t testing.TB) wazero.Runtime {
	t.Helper()
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfig().WithMemoryLimitPages(defaultMemoryPages).
		WithCoreFeatures(api.CoreFeaturesV2))
	t.Cleanup(func() { r.Close(context.Background()) })
	return r
}

func start(t testing.TB, text string) *guest {
	t.Helper()
	r := newRuntime(t)
	_, err := r.NewHostModuleBuilder("host").NewFunctionBuilder().WithFunc(func() {}).Export("nothing").
		Instantiate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m, err := r.Instantiate(t.Context(), metered(t, assemble(t, text)))
	if err != nil {
		t.Fatal(err)
	}
	return &guest{m, t}
}

func (g *guest) set(name string, v int64) {
	g.t.Helper()
	global, ok := g.ExportedGlobal(name).(api.MutableGlobal)
	if !ok {
		g.t.Fatalf("%s is not an exported mutable global", name)
	}
	global.Set(uint64(v))
}

func (g *guest) get(name string) int64 { return int64(g.ExportedGlobal(name).Get()) }

// arm sets the budget of the next call.
func (g *guest) arm(budget int64) {
	g.t.Helper()
	slice := min(Slice, budget)
	g.set(SliceGlobal, slice)
	g.set(StepsGlobal, budget-slice)
}

// call calls run with a budget. It returns the result and the number of steps used.
func (g *guest) call(budget int64, args ...uint64) (result uint64, used int64, err error) {
	g.t.Helper()
	return g.callExport("run", budget, args...)
}

func (g *guest) callExport(name string, budget int64, args ...uint64) (result uint64, used int64, err error) {
	g.t.Helper()
	g.arm(budget)
	results, err := g.ExportedFunction(name).Call(g.t.Context(), args...)
	if len(results) > 0 {
		result = results[0]
	}
	return result, budget - g.get(SliceGlobal) - g.get(StepsGlobal), err
}

func TestMeterCountsSteps(t *testing.T) {
	straight := strings.Repeat("(drop (i32.const 1))", 500) // 1000 instructions
	tests := map[string]struct {
		text  string
		args  []uint64
		steps int64
	}{
		"an empty function":     {`(func (export "run"))`, nil, 1},
		"a call":                {`(func $f) (func (export "run") (call $f))`, nil, 2},
		"a call of an import":   {`(func (export "run") (call $nothing))`, nil, 1 + importSteps},
		"an import not reached": {`(func (export "run") (if (i32.const 0) (then (call $nothing))))`, nil, 1},
		"memory.grow":           {`(func (export "run") (drop (memory.grow (i32.const 1))))`, nil, 1 + growSteps},
		"a loop of ten turns":   {countdown, []uint64{10}, 11},
		"a loop of many slices": {countdown, []uint64{5 * Slice}, 5*Slice + 1},
		"nested loops":          {nested, []uint64{10}, 1 + 10 + 10*10},
		"recursion":             {recursion, []uint64{100}, 101},
		"straight code":         {`(func (export "run") ` + straight + `)`, nil, 1 + 1001/128},
		"straight code in turns": {
			`(func (export "run") (local $i i32) (local.set $i (i32.const 3)) (loop $l ` + straight + ` (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1))))))`,
			nil, 1 + 3*(1+1006/128),
		},
		"code behind a loop": {
			`(func (export "run") (local $i i32) (local.set $i (i32.const 3)) (loop $l (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1))))) ` + straight + `)`,
			nil, 1 + 1004/128 + 3,
		},
		"as many turns as are held":    {countdown, []uint64{turnsHeld}, turnsHeld + 1},
		"one turn more than is held":   {countdown, []uint64{turnsHeld + 1}, turnsHeld + 2},
		"two turns more than are held": {countdown, []uint64{turnsHeld + 2}, turnsHeld + 3},
		"turns of more steps than are held": {
			`(func (export "run") (local $i i32) (local.set $i (i32.const 3)) (loop $l ` + strings.Repeat(straight, 10) + ` (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1))))))`,
			nil, 1 + 3*(1+10006/128),
		},
		"turns with calls": {
			`(func $f (loop)) (func (export "run") (param $n i32)
				(loop $l (call $f) (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))`,
			[]uint64{10},
			1 + 10*3,
		},
		"turns around turns with calls": {
			`(func $f) (func (export "run") (param $n i32) (local $i i32)
				(loop $outer
					(local.set $i (i32.const 2))
					(loop (br_if 0 (i32.eqz (i32.const 1))))
					(loop $l (call $f) (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
					(br_if $outer (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))`,
			[]uint64{10},
			1 + 10*(1+1+2*2),
		},
		"a return from blocks in loops": {
			`(func (export "run") (result i32) (local $i i32)
				(loop $o (result i32) (loop $l
					(block (if (i32.eq (local.get $i) (i32.const 7)) (then (nop)) (else (br 1)))
						(return (i32.const 42)))
					(local.set $i (i32.add (local.get $i) (i32.const 1))) (br $l)) (unreachable)))`,
			nil, 1 + 1 + 8,
		},
		"a branch to the function": {
			`(func (export "run") (param $n i32) (result i32) (local.get $n)
				(loop $l (br_if 1 (local.get $n) (i32.eqz (local.get $n))) (drop)
					(local.set $n (i32.sub (local.get $n) (i32.const 1))) (br $l)))`,
			[]uint64{10},
			1 + 11,
		},
		"a br_table to the function": {
			`(func (export "run") (param $n i32)
				(loop $l (local.set $n (i32.sub (local.get $n) (i32.const 1)))
					(block (br_table 2 1 0 (i32.gt_s (local.get $n) (i32.const 0))) ) (unreachable)))`,
			[]uint64{10},
			1 + 10,
		},
		"several results": {
			`(func $f (param $n i32) (result i32 i64 f32)
				(loop $l (if (i32.eqz (local.get $n)) (then (return (i32.const 1) (i64.const 2) (f32.const 3))))
					(local.set $n (i32.sub (local.get $n) (i32.const 1))) (br $l))
				(unreachable))
			(func (export "run") (param i32) (result i32) (call $f (local.get 0)) (drop) (drop))`,
			[]uint64{10},
			1 + 1 + 11,
		},
		"a loop behind a return": {
			`(func (export "run") (return) (loop $l (br $l)))`,
			nil, 1,
		},
		"memory.fill": {
			`(func (export "run") (memory.fill (i32.const 0) (i32.const 1) (i32.const 8000)))`,
			nil, 1 + 1 + 1000,
		},
		"memory.fill of nothing": {
			`(func (export "run") (memory.fill (i32.const 0) (i32.const 1) (i32.const 0)))`,
			nil, 1 + 1,
		},
		"memory.copy": {
			`(func (export "run") (memory.copy (i32.const 0) (i32.const 9) (i32.const 64)))`,
			nil, 1 + 1 + 8,
		},
		"memory.init": {
			`(data $d "0123456789012345")
				(func (export "run") (memory.init $d (i32.const 0) (i32.const 0) (i32.const 16)))`,
			nil, 1 + 1 + 2,
		},
		"table.fill": {
			`(table $t 100 funcref)
				(func (export "run") (table.fill $t (i32.const 0) (ref.null func) (i32.const 100)))`,
			nil, 1 + 1 + 100,
		},
		"table.copy": {
			`(table $t 100 funcref)
				(func (export "run") (table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 9)))`,
			nil, 1 + 1 + 9,
		},
		"table.init": {
			`(table $t 100 funcref) (func $f) (elem $e func $f $f)
				(func (export "run") (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 2)))`,
			nil, 1 + 1 + 2,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := start(t, `(module (import "host" "nothing" (func $nothing)) (memory (export "memory") 1) `+test.text+`)`)
			_, used, err := g.call(1_000_000, test.args...)
			if err != nil {
				t.Fatal(err)
			}
			if used != test.steps {
				t.Errorf("%d steps, want %d", used, test.steps)
			}
			// A call may use its budget to the last step, but no more.
			if _, _, err = g.call(test.steps, test.args...); err != nil {
				t.Errorf("with a budget of just enough: %v", err)
			}
			if slice := g.get(SliceGlobal); slice < 0 {
				t.Errorf("%d steps left without a trap", slice)
			}
			_, used, err = g.call(test.steps-1, test.args...)
			if err == nil {
				t.Error("a budget that is one step short is enough")
			}
			if slice, steps := g.get(SliceGlobal), g.get(StepsGlobal); slice >= 0 || steps > 0 || used < test.steps {
				t.Errorf("out of budget after %d steps with slice %d, steps %d; want slice below and steps at zero",
					used, slice, steps)
			}
		})
	}
}

const (
	countdown = `(func (export "run") (param $n i32)
		(loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))`
	nested = `(func (export "run") (param $n i32) (local $i i32) (local $j i32)
		(local.set $i (local.get $n))
		(loop $outer
			(local.set $j (local.get $n))
			(loop $inner (br_if $inner (local.tee $j (i32.sub (local.get $j) (i32.const 1)))))
			(br_if $outer (local.tee $i (i32.sub (local.get $i) (i32.const 1))))))`
	recursion = `(func $f (export "run") (param $n i32)
		(if (local.get $n) (then (call $f (i32.sub (local.get $n) (i32.const 1))))))`
	endless = `(func (export "run") (loop $l (br $l)))`
)

func TestMeterEndsEveryCall(t *testing.T) {
	tests := map[string]string{
		"an endless loop":      endless,
		"a loop of bulk fills": `(func (export "run") (loop $l (memory.fill (i32.const 0) (i32.const 0) (i32.const 65536)) (br $l)))`,
		"a huge length":        `(func (export "run") (memory.fill (i32.const 0) (i32.const 0) (i32.const -1)))`,
		"endless recursion":    `(func $f (export "run") (call $f))`,
		"exponential recursion": `(func $f (param i32) (result i32) (if (result i32) (i32.lt_s (local.get 0) (i32.const 2)) (then (i32.const 1))
			(else (i32.add (call $f (i32.sub (local.get 0) (i32.const 1))) (call $f (i32.sub (local.get 0) (i32.const 2)))))))
			(func (export "run") (drop (call $f (i32.const 60))))`,
		"mutual recursion through a table": `(type $v (func)) (table 1 funcref) (elem (i32.const 0) $f)
			(func $f (call_indirect (type $v) (i32.const 0)) (call_indirect (type $v) (i32.const 0))) (func (export "run") (loop $l (call $f) (br $l)))`,
		"growing memory":   `(func (export "run") (loop $l (drop (memory.grow (i32.const 0))) (br $l)))`,
		"calling the host": `(func (export "run") (loop $l (call $nothing) (br $l)))`,
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			g := start(t, `(module (import "host" "nothing" (func $nothing)) (memory (export "memory") 1) `+text+`)`)
			const budget = 500_000
			_, used, err := g.call(budget)
			if err == nil || !strings.Contains(err.Error(), "unreachable") {
				t.Fatalf("error %v, want a trap", err)
			}
			if !strings.Contains(err.Error(), "rollcall.yield") {
				t.Errorf("the trace does not show where: %v", err)
			}
			if strings.Contains(name, "endless recursion") || strings.HasPrefix(name, "mutual") {
				if used > 2*maxDepth {
					t.Errorf("%d steps were used: the stack is deeper than %d", used, maxDepth)
				}
				return
			}
			if name != "a huge length" && used > budget+Slice || used <= budget {
				t.Errorf("%d steps used of %d", used, budget)
			}
		})
	}
}

func TestMeterTellsOtherTrapsFromTheBudget(t *testing.T) {
	g := start(t, `(module (memory (export "memory") 1) (func (export "run") (unreachable)))`)
	_, used, err := g.call(1)
	if err == nil || used != 1 || g.get(SliceGlobal) < 0 {
		t.Errorf("error %v, %d steps, slice %d; want a trap with the slice not below zero", err, used, g.get(SliceGlobal))
	}
}

// A trap loses the steps that the function has not charged yet. This test shows how many.
func TestMeterHoldsFewSteps(t *testing.T) {
	g := start(t, `(module (memory (export "memory") 1) (func (export "run") (param $n i32)
		(loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))) (unreachable)))`)
	most := int64(0)
	for turns := int64(1); turns < 5*turnsHeld; turns++ {
		_, used, err := g.call(1_000_000, uint64(turns))
		if err == nil {
			t.Fatal("no trap")
		}
		most = max(most, 1+turns-used)
	}
	if most != turnsHeld {
		t.Errorf("up to %d steps were held, want %d", most, turnsHeld)
	}
}

// No code of a metered module runs before the host has armed it: its start function is an export.
func TestMeterMakesTheStartFunctionAnExport(t *testing.T) {
	const text = `(module (memory (export "memory") 1) (global $ran (export "ran") (mut i32) (i32.const 0))
		(func $s (global.set $ran (i32.const 1)) %s) (start $s))`
	for name, test := range map[string]struct {
		body   string
		budget int64
		traps  bool
	}{
		"one that returns":     {``, 1, false},
		"one without a budget": {``, 0, true},
		"one that loops":       {`(loop $l (br $l))`, 100_000, true},
		"one that traps":       {`(unreachable)`, 100_000, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, fmt.Sprintf(text, test.body))
			if ran := g.get("ran"); ran != 0 {
				t.Fatal("instantiating the module runs its start function")
			}
			_, used, err := g.callExport(StartFunction, test.budget)
			if (err != nil) != test.traps || used > test.budget+Slice {
				t.Errorf("error %v after %d steps of %d", err, used, test.budget)
			}
		})
	}
}

func TestMeterLetsAWatchdogEndTheStartFunction(t *testing.T) {
	g := start(t, `(module (memory (export "memory") 1) (func $s (loop $l (br $l))) (start $s))`)
	if err := g.watched(StartFunction, g.endFromOutside); err == nil || g.get(SliceGlobal) >= 0 {
		t.Errorf("error %v, slice %d", err, g.get(SliceGlobal))
	}
}

// endFromOutside stores 0 in the steps of a guest until its call has ended.
func (g *guest) endFromOutside(ended <-chan struct{}) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
			g.set(StepsGlobal, 0)
		}
	}
}

// callWatched calls run without a limit, while a watchdog runs.
func (g *guest) callWatched(watchdog func(ended <-chan struct{})) error {
	g.t.Helper()
	return g.watched("run", watchdog)
}

func (g *guest) watched(export string, watchdog func(ended <-chan struct{})) error {
	g.t.Helper()
	g.arm(1 << 60)
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		watchdog(ended)
	}()
	_, err := g.ExportedFunction(export).Call(g.t.Context())
	close(ended)
	<-done
	return err
}

func TestMeterLetsAWatchdogEndACall(t *testing.T) {
	g := start(t, `(module (memory (export "memory") 1) `+endless+`)`)
	began := time.Now()
	err := g.callWatched(g.endFromOutside)
	if err == nil || g.get(SliceGlobal) >= 0 || g.get(StepsGlobal) > 0 {
		t.Errorf("error %v, slice %d, steps %d", err, g.get(SliceGlobal), g.get(StepsGlobal))
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("ended after %v", took)
	}
}

func TestMeterDoesNotHoldUpTheGarbageCollector(t *testing.T) {
	g := start(t, `(module (memory (export "memory") 1) `+endless+`)`)
	collections := 0
	err := g.callWatched(func(ended <-chan struct{}) {
		for range 10 {
			runtime.GC()
			select {
			case <-ended:
				return
			default:
				collections++
			}
		}
		g.endFromOutside(ended)
	})
	if err == nil || collections != 10 {
		t.Errorf("error %v after %d collections, want a trap after 10", err, collections)
	}
}
