package hostile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	// childPatience is the time limit of a child process for one file on a busy machine. The
	// compiler has 30 s.
	childPatience = 45 * time.Second
	// refusedPeak is the memory limit of a child process that refuses a file before compiling it,
	// in bytes: enough for a test binary and a few times the file.
	refusedPeak = 384 << 20
	// compiledPeak is the same for a file that is compiled.
	compiledPeak = 1 << 30
)

// leb encodes an unsigned number in LEB128.
func leb(n uint64) []byte { return binary.AppendUvarint(nil, n) }

// section encodes a section with its actual size.
func section(id byte, content ...[]byte) []byte {
	body := bytes.Join(content, nil)
	return append(append([]byte{id}, leb(uint64(len(body)))...), body...)
}

// module encodes a module of sections.
func module(sections ...[]byte) []byte {
	return append([]byte("\x00asm\x01\x00\x00\x00"), bytes.Join(sections, nil)...)
}

// counted encodes a vector of n equal items.
func counted(n int, item []byte) []byte { return append(leb(uint64(n)), bytes.Repeat(item, n)...) }

// body encodes the body of a function; locals is a vector.
func body(locals, code []byte) []byte {
	b := append(append(bytes.Clone(locals), code...), 0x0b)
	return append(leb(uint64(len(b))), b...)
}

// oneFunction encodes a module with one function without parameters.
func oneFunction(b []byte) []byte {
	return module(section(1, []byte{1, 0x60, 0, 0}), section(3, []byte{1, 0}), section(10, []byte{1}, b))
}

var none = []byte{0}

