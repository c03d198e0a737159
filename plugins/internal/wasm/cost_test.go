package wasm

import (
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// kernels are typical inner loops of plugins. Each exports run, whose parameter is the number of
// turns.
var kernels = map[string]string{
	"loop": `(func (export "run") (param $n i32) (result i32) (local $sum i32)
		(loop $l
			(local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $n))))
			(br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
		(local.get $sum))`,
	"bytes copied and hashed": `(func (export "run") (param $n i32) (result i32) (local $i i32) (local $c i32) (local $h i32)
		(loop $next
			(if (i32.lt_u (local.get $i) (local.get $n)) (then
				(local.set $c (i32.load8_u (local.get $i)))
				(if (i32.eq (local.get $c) (i32.const 64)) (then (local.set $c (i32.const 42))))
				(local.set $h (i32.xor (i32.mul (local.get $h) (i32.const 31)) (local.get $c)))
				(i32.store8 (i32.add (i32.const 32768) (local.get $i)) (local.get $c))
				(local.set $i (i32.add (local.get $i) (i32.const 1)))
				(br $next))))
		(local.get $h))`,
	"nested loops": `(func (export "run") (param $n i32) (result i32) (local $j i32) (local $h i32)
		(loop $outer
			(local.set $j (i32.const 8))
			(loop $inner
				(local.set $h (i32.xor (i32.mul (local.get $h) (i32.const 31)) (i32.load8_u (local.get $j))))
				(br_if $inner (local.tee $j (i32.sub (local.get $j) (i32.const 1)))))
			(br_if $outer (local.tee $n (i32.sub (local.get $n) (i32.const 8)))))
		(local.get $h))`,
	"calls": `(func $f (param i32) (result i32) (i32.add (i32.load8_u (local.get 0)) (i32.const 3)))
		(func (export "run") (param $n i32) (result i32) (local $h i32)
			(loop $l
				(local.set $h (i32.add (local.get $h) (call $f (local.get $n))))
				(br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
			(local.get $h))`,
	"calls of short loops": `(func $f (param i32) (result i32) (local $j i32) (local $h i32)
			(local.set $j (i32.const 4))
			(loop $inner
				(local.set $h (i32.add (local.get $h) (i32.load8_u (i32.add (local.get 0) (local.get $j)))))
				(br_if $inner (local.tee $j (i32.sub (local.get $j) (i32.const 1)))))
			(local.get $h))
		(func (export "run") (param $n i32) (result i32) (local $h i32)
			(loop $l
				(local.set $h (i32.add (local.get $h) (call $f (local.get $n))))
				(br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 4)))))
			(local.get $h))`,
	"recursion": `(func $f (param i32) (result i32) (if (result i32) (i32.lt_s (local.get 0) (i32.const 2)) (then (i32.const 1))
			(else (i32.add (call $f (i32.sub (local.get 0) (i32.const 1))) (call $f (i32.sub (local.get 0) (i32.const 2)))))))
		(func (export "run") (param $n i32) (result i32) (call $f (i32.const 14)))`,
}

// BenchmarkCost measures the slowdown of each kernel by metering: "x" is the ratio of the shortest
// times of short alternating runs, so that a busy machine changes it little.
func BenchmarkCost(b *testing.B) {
	for name, text := range kernels {
		file := assemble(b, `(module (memory (export "memory") 1) `+text+`)`)
		var calls [2]func()
		for i, f := range [][]byte{file, metered(b, file)} {
			m, err := newRuntime(b).InstantiateWithConfig(b.Context(), f, wazero.NewModuleConfig())
			if err != nil {
				b.Fatal(err)
			}
			if i == 1 {
				m.ExportedGlobal(StepsGlobal).(api.MutableGlobal).Set(1 << 60)
			}
			run, stack := m.ExportedFunction("run"), make([]uint64, 1)
			calls[i] = func() {
				stack[0] = 1_000
				if err := run.CallWithStack(b.Context(), stack); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.Run(name, func(b *testing.B) {
			const batch = 100
			least := [2]time.Duration{1 << 62, 1 << 62}
			for b.Loop() {
				for i, call := range calls {
					began := time.Now()
					for range batch {
						call()
					}
					least[i] = min(least[i], time.Since(began))
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(least[0].Nanoseconds())/batch, "ns-original")
			b.ReportMetric(float64(least[1].Nanoseconds())/batch, "ns-metered")
			b.ReportMetric(float64(least[1])/float64(least[0]), "x")
		})
	}
}
