package wasm

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// BenchmarkMeterGoGuest meters a guest of the standard Go toolchain, 1.8 MB.
func BenchmarkMeterGoGuest(b *testing.B) {
	dir := b.TempDir()
	const source = "package main\n\n//go:wasmexport run\nfunc run(n int32) int32 { return n + 1 }\n\nfunc main() {}\n"
	for name, content := range map[string]string{"main.go": source, "go.mod": "module guest\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	build := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", "guest.wasm", ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	file, err := os.ReadFile(filepath.Join(dir, "guest.wasm"))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	grown := 0
	for b.Loop() {
		grown = len(metered(b, file)) - len(file)
	}
	b.ReportMetric(100*float64(grown)/float64(len(file)), "%growth")
}

// BenchmarkCall compares a call of a small function and a loop of 1,000 turns, unmetered and
// metered.
func BenchmarkCall(b *testing.B) {
	file := assemble(b, `(module (memory (export "memory") 1)
		(func (export "add") (param i32) (result i32) (i32.add (local.get 0) (i32.load (i32.const 8))))
		(func (export "loop") (param $n i32) (result i32) (local $sum i32)
			(loop $l
				(local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $n))))
				(br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
			(local.get $sum)))`)
	for _, side := range []struct {
		name string
		file []byte
	}{{"original", file}, {"metered", metered(b, file)}} {
		r := newRuntime(b)
		m, err := r.InstantiateWithConfig(b.Context(), side.file, wazero.NewModuleConfig())
		if err != nil {
			b.Fatal(err)
		}
		if side.name == "metered" {
			m.ExportedGlobal(StepsGlobal).(api.MutableGlobal).Set(1 << 60)
		}
		for _, export := range []string{"add", "loop"} {
			b.Run(export+"/"+side.name, func(b *testing.B) {
				f := m.ExportedFunction(export)
				stack := make([]uint64, 1)
				b.ReportAllocs()
				for b.Loop() {
					stack[0] = 1_000
					if err := f.CallWithStack(b.Context(), stack); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