// bombs are files that kill or stall a loader that trusts them. All must be refused before
// compiling.
func bombs() map[string][]byte {
	all := map[string][]byte{
		"a function type of 4 G parameters":     module(section(1, []byte{1, 0x60}, leb(1<<32-1), []byte{0})),
		"a function type of 4 G results":        module(section(1, []byte{1, 0x60, 0}, leb(1<<32-1))),
		"a segment of 4 G functions":            module(section(4, []byte{1, 0x70, 0, 1}), section(9, []byte{1, 0, 0x41, 0, 0x0b}, leb(1<<32-1))),
		"a segment of 4 G expressions":          module(section(4, []byte{1, 0x70, 0, 1}), section(9, []byte{1, 4, 0x41, 0, 0x0b}, leb(1<<32-1))),
		"data of 4 GiB":                         module(section(5, []byte{1, 0, 1}), section(11, []byte{1, 0, 0x41, 0, 0x0b}, leb(1<<32-1))),
		"4 G segments of data by their count":   module(section(12, leb(1<<32-1))),
		"a name of 4 GiB":                       module(section(2, []byte{1}, leb(1<<32-1), []byte("x"))),
		"a custom section with a name of 4 GiB": module(section(0, leb(1<<32-1))),
		"a section of 4 GiB":                    append(module(), append([]byte{1}, leb(1<<32-1)...)...),
		"a body of 4 GiB":                       module(section(1, []byte{1, 0x60, 0, 0}), section(3, []byte{1, 0}), section(10, []byte{1}, leb(1<<32-1))),
		"4 G locals":                            oneFunction(body(append([]byte{1}, append(leb(4_000_000_000), 0x7f)...), nil)),
		"4 G groups of locals":                  oneFunction(body(leb(1<<32-1), nil)),
		"a thousand groups of 4 G locals":       oneFunction(body(counted(1000, append(leb(1<<32-1), 0x7f)), nil)),
		"50,000 locals a function": module(section(1, []byte{1, 0x60, 0, 0}), section(3, counted(1000, none)),
			section(10, counted(1000, body(append([]byte{1}, append(leb(50_000), 0x7f)...), nil)))),
		"100,000 nested blocks": oneFunction(body(none, append(bytes.Repeat([]byte{0x02, 0x40}, 100_000), bytes.Repeat([]byte{0x0b}, 100_000)...))),
		"10,000 nested loops":   oneFunction(body(none, append(bytes.Repeat([]byte{0x03, 0x40}, 10_000), bytes.Repeat([]byte{0x0b}, 10_000)...))),
		"blocks without an end": oneFunction(body(none, bytes.Repeat([]byte{0x02, 0x40}, 60_000))),
		"a br_table of 4 G":     oneFunction(body(none, append([]byte{0x41, 0, 0x0e}, leb(1<<32-1)...))),
		"1,000 br_tables of 1,000": oneFunction(body(none, bytes.Repeat(
			append(append([]byte{0x41, 0, 0x0e}, counted(1000, none)...), 0), 1000))),
		"20,000 ifs that write 500 locals": oneFunction(body(append([]byte{1}, append(leb(500), 0x7f)...),
			bytes.Repeat(append(append([]byte{0x41, 1, 0x04, 0x40}, bytes.Repeat([]byte{0x41, 1, 0x21, 7}, 10)...), 0x0b), 20_000))),
		"two million additions": oneFunction(body(none, append(append([]byte{0x41, 0}, bytes.Repeat([]byte{0x41, 1, 0x6a}, 2_000_000)...), 0x1a))),
		"a million functions": module(section(1, []byte{1, 0x60, 0, 0}), section(3, counted(1_000_000, none)),
			section(10, counted(1_000_000, body(none, nil)))),
		"50 MB of data":             module(section(5, []byte{1, 0, 1}), section(11, []byte{1, 0, 0x41, 0, 0x0b}, counted(50_000_000, []byte{7}))),
		"a memory of 4 GiB":         module(section(5, []byte{1, 0}, leb(65536))),
		"a memory of 256 TiB":       module(section(5, []byte{1, 0}, leb(1<<32-1))),
		"a table of 4 G entries":    module(section(4, []byte{1, 0x70, 0}, leb(1<<32-1))),
		"a table of 10 M entries":   module(section(4, []byte{1, 0x70, 0}, leb(10_000_000))),
		"a number without an end":   module(append([]byte{1}, bytes.Repeat([]byte{0x80}, 1_000_000)...)),
		"a component":               []byte("\x00asm\x0d\x00\x01\x00"),
		"sections twice":            module(section(1, none), section(1, none)),
		"sections out of order":     module(section(3, none), section(1, none)),
		"an unknown section":        module(section(99, none)),
		"a million custom sections": module(bytes.Repeat(section(0, []byte{1, 'x'}), 1_000_000)),
		"a million types":           module(section(1, counted(1_000_000, []byte{0x60, 0, 0}))),
		"a million imports":         module(section(1, []byte{1, 0x60, 0, 0}), section(2, counted(1_000_000, []byte{1, 'a', 1, 'b', 0, 0}))),
		"a million globals":         module(section(6, counted(1_000_000, []byte{0x7f, 1, 0x41, 0, 0x0b}))),
		"a million exports":         module(section(5, []byte{1, 0, 1}), section(7, counted(1_000_000, []byte{1, 'a', 2, 0}))),
		"a million elements": module(section(1, []byte{1, 0x60, 0, 0}), section(3, []byte{1, 0}), section(4, []byte{1, 0x70, 0, 1}),
			section(9, []byte{1, 0, 0x41, 0, 0x0b}, counted(1_000_000, none)), section(10, []byte{1}, body(none, nil))),
		"a million segments of data": module(section(5, []byte{1, 0, 1}), section(11, counted(1_000_000, []byte{0, 0x41, 0, 0x0b, 0}))),
	}
	for id := byte(1); id <= 12; id++ {
		if id == 8 || id == 12 {
			continue
		}
		for _, n := range []uint64{100_000_000, 1<<32 - 1} {
			all[fmt.Sprintf("section %d with a count of %d", id, n)] = module(section(id, leb(n), make([]byte, 2)))
		}
	}
	return all
}

func writeFile(t *testing.T, dir, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".wasm")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBombsAreRefusedInLittleTimeAndMemory(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for name, b := range bombs() {
		files = append(files, writeFile(t, dir, name, b))
	}
	for _, o := range loadInChild(t, 2*childPatience, files...) {
		if o.Error == "" {
			t.Errorf("%s is loaded", filepath.Base(o.File))
		}
		if o.Millis > 4000 || o.Peak > refusedPeak {
			t.Errorf("%s is refused after %d ms of CPU time, peak memory so far %d MiB", filepath.Base(o.File), o.Millis, o.Peak>>20)
		}
	}
}

