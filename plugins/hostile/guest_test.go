package hostile

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rollcall-gateway/rollcall/internal/wat"
)

// guest is a module in parts. The zero value is a good plugin without hooks.
type guest struct {
	// fields are further fields of the module: functions, tables, data, but not imports.
	fields string
	// memory replaces the memory of 2 MiB, which may grow as far as the host allows.
	memory string
	// start, initialize and configure are statements; if empty, the function is absent.
	start, initialize, configure string
	// buffer is a statement that runs before rollcall_buffer returns an address with room for 1
	// MiB.
	buffer string
	// classify and the others are statements that run when the input ends in a space or an
	// exclamation mark; for connect, before its brace. After them, and for any other input, the
	// hook is benign: the channel is anonymous, joins are denied, all e-mail addresses are masked,
	// the answer and the message are {"shaped":true}, the info of a user is {}. With the statement
	// nothing, the hook is always benign. If empty, the hook is not exported.
	classify, authorize, members, shape, connect, message string
}

// nothing is a statement without effect.
const nothing = "(nop)"

// imports are nearly all functions that a plugin may import.
const imports = `
  (import "rollcall" "log" (func $log (param i32 i32 i32)))
  (import "rollcall" "request" (func $request (param i32 i32) (result i32)))
  (import "rollcall" "kv_get" (func $kv_get (param i32 i32 i32 i32) (result i64)))
  (import "rollcall" "kv_set" (func $kv_set (param i32 i32 i32 i32 i64) (result i32)))
  (import "rollcall" "kv_add" (func $kv_add (param i32 i32 i64 i64) (result i64)))
  (import "rollcall" "count" (func $count (param i32 i32 i64)))
  (import "env" "abort" (func $abort (param i32 i32 i32 i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $fd_prestat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $path_open
    (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sched_yield" (func $sched_yield (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
`

// locals are the locals that statements may use.
const locals = `(local $i i32) (local $j i32) (local $n i64) (local $x f64)`

// bufferAddress is the result of rollcall_buffer. The guest uses the bytes below it, except for the
// first 64.
const bufferAddress = 65_536

// frame is the benign part of each guest. $bad reports whether the input ends in a space or an
// exclamation mark; $mask overwrites the addresses of a batch and returns it; $slice encodes a
// result.
const frame = `
  (data (i32.const 16) "{\"shaped\":true}")
  (data (i32.const 40) "{\"info\":{}}")
  (func (export "rollcall_abi_v1"))
  (func $slice (param $ptr i32) (param $len i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $ptr)) (i64.const 32)) (i64.extend_i32_u (local.get $len))))
  (func $bad (param $ptr i32) (param $len i32) (result i32) (local $c i32)
    (if (i32.eqz (local.get $len)) (then (return (i32.const 0))))
    (local.set $c (i32.load8_u (i32.sub (i32.add (local.get $ptr) (local.get $len)) (i32.const 1))))
    (i32.or (i32.eq (local.get $c) (i32.const 0x20)) (i32.eq (local.get $c) (i32.const 0x21))))
  (func $mask (param $ptr i32) (param $len i32) (result i64)
    (local $p i32) (local $end i32) (local $stop i32) (local $k i32) (local $v i32)
    (local.set $p (local.get $ptr))
    (local.set $end (i32.add (local.get $ptr) (local.get $len)))
    (block $done (loop $records
      (br_if $done (i32.ge_u (local.get $p) (local.get $end)))
      (local.set $stop (i32.add (i32.add (local.get $p) (i32.const 4)) (i32.load (local.get $p))))
      (local.set $p (i32.add (local.get $p) (i32.const 4)))
      (block $next (loop $fields
        (br_if $next (i32.ge_u (local.get $p) (local.get $stop)))
        (local.set $k (i32.load8_u (local.get $p)))
        (local.set $v (i32.add (i32.add (local.get $p) (i32.const 2)) (local.get $k)))
        (if (i32.and (i32.eq (local.get $k) (i32.const 5))
            (i32.eq (i32.load offset=1 (local.get $p)) (i32.const 0x69616d65))) ;; emai
          (then (memory.fill (i32.add (local.get $v) (i32.const 4)) (i32.const 0x2a) (i32.load (local.get $v)))))
        (local.set $p (i32.add (i32.add (local.get $v) (i32.const 4)) (i32.load (local.get $v))))
        (br $fields)))
      (br $records)))
    (call $slice (local.get $ptr) (local.get $len)))
`

// text returns the module in the text format.
func (g guest) text() string {
	var b strings.Builder
	b.WriteString("(module")
	b.WriteString(imports)
	if g.memory == "" {
		g.memory = `(memory (export "memory") 32)`
	}
	b.WriteString(g.memory + frame)
	write := func(name, params, body, result string) {
		if body != "" {
			b.WriteString("  (func (export \"" + name + "\") " + params + " " + locals + "\n    " + body + "\n    " + result + ")\n")
		}
	}
	write("rollcall_buffer", "(param $size i32) (result i32)", nothing+g.buffer, `(select
      (i32.const 65536) (i32.const 0) (i32.le_u (local.get $size) (i32.const 0x100000)))`)
	write("_initialize", "", g.initialize, "")
	write("rollcall_configure", "(param $ptr i32) (param $len i32) (result i32)", g.configure, "(i32.const 0)")
	hook := func(name, params, body, result string) {
		if body != "" {
			body = "(if (call $bad (local.get $ptr) (local.get $len)) (then " + body + "))"
		}
		write(name, params+" (param $ptr i32) (param $len i32) (result i64)", body, result)
	}
	hook("rollcall_classify", "", g.classify, "(i64.const 2)")
	hook("rollcall_authorize", "", g.authorize, "(i64.const 1)")
	hook("rollcall_members", "(param $endpoint i32)", g.members, "(call $mask (local.get $ptr) (local.get $len))")
	hook("rollcall_shape", "(param $endpoint i32)", g.shape, "(call $slice (i32.const 16) (i32.const 15))")
	hook("rollcall_message", "", g.message, "(call $slice (i32.const 16) (i32.const 15))")
	if g.connect != "" { // the input ends in a brace
		g.connect = "(if (call $bad (local.get $ptr) (i32.sub (local.get $len) (i32.const 1))) (then " + g.connect + "))"
	}
	write("rollcall_connect", "(param $ptr i32) (param $len i32) (result i64)", g.connect, "(call $slice (i32.const 40) (i32.const 11))")
	b.WriteString(g.fields)
	if g.start != "" {
		b.WriteString("  (func $start " + locals + g.start + ")\n  (start $start)\n")
	}
	b.WriteString(")\n")
	return b.String()
}

// file writes the module to a file and returns its path. Equal guests share a path.
func (g guest) file(t testing.TB) string {
	t.Helper()
	return assemble(t, g.text())
}

// assembled maps text and flags to the result of assemble.
var assembled sync.Map

// assemble compiles a module from its text and returns its path. The file is removed when the
// process ends.
func assemble(t testing.TB, text string, flags ...string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(strings.Join(flags, " ") + text))
	name := hex.EncodeToString(sum[:8])
	if path, ok := assembled.Load(name); ok {
		return path.(string)
	}
	path := filepath.Join(workDir, name+".wasm")
	// Rename the finished file: two tests may do the same at once.
	out, err := os.CreateTemp(workDir, "")
	if err != nil {
		t.Fatal(err)
	}
	out.Close()
	wat.Compile(t, out.Name(), text, flags...)
	if err := os.Rename(out.Name(), path); err != nil {
		t.Fatal(err)
	}
	assembled.Store(name, path)
	return path
}
