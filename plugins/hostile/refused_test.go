package hostile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// Minimal contents of a plugin.
const (
	memoryField   = `(memory (export "memory") 1)`
	markerField   = `(func (export "rollcall_abi_v1"))`
	bufferField   = `(func (export "rollcall_buffer") (param i32) (result i32) (i32.const 1024))`
	classifyField = `(func (export "rollcall_classify") (param i32 i32) (result i64) (i64.const 0))`
	required      = memoryField + markerField + bufferField + classifyField
)

// TestPluginsThatBreakTheContractAreRefusedByName loads modules that are valid WebAssembly but not
// plugins, or that name things that are not theirs.
func TestPluginsThatBreakTheContractAreRefusedByName(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	for name, c := range map[string]struct {
		fields string
		want   []string // in the error
		flags  []string // for wat2wasm
	}{
		"nothing":            {"", []string{"memory"}, nil},
		"no memory":          {markerField + bufferField + classifyField, []string{"memory"}, nil},
		"a hidden memory":    {`(memory 1)` + markerField + bufferField + classifyField, []string{"memory"}, nil},
		"two memories":       {`(memory 1)` + required, []string{"memor"}, []string{"--enable-multi-memory"}},
		"a memory of 64 bit": {`(memory (export "memory") i64 1)` + markerField + bufferField + classifyField, []string{"64"}, []string{"--enable-memory64"}},
		"a shared memory": {
			`(memory (export "memory") 1 1 shared)` + markerField + bufferField + classifyField,
			[]string{"shared"},
			[]string{"--enable-threads"},
		},
		"an imported memory": {
			`(import "env" "memory" (memory 1)) (export "memory" (memory 0))` + markerField + bufferField + classifyField,
			[]string{"memory"},
			nil,
		},
		"a large memory": {
			`(memory (export "memory") 65536)` + markerField + bufferField + classifyField, []string{"65536", "256"}, nil,
		},
		"no marker":                {memoryField + bufferField + classifyField, []string{"rollcall_abi_v1"}, nil},
		"no buffer":                {memoryField + markerField + classifyField, []string{"rollcall_buffer"}, nil},
		"no hook":                  {memoryField + markerField + bufferField, []string{"rollcall_classify"}, nil},
		"another version":          {`(func (export "rollcall_abi_v2"))` + memoryField + bufferField + classifyField, []string{"rollcall_abi"}, nil},
		"a command":                {`(func (export "_start"))` + memoryField, []string{"_start"}, nil},
		"a marker with parameters": {memoryField + bufferField + classifyField + `(func (export "rollcall_abi_v1") (param i32))`, []string{"rollcall_abi_v1", "func (i32)"}, nil},
		"a marker that is a global": {
			memoryField + bufferField + classifyField + `(global (export "rollcall_abi_v1") i32 (i32.const 0))`,
			[]string{"rollcall_abi_v1", "global"},
			nil,
		},
		"a hook of another type": {
			memoryField + markerField + bufferField + `(func (export "rollcall_classify") (param i32 i32) (result i32) (i32.const 0))`,
			[]string{"rollcall_classify", "i32, i32", "i64"},
			nil,
		},
		"a hook without an endpoint": {
			required + `(func (export "rollcall_shape") (param i32 i32) (result i64) (i64.const 0))`, []string{"rollcall_shape"}, nil,
		},
		"a hook that is a table":     {memoryField + markerField + bufferField + `(table (export "rollcall_classify") 1 funcref)`, []string{"rollcall_classify", "table"}, nil},
		"_initialize with a result":  {required + `(func (export "_initialize") (result i32) (i32.const 0))`, []string{"_initialize"}, nil},
		"configure without a result": {required + `(func (export "rollcall_configure") (param i32 i32))`, []string{"rollcall_configure"}, nil},
		"a memory that is a function": {
			`(memory 1) (func (export "memory"))` + markerField + bufferField + classifyField, []string{"memory"}, nil,
		},
		"an unknown module":   {`(import "evil" "run" (func))` + required, []string{"evil", "run"}, nil},
		"an unknown function": {`(import "rollcall" "run" (func))` + required, []string{"rollcall", "run"}, nil},
		"an unknown function of WASI": {
			`(import "wasi_snapshot_preview1" "sock_connect" (func))` + required, []string{"sock_connect"}, nil,
		},
		"another version of WASI": {`(import "wasi_unstable" "proc_exit" (func (param i32)))` + required, []string{"wasi_unstable"}, nil},
		"an import of another type": {
			`(import "rollcall" "log" (func (param i32)))` + required, []string{"rollcall.log", "func (i32)"}, nil,
		},
		"an imported table":  {`(import "rollcall" "log" (table 1 funcref))` + required, []string{"log", "table"}, nil},
		"an imported global": {`(import "rollcall" "log" (global i32))` + required, []string{"log", "global"}, nil},
		"the meter as an import": {
			`(import "rollcall" "steps" (global (mut i64)))` + required, []string{"steps"}, nil,
		},
		"an export of the name of a meter":   {`(global (export "rollcall.steps") (mut i64) (i64.const 1)) ` + required, []string{"rollcall.steps"}, nil},
		"an export of the name of a slice":   {`(func (export "rollcall.slice")) ` + required, []string{"rollcall.slice"}, nil},
		"a global that is the meter's":       {required + `(func (global.set 0 (i64.const 1000000)))`, []string{"global 0"}, noCheck},
		"a global after its own":             {`(global (mut i64) (i64.const 0))` + required + `(func (global.set 2 (i64.const 1000000)))`, []string{"global 2"}, noCheck},
		"a global of the meter, read":        {required + `(func (result i64) (global.get 1))`, []string{"global 1"}, noCheck},
		"an export of a global of the meter": {required + `(export "x" (global 0))`, []string{"global 0"}, noCheck},
		"an initialiser of the meter":        {required + `(global i64 (global.get 2))`, []string{"global 2"}, noCheck},
		"a call of the meter":                {required + `(func (call 4))`, []string{"function 4"}, noCheck},
		"a reference to the meter":           {required + `(func (drop (ref.func 5)))`, []string{"function 5"}, noCheck},
		"an element that is the meter":       {required + `(table 1 funcref) (elem (i32.const 0) 3)`, []string{"function 3"}, noCheck},
		"an export that is the meter":        {required + `(export "x" (func 3))`, []string{"func 3"}, noCheck},
		"a start that is the meter":          {required + `(start 3)`, []string{"function 3"}, noCheck},
		"a type of the meter":                {required + `(table 1 funcref) (func (call_indirect (type 9) (i32.const 0)))`, []string{"type 9"}, noCheck},
		"table.grow":                         {required + `(table 1 funcref) (func (drop (table.grow 0 (ref.null func) (i32.const 1))))`, []string{"table.grow"}, nil},
		"a large table":                      {required + `(table 65537 funcref)`, []string{"65536"}, nil},
		"large tables":                       {required + `(table 40000 funcref) (table 40000 externref)`, []string{"65536"}, nil},
		"many tables":                        {required + strings.Repeat(`(table 1 funcref)`, 5), []string{"table"}, nil},
		"atomics":                            {required + `(func (drop (i32.atomic.load (i32.const 0))))`, []string{"atomic"}, []string{"--enable-threads"}},
		"tail calls":                         {required + `(func (return_call 0))`, []string{"tail"}, []string{"--enable-tail-call"}},
		"tail calls through a table":         {required + `(table 1 funcref) (type $v (func)) (func (return_call_indirect (type $v) (i32.const 0)))`, []string{"tail"}, []string{"--enable-tail-call"}},
		"exceptions":                         {required + `(tag) (func (throw 0))`, []string{"exception"}, []string{"--enable-exceptions"}},
		"many imports":                       {strings.Repeat(`(import "rollcall" "log" (func (param i32 i32 i32)))`, 65) + required, []string{"64"}, nil},
		"many exports":                       {required + manyExports(300), []string{"256"}, nil},
		"many locals":                        {required + `(func (local ` + strings.Repeat("i64 ", 3000) + `))`, []string{"local"}, nil},
		"deep nesting":                       {required + `(func ` + strings.Repeat("block ", 3000) + strings.Repeat("end ", 3000) + `)`, []string{"nest"}, nil},
		"a type error":                       {required + `(func (result i32) (i64.const 0))`, []string{""}, noCheck},
	} {
		t.Run(name, func(t *testing.T) {
			path := assemble(t, "(module "+c.fields+")", c.flags...)
			p, err := e.Load(t.Context(), plugins.Spec{Path: path})
			if err == nil {
				p.Release()
				t.Fatal("it loads")
			}
			for _, want := range append(c.want, path) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error is %q, want %q in it", err, want)
				}
			}
		})
	}
	settled(t, e)
}

