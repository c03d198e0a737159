package wasm

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"
)

// TestCheckRefuses lists files that end or stall the process when wazero reads them, and features
// that no plugin may have. Every error says where and what is wrong.
func TestCheckRefuses(t *testing.T) {
	many := u(math.MaxUint32)
	function := sec(sectionFunction, vec([]byte{0}))
	body := func(parts ...[]byte) []byte { return code(1, parts...) }
	instruction := func(b ...byte) []byte { return body(noLocals, b, endOfCode) }
	exported := func(name string, kind Kind, index byte) []byte {
		return wasmFile(voidType, function, oneMemory, sec(sectionExport, vec(cat(text(name), []byte{byte(kind), index}))),
			sec(sectionCode, vec(sized(emptyCode))))
	}
	element := func(contents ...[]byte) []byte {
		return wasmFile(voidType, function, oneFuncref, oneMemory, sec(sectionElement, vec(cat(contents...))),
			sec(sectionCode, vec(sized(emptyCode))))
	}
	zero := []byte{0x41, 0, 0x0b}
	tests := map[string]struct {
		file []byte
		want string
	}{
		"nothing":     {nil, "not a WebAssembly binary"},
		"text":        {[]byte("(module)"), "not a WebAssembly binary"},
		"a component": {[]byte("\x00asm\x0d\x00\x01\x00"), "this is a component"},
		"version 2":   {[]byte("\x00asm\x02\x00\x00\x00"), "version 02000000"},
		"no memory":   {wasmFile(), "no memory"},
		"a section twice": {
			wasmFile(oneMemory, oneMemory),
			"memory section, offset 0xd: it comes twice or out of order",
		},
		"a section out of order":  {wasmFile(oneMemory, voidType), "type section"},
		"an unknown section":      {wasmFile(sec(14)), "unknown section 14"},
		"a tag section":           {wasmFile(sec(sectionTag)), "exceptions are not supported"},
		"a section too long":      {wasmFile(cat([]byte{1}, many)), "the file is cut off"},
		"a section with a rest":   {wasmFile(sec(sectionType, []byte{0, 0})), "1 byte too many"},
		"too many customs":        {wasmFile(times(maxCustom+1, sec(0, text("a")))), "custom sections"},
		"a custom without a name": {wasmFile(sec(0)), "custom section"},

		"4e9 types":         {wasmFile(sec(sectionType, many)), "4294967295 types announced, but only 0 bytes left"},
		"4e9 imports":       {wasmFile(sec(sectionImport, many)), "imports announced"},
		"4e9 functions":     {wasmFile(sec(sectionFunction, many)), "functions announced"},
		"4e9 tables":        {wasmFile(sec(sectionTable, many)), "tables announced"},
		"4e9 memories":      {wasmFile(sec(sectionMemory, many)), "memories announced"},
		"4e9 globals":       {wasmFile(sec(sectionGlobal, many)), "globals announced"},
		"4e9 exports":       {wasmFile(sec(sectionExport, many)), "exports announced"},
		"4e9 elements":      {wasmFile(sec(sectionElement, many)), "segments announced"},
		"4e9 bodies":        {wasmFile(sec(sectionCode, many)), "bodies announced"},
		"4e9 data":          {wasmFile(sec(sectionData, many)), "segments announced"},
		"4e9 data counted":  {wasmFile(sec(sectionDataCount, many)), "4294967295 segments"},
		"100 M types":       {wasmFile(sec(sectionType, u(100_000_000))), "100000000 types announced"},
		"4e9 parameters":    {wasmFile(sec(sectionType, []byte{1, 0x60}, many)), "parameters announced"},
		"4e9 results":       {wasmFile(sec(sectionType, []byte{1, 0x60, 0}, many)), "results announced"},
		"4e9 entries":       {element([]byte{0}, zero, many), "entries announced"},
		"4e9 bytes of name": {wasmFile(sec(0, many, []byte("a"))), "bytes of text announced"},
		"4e9 bytes of data": {wasmFile(oneMemory, sec(sectionData, []byte{1, 1}, many)), "4294967295 bytes announced"},
		"4e9 locals": {
			body([]byte{1}, many, []byte{byte(I32)}, endOfCode),
			"4294967295 or more locals; the limit is 2048",
		},
		"2 x 4e9 locals": {
			body([]byte{2}, many, []byte{byte(I32)}, many, []byte{byte(I32)}, endOfCode),
			"locals; the limit is",
		},
		"4e9 local groups": {body(many, endOfCode), "groups of locals announced"},
		"4e9 targets": {
			body(noLocals, []byte{0x41, 0, 0x0e}, many, endOfCode),
			"targets of a br_table announced",
		},

		"too many types": {
			wasmFile(sec(sectionType, u(maxTypes+1), times(maxTypes+1, []byte{0x60, 0, 0}))),
			"the limit is 10000",
		},
		"too many functions":  {code(maxFunctions+1, emptyCode), "20001 functions; the limit is 20000"},
		"a million functions": {code(1_000_000, emptyCode), "1000000 functions; the limit is 20000"},
		"too long a body":     {body(noLocals, times(maxBody, []byte{1}), endOfCode), "the limit is 131072"},
		"too many locals in all": {
			code(1000, []byte{1}, u(2000), []byte{byte(I32)}, endOfCode),
			"more than 500000 locals",
		},
		"100,000 nested blocks": {
			body(noLocals, times(40_000, []byte{2, 0x40}), times(40_000, endOfCode), endOfCode),
			"nest more than 2048 deep",
		},
		"2,000 nested loops": {
			body(noLocals, times(2_000, []byte{3, 0x40}), times(2_000, endOfCode), endOfCode),
			"compiling it takes too long",
		},
		"ifs writing locals": {
			body(cat([]byte{1}, u(500), []byte{byte(I32)}, times(3000, []byte{0x20, 0, 4, 0x40, 0x41, 0, 0x21, 7, 0x0b}), endOfCode)),
			"compiling it takes too long",
		},
		"many slow functions": {
			code(100, cat([]byte{1}, u(500), []byte{byte(I32)}, times(1000, []byte{0x20, 0, 4, 0x40, 0x41, 0, 0x21, 7, 0x0b}), endOfCode)),
			"compiling all functions so far takes too long",
		},
		"a wide br_table": {
			body(noLocals, []byte{0x41, 0, 0x0e}, u(maxTargets+1), make([]byte, maxTargets+2), endOfCode),
			"the limit is 4096",
		},
		"many br_tables": {
			body(noLocals, times(17, cat([]byte{0x41, 0, 0x0e}, u(1000), make([]byte, 1001))), endOfCode),
			"more than 16384 targets",
		},
		"many charges": {
			code(40, noLocals, times(2000, []byte{0x41, 0, 0x40, 0, 0x1a}), endOfCode),
			"more than 65536 functions, loops",
		},

		"5 tables": {
			wasmFile(sec(sectionTable, u(5), times(5, []byte{byte(FuncRef), 0, 1})), oneMemory),
			"5 tables; the limit is 4",
		},
		"a table of 10 M entries": {
			wasmFile(sec(sectionTable, vec(cat([]byte{byte(FuncRef), 0}, u(10_000_000)))), oneMemory),
			"more than 65536 entries",
		},
		"tables of too many entries": {
			wasmFile(sec(sectionTable, vec(cat([]byte{byte(FuncRef), 0}, u(40_000)), cat([]byte{byte(FuncRef), 0}, u(40_000)))), oneMemory),
			"more than 65536 entries",
		},
		"a table upside down": {
			wasmFile(sec(sectionTable, vec([]byte{byte(FuncRef), 1, 2, 1})), oneMemory),
			"a table of 2 to 1 entries",
		},
		"two memories": {
			wasmFile(sec(sectionMemory, vec([]byte{0, 1}, []byte{0, 1}))),
			"2 memories; the limit is 1",
		},
		"a memory too large": {
			wasmFile(sec(sectionMemory, vec(cat([]byte{0}, u(257))))),
			"starts with 257 pages of 64 KiB; the limit is 256",
		},
		"a memory of 4 GiB": {
			wasmFile(sec(sectionMemory, vec(cat([]byte{0}, u(65_536))))),
			"the limit is 256",
		},
		"a memory of more": {
			wasmFile(sec(sectionMemory, vec(cat([]byte{1, 1}, u(65_537))))),
			"more than 65536 pages",
		},
		"a shared memory": {wasmFile(sec(sectionMemory, vec([]byte{3, 1, 1}))), "threads"},
		"a 64-bit memory": {wasmFile(sec(sectionMemory, vec([]byte{4, 1}))), "build for wasm32"},
		"an imported memory": {
			wasmFile(sec(sectionImport, vec(cat(text("env"), text("memory"), []byte{2, 0, 1})))),
			`memory "memory" of "env" is imported`,
		},
		"an imported table": {
			wasmFile(sec(sectionImport, vec(cat(text("env"), text("t"), []byte{1, 0x70, 0, 1})))),
			"is imported",
		},
		"an imported global": {
			wasmFile(sec(sectionImport, vec(cat(text("env"), text("g"), []byte{3, 0x7f, 0})))),
			"is imported",
		},
		"an imported tag": {
			wasmFile(sec(sectionImport, vec(cat(text("env"), text("g"), []byte{4, 0, 0})))),
			"unknown kind 4",
		},

		"table.grow":              {instruction(0xfc, 0x0f, 0), "table.grow is not supported"},
		"table.grow, padded":      {instruction(0xfc, 0x8f, 0, 0), "table.grow is not supported"},
		"an atomic":               {instruction(0xfe, 0x03, 0), "threads and atomic instructions"},
		"a tail call":             {instruction(0x12, 0), "tail calls"},
		"an indirect tail call":   {instruction(0x13, 0, 0), "tail calls"},
		"a throw":                 {instruction(0x08, 0), "exceptions"},
		"a try_table":             {instruction(0x1f, 0x40, 0), "exceptions"},
		"a legacy try":            {instruction(0x06, 0x40), "exceptions"},
		"call_ref":                {instruction(0x14, 0), "typed function references"},
		"a GC instruction":        {instruction(0xfb, 0), "GC"},
		"relaxed SIMD":            {instruction(0xfd, 0x80, 0x02), "relaxed SIMD"},
		"an opcode of no one":     {instruction(0xff), "unknown instruction"},
		"another memory":          {instruction(0x3f, 1), "a memory other than 0"},
		"a padded memory":         {instruction(0x3f, 0x80, 0), "a memory other than 0"},
		"an access elsewhere":     {instruction(0x41, 0, 0x28, 0x42, 1, 0, 0x1a), "more than one memory"},
		"a block of two bytes":    {instruction(0x02, 0xc0, 0x7f, 0x0b), "unknown type of a block"},
		"a reference type":        {instruction(0xd0, 0x69, 0x1a), "typed function references"},
		"select of two":           {instruction(0x1c, 2, 0x7f, 0x7f), "select with 2 types"},
		"code without an end":     {body(noLocals, []byte{1, 1}), "function 0: its code has no end"},
		"code after its end":      {body(noLocals, endOfCode, endOfCode), "after its end"},
		"a number too long":       {instruction(0x41, 0x80, 0x80, 0x80, 0x80, 0x80, 0), "LEB128"},
		"a number with a rest":    {instruction(0x41, 0xff, 0xff, 0xff, 0xff, 0x4f), "LEB128"},
		"a name that is not text": {exported("\xff", KindFunc, 0), "not UTF-8"},

		// References to the appended globals and functions.
		"setting the slice":         {instruction(0x42, 0, 0x24, 0), "global 0 of 0: there is no such global"},
		"setting the steps":         {instruction(0x42, 0, 0x24, 1), "global 1 of 0"},
		"setting the steps, padded": {instruction(0x42, 0, 0x24, 0x81, 0), "global 1 of 0"},
		"reading the slice":         {instruction(0x23, 0, 0x1a), "global 0 of 0"},
		"calling yield":             {instruction(0x10, 1), "function 1 of 1"},
		"a reference to yield":      {instruction(0xd2, 1, 0x1a), "function 1 of 1"},
		"an appended type":          {instruction(0x02, 1, 0x0b), "type 1 of 1"},
		"call_indirect by its type": {
			wasmFile(voidType, function, oneFuncref, oneMemory, sec(sectionCode, vec(sized(noLocals, []byte{0x41, 0, 0x11, 1, 0}, endOfCode)))),
			"type 1 of 1",
		},
		"a function of its type": {
			wasmFile(voidType, sec(sectionFunction, vec([]byte{1})), oneMemory),
			"type 1 of 1",
		},
		"exporting the slice":      {exported("a", KindGlobal, 0), "global 0 of 0"},
		"exporting yield":          {exported("a", KindFunc, 1), "func 1 of 1"},
		"exporting under its name": {exported(StepsGlobal, KindFunc, 0), "the host uses this name"},
		"exporting as the start":   {exported(StartFunction, KindFunc, 0), "the host uses this name"},
		"starting with parameters": {
			wasmFile(sec(sectionType, vec([]byte{0x60, 1, byte(I32), 0})), function, oneMemory, sec(sectionStart, []byte{0}),
				sec(sectionCode, vec(sized(emptyCode)))),
			"function 0 has the type func (i32); a start function has no parameters and no results",
		},
		"starting with a result": {
			wasmFile(sec(sectionType, vec([]byte{0x60, 0, 1, byte(I32)})), function, oneMemory, sec(sectionStart, []byte{0}),
				sec(sectionCode, vec(sized(noLocals, []byte{0x41, 0}, endOfCode)))),
			"function 0 has the type func () -> i32; a start",
		},
		"two starts": {
			wasmFile(voidType, function, oneMemory, sec(sectionStart, []byte{0}), sec(sectionStart, []byte{0}),
				sec(sectionCode, vec(sized(emptyCode)))),
			"it comes twice or out of order",
		},
		"starting with yield": {
			wasmFile(voidType, function, oneMemory, sec(sectionStart, []byte{1}), sec(sectionCode, vec(sized(emptyCode)))),
			"function 1 of 1",
		},
		"yield in a table":           {element([]byte{0}, zero, vec([]byte{1})), "function 1 of 1"},
		"yield in an expression":     {element([]byte{4}, zero, vec([]byte{0xd2, 1, 0x0b})), "function 1 of 1"},
		"the slice in an expression": {element([]byte{0, 0x23, 0, 0x0b, 0}), "global 0 of 0"},
		"the slice as a start value": {
			wasmFile(oneMemory, sec(sectionGlobal, vec([]byte{0x7e, 0, 0x23, 0, 0x0b}))),
			"global 0 of 0",
		},
		"a long expression": {
			wasmFile(oneMemory, sec(sectionGlobal, vec([]byte{0x7f, 0, 0x41, 0, 0x41, 0, 0x0b}))),
			"which is one instruction",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Check(test.file, Limits{})
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if used, most := after.TotalAlloc-before.TotalAlloc, uint64(256<<10+16*len(test.file)); used > most {
				t.Errorf("%d bytes allocated for a file of %d", used, len(test.file))
			}
		})
	}
}

