package plugins

import (
	"path/filepath"
	"strings"
	"testing"

	assembler "github.com/rollcall-gateway/rollcall/internal/wat"
)

// wat compiles a module in the text format and returns its file. The flags are those of wat2wasm.
func wat(t testing.TB, text string, flags ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "guest.wasm")
	assembler.Compile(t, file, text, flags...)
	return file
}

// guest returns the text of a plugin: the parts that every plugin has, and the body. Its input is
// at 8192, 56 KiB long, in a memory of three pages; a larger input is at 65536.
func guest(body string, imports ...string) string {
	return `(module
		(import "rollcall" "log" (func $log (param i32 i32 i32)))
		(import "rollcall" "request" (func $request (param i32 i32) (result i32)))
		` + strings.Join(imports, "\n") + `
		(memory (export "memory") 3)
		(func (export "rollcall_abi_v1"))
		(func (export "rollcall_buffer") (param i32) (result i32)
			(if (result i32) (i32.le_u (local.get 0) (i32.const 57344)) (then (i32.const 8192))
				(else (if (result i32) (i32.le_u (local.get 0) (i32.const 131072)) (then (i32.const 65536)) (else (i32.const 0))))))
		` + body + `)`
}

// classifier returns a plugin with the given body of classify.
func classifier(body string) string {
	return guest(`(func (export "rollcall_classify") (param i32 i32) (result i64) ` + body + `)`)
}

func newEngine(t testing.TB, c EngineConfig) *Engine {
	t.Helper()
	e, err := NewEngine(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func load(t testing.TB, e *Engine, s Spec) *Plugin {
	t.Helper()
	p, err := e.Load(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Release)
	return p
}