// TestTheWorstFilesWithinLimitsCompileInBoundedTime loads the plugins that are most costly to
// compile and that the checker accepts.
func TestTheWorstFilesWithinLimitsCompileInBoundedTime(t *testing.T) {
	for name, code := range map[string]string{
		"nested blocks": strings.Repeat("block ", 2000) + strings.Repeat("end ", 2000),
		"nested loops":  strings.Repeat("loop ", 1450) + strings.Repeat("end ", 1450),
		"additions":     "i32.const 0 " + strings.Repeat("i32.const 1 i32.add ", 43_000) + "drop",
		"branch tables": "block " + strings.Repeat("block i32.const 0 br_table "+strings.Repeat("0 1 ", 500)+" end ", 16) + "end",
		"ifs that write locals": "(local " + strings.Repeat("i32 ", 500) + ") " +
			strings.Repeat("i32.const 1 if "+strings.Repeat("i32.const 1 local.set 7 ", 10)+"end ", 900),
	} {
		t.Run(name, func(t *testing.T) {
			file := assemble(t, "(module "+required+" (func "+code+"))")
			o := loadInChild(t, childPatience, file)[0]
			t.Logf("%d ms, %d MiB", o.Millis, o.Peak>>20)
			if o.Error != "" {
				t.Error(o.Error)
			}
			if o.Peak > compiledPeak {
				t.Errorf("peak memory is %d MiB", o.Peak>>20)
			}
		})
	}
}

// TestDamagedCopiesOfGoodFilesAreRefusedOrWork truncates good modules, flips their bits, inserts
// dangerous numbers anywhere, and mixes modules.
func TestDamagedCopiesOfGoodFilesAreRefusedOrWork(t *testing.T) {
	dir := t.TempDir()
	var good [][]byte
	for _, g := range []guest{
		{classify: nothing, authorize: nothing, members: nothing, shape: nothing, configure: nothing, initialize: nothing},
		{
			fields: `(type $void (func)) (table 2 funcref) (elem (i32.const 0) $a) (func $a (call_indirect (type $void) (i32.const 1)))
			(data $d "abc") (global $g (mut i64) (i64.const 1)) (func (memory.init $d (i32.const 0) (i32.const 0) (i32.const 3))
			(global.set $g (i64.const 2))) (func (local i32) (block $b (loop $l (br_table $b $l (local.get 0)))))`,
			start: `(local.set $i (i32.const 7))`, members: nothing,
		},
	} {
		b, err := os.ReadFile(g.file(t))
		if err != nil {
			t.Fatal(err)
		}
		good = append(good, b)
	}
	const seed, copies = 20, 400
	r := rand.New(rand.NewPCG(seed, seed))
	var files []string
	for i := range copies {
		b := damage(r, good)
		files = append(files, writeFile(t, dir, fmt.Sprint("copy ", i), b))
	}
	loadedFiles := 0
	for _, o := range loadInChild(t, 2*childPatience, files...) {
		if o.Error == "" {
			loadedFiles++
		}
		if o.Millis > 10_000 || o.Peak > compiledPeak {
			t.Errorf("%s took %d ms of CPU time, peak memory so far %d MiB", o.File, o.Millis, o.Peak>>20)
		}
	}
	t.Logf("%d of %d damaged copies were loaded and called", loadedFiles, copies)
	if loadedFiles == 0 || loadedFiles == copies {
		t.Errorf("%d of %d were loaded: the test tries too little", loadedFiles, copies)
	}
}

// damage returns a damaged copy of one of the files.
func damage(r *rand.Rand, files [][]byte) []byte {
	b := bytes.Clone(files[r.IntN(len(files))])
	other := files[r.IntN(len(files))]
	switch r.IntN(6) {
	case 0:
		return b[:r.IntN(len(b))]
	case 1:
		at := r.IntN(len(b))
		return append(append(bytes.Clone(b[:at]), leb(1<<32-1)...), b[at:]...)
	case 2:
		at := 8 + r.IntN(len(b)-8)
		return append(bytes.Clone(b[:at]), other[min(at, len(other)):]...)
	case 3:
		from, to := r.IntN(len(b)), r.IntN(len(b))
		n := min(r.IntN(40), len(b)-from, len(b)-to)
		copy(b[to:to+n], b[from:from+n])
		return b
	default:
		for range 1 + r.IntN(4) {
			b[8+r.IntN(len(b)-8)] ^= 1 << r.IntN(8)
		}
		return b
	}
}