func TestCheckRefusesALongFile(t *testing.T) {
	if _, err := Check(make([]byte, 11), Limits{File: 10}); err == nil || err.Error() != "file of 11 bytes; the limit is 10" {
		t.Errorf("error %v", err)
	}
}

// complete uses every feature that a plugin may use.
const complete = `(module
	(type $op (func (param i32 i64) (result i64)))
	(import "rollcall" "log" (func $log (param i32 i32 i32)))
	(table $t 3 10 funcref) (table $x 1 externref)
	(memory (export "memory") 1 4)
	(global $g (mut i32) (i32.const -5)) (global $v v128 (v128.const i64x2 1 2)) (global $r funcref (ref.func $main))
	(export "run" (func $run)) (export "table" (table $t)) (export "g" (global $g))
	(start $main)
	(elem (i32.const 0) $run $main) (elem $p func $main) (elem declare func $run) (elem (table $t) (i32.const 2) funcref (ref.null func))
	(func $main (global.set $g (i32.const 7)) (elem.drop $p) (data.drop $d))
	(func $run (param i32 i64) (result i64) (local f32 f64 v128)
		(local.set 4 (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 (global.get $v) (v128.load (i32.const 0))))
		(v128.store16_lane 1 (i32.const 0) (i16x8.abs (local.get 4)))
		(call $log (i32.const 1) (i32.const 2) (i32.const 3))
		(block $b (block $c (br_table $b $c $b (local.get 0))))
		(drop (select (result funcref) (ref.func $run) (ref.null func) (i32.const 1)))
		(drop (i32.trunc_sat_f64_s (local.get 3)))
		(if (result i64) (local.get 0) (then (i64.const -9223372036854775808)) (else
			(call_indirect $t (type $op) (i32.sub (local.get 0) (i32.const 1)) (local.get 1) (i32.const 0)))))
	(data (i32.const 0) "text") (data $d "more"))`