// noCheck lets wat2wasm build invalid modules.
var noCheck = []string{"--no-check"}

func manyExports(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(`(export "x` + decimal(int32(i)) + `" (func 0))`)
	}
	return b.String()
}

// TestPathsThatAreNoPluginsAreRefused loads paths that are not files, or that never end.
func TestPathsThatAreNoPluginsAreRefused(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	dir := t.TempDir()
	good := guest{classify: nothing}.file(t)
	empty := filepath.Join(dir, "empty.wasm")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	loop := filepath.Join(dir, "loop.wasm")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		spec plugins.Spec
		says string
	}{
		"no path":                {plugins.Spec{}, "open: no such file or directory"},
		"no file":                {plugins.Spec{Path: filepath.Join(dir, "none.wasm")}, "open: no such file or directory"},
		"a folder":               {plugins.Spec{Path: dir}, "open: it is not a regular file"},
		"an empty file":          {plugins.Spec{Path: empty}, "check: not a WebAssembly binary"},
		"a link to itself":       {plugins.Spec{Path: loop}, "open: too many levels of symbolic links"},
		"an endless device":      {plugins.Spec{Path: "/dev/zero"}, "open: it is not a regular file"},
		"an empty device":        {plugins.Spec{Path: "/dev/null"}, "open: it is not a regular file"},
		"text":                   {plugins.Spec{Path: "doc.go"}, "check: not a WebAssembly binary"},
		"a file above its limit": {plugins.Spec{Path: good, Limits: plugins.Limits{File: 100}}, "larger than its limit of 100 bytes; raise file"},
		"another hash":           {plugins.Spec{Path: good, SHA256: strings.Repeat("0", 64)}, "but 0000000000000000000000000000000000000000000000000000000000000000 is configured"},
		"no hash":                {plugins.Spec{Path: good, SHA256: "x"}, "but x is configured"},
		"a limit out of range":   {plugins.Spec{Path: good, Limits: plugins.Limits{Memory: 1 << 40}}, "memory: 1099511627776 is out of range"},
		"a negative budget":      {plugins.Spec{Path: good, Limits: plugins.Limits{ClassifyBudget: -1}}, "classify_budget: -1 is out of range"},
		"a memory below its own": {plugins.Spec{Path: good, Limits: plugins.Limits{Memory: 1 << 20}}, "the memory starts with 32 pages of 64 KiB; the limit is 16"},
		"configuration not JSON": {plugins.Spec{Path: good, Config: []byte(`{"a":`)}, "config is not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := e.Load(t.Context(), test.spec)
			if err == nil {
				p.Release()
				t.Fatal("it loads")
			}
			if !strings.Contains(err.Error(), test.says) || !strings.HasPrefix(err.Error(), "plugin "+test.spec.Path+": ") {
				t.Errorf("got %v, want the path and %q", err, test.says)
			}
		})
	}
}