func TestCheckBoundsCharges(t *testing.T) {
	loop := []byte{3, 0x40, 0x0b}
	for want, body := range map[string][]byte{
		"more than 65536 functions, loops": times(3, loop),
		"more than 131072 of these":        cat(loop, times(6, []byte{0x0f})),
	} {
		if _, err := Check(code(maxFunctions, noLocals, body, endOfCode), Limits{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestCheckTakesManyFunctions(t *testing.T) {
	m, err := Check(code(maxFunctions, noLocals, []byte{0x10, 0}, endOfCode), Limits{})
	if err != nil || m.Functions != maxFunctions {
		t.Errorf("error %v", err)
	}
}

func TestSeedsAreWhatTheyAreBuiltFrom(t *testing.T) {
	file, err := os.ReadFile("testdata/complete.wasm")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file, assemble(t, complete)) {
		t.Error("testdata/complete.wasm differs from the output of wat2wasm --debug-names for complete: build it again")
	}
}

func TestCheckTellsWhatIsInAModule(t *testing.T) {
	m, err := Check(assemble(t, complete), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(m.Functions, m.HasStart, m.Memory)
	for _, im := range m.Imports {
		got += fmt.Sprintf("; %s.%s %s %s", im.Module, im.Name, im.Kind, im.Func)
	}
	for _, e := range m.Exports {
		got += fmt.Sprintf("; %s %s %d", e.Name, e.Kind, e.Index)
		if e.Func != nil {
			got += " " + e.Func.String()
		}
	}
	want := "2 true {1 4 true}; rollcall.log func func (i32, i32, i32); memory memory 0; " +
		"run func 2 func (i32, i64) -> i64; table table 0; g global 0"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestCheckNamesTheFunctionInErrors(t *testing.T) {
	file := assemble(t, `(module (memory 1) (table $t 1 funcref) (func $first) (func $second (drop (table.grow $t (ref.null func) (i32.const 1)))))`)
	_, err := Check(file, Limits{})
	if err == nil || !strings.Contains(err.Error(), "code section, offset 0x") || !strings.Contains(err.Error(), "function 1 (second): table.grow") {
		t.Errorf("error %v", err)
	}
}

func TestCheckSurvivesDamagedFiles(t *testing.T) {
	file := assemble(t, complete)
	try := func(damaged []byte, what string, at int) {
		m, err := Check(damaged, Limits{})
		if err != nil {
			return
		}
		if again, err := Check(m.Meter(), Limits{}); err == nil {
			t.Errorf("%s %d: metered twice: %d functions", what, at, again.Functions)
		} else if !strings.Contains(err.Error(), "the host uses this name") {
			t.Errorf("%s %d: accepted, but metered it is malformed: %v", what, at, err)
		}
	}
	for n := range file {
		try(file[:n], "cut at", n)
		for _, b := range []byte{0x00, 0x01, 0x0b, 0x40, 0x7f, 0x80, 0xfc, 0xff} {
			damaged := bytes.Clone(file)
			damaged[n] = b
			try(damaged, "changed at", n)
		}
	}
}

func TestMeterDropsMalformedNames(t *testing.T) {
	r := newRuntime(t)
	for name, section := range map[string][]byte{
		"4e9 names":               {1, 5, 0xff, 0xff, 0xff, 0xff, 0x0f},
		"4e9 locals of names":     {2, 7, 1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f},
		"a name of no function":   {1, 4, 1, 9, 1, 'a'},
		"names out of order":      {1, 7, 2, 0, 1, 'a', 0, 1, 'b'},
		"a name that is not text": {1, 4, 1, 0, 1, 0xff},
		"a rest":                  {1, 5, 1, 0, 1, 'a', 0},
		"cut off":                 {1, 9},
		"twice":                   {1, 4, 1, 0, 1, 'a', 1, 4, 1, 0, 1, 'a'},
	} {
		t.Run(name, func(t *testing.T) {
			file := cat(code(1, emptyCode), sec(0, text("name"), section))
			if _, err := r.CompileModule(t.Context(), metered(t, file)); err != nil {
				t.Error(err)
			}
		})
	}
}
