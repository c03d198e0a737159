package wasm

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// onePage is the size of a page of memory, in bytes.
const onePage = 64 << 10

// active returns an active data segment.
func active(offset int32, contents string) []byte {
	return cat([]byte{0}, appendSigned([]byte{opI32Const}, int64(offset)), []byte{opEnd}, text(contents))
}

// withData returns a module with a memory of one page, the given data segments and one function.
func withData(body []byte, segments ...[]byte) []byte {
	return wasmFile(voidType, sec(sectionFunction, vec([]byte{0})), oneMemory,
		sec(sectionExport, vec(cat(text("memory"), []byte{byte(KindMemory), 0}))),
		sec(sectionDataCount, u(uint64(len(segments)))),
		sec(sectionCode, vec(sized(body))), sec(sectionData, vec(segments...)))
}

// memoryOf returns the memory of a new instance, or the error of making it.
func memoryOf(t testing.TB, file []byte) ([]byte, error) {
	t.Helper()
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithMemoryLimitPages(defaultMemoryPages).
		WithCoreFeatures(api.CoreFeaturesV2))
	defer r.Close(ctx)
	m, err := r.InstantiateWithConfig(ctx, file, wazero.NewModuleConfig().WithStartFunctions())
	if err != nil {
		return nil, err
	}
	contents, _ := m.Memory().Read(0, m.Memory().Size())
	return bytes.Clone(contents), nil
}

// compareMemories compares the memories of new instances: of the file, of the metered module, and
// of the one without data after a host filled it.
func compareMemories(t testing.TB, m *Module) {
	t.Helper()
	want, original := memoryOf(t, m.file)
	got, metered := memoryOf(t, m.Meter())
	if (original == nil) != (metered == nil) || !bytes.Equal(got, want) {
		t.Errorf("the metered module has another memory: %v; metered: %v", original, metered)
	}
	segments, ok := m.Data()
	if !ok {
		return
	}
	got, metered = memoryOf(t, m.MeterWithoutData())
	for _, s := range segments {
		copy(got[s.Offset:], s.Bytes)
	}
	if (original == nil) != (metered == nil) || !bytes.Equal(got, want) {
		t.Errorf("the module without data has another memory: %v; without data: %v", original, metered)
	}
}

func TestMeterMergesDataSegments(t *testing.T) {
	memoryInit := cat(noLocals, []byte{0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 8, 0, 0}, endOfCode)
	dataDrop := cat(noLocals, []byte{0xfc, 9, 0}, endOfCode)
	sparse := make([][]byte, 500)
	for i := range sparse {
		sparse[i] = active(int32(i*(mergeGap+2)), "x")
	}
	passive := cat([]byte{1}, text("passive"))
	for name, test := range map[string]struct {
		body     []byte
		segments [][]byte
		count    int // of segments in the metered module
		kept     bool
	}{
		"none":             {emptyCode, nil, 0, false},
		"one":              {emptyCode, [][]byte{active(7, "one")}, 1, false},
		"adjacent":         {emptyCode, [][]byte{active(7, "one"), active(10, "two")}, 1, false},
		"out of order":     {emptyCode, [][]byte{active(20, "b"), active(30, "c"), active(10, "a")}, 1, false},
		"a small gap":      {emptyCode, [][]byte{active(0, "a"), active(1+mergeGap, "b")}, 1, false},
		"a large gap":      {emptyCode, [][]byte{active(0, "a"), active(2+mergeGap, "b")}, 2, false},
		"the last byte":    {emptyCode, [][]byte{active(0, "a"), active(onePage-1, "z")}, 2, false},
		"empty":            {emptyCode, [][]byte{active(5, ""), active(onePage, ""), active(1, "a")}, 1, false},
		"sparse":           {emptyCode, sparse, 500, false},
		"passive, unnamed": {emptyCode, [][]byte{passive, active(3, "a"), active(4, "b")}, 1, false},
		"memory 0 by name": {emptyCode, [][]byte{cat([]byte{2, 0, opI32Const, 1, opEnd}, text("a")), active(2, "b")}, 1, false},
		"overlapping":      {emptyCode, [][]byte{active(4, "long"), active(5, "x"), active(2, "yyy")}, 3, false},
		"twice the same":   {emptyCode, [][]byte{active(4, "a"), active(4, "b")}, 2, false},
		"memory.init":      {memoryInit, [][]byte{passive, active(3, "a"), active(4, "b")}, 3, true},
		"data.drop":        {dataDrop, [][]byte{active(3, "a"), active(4, "b")}, 2, true},
		"out of range":     {emptyCode, [][]byte{active(0, "a"), active(onePage-1, "zz")}, 2, true},
		"below zero":       {emptyCode, [][]byte{active(0, "a"), active(-1, "b")}, 2, true},
		"empty, too far":   {emptyCode, [][]byte{active(0, "a"), active(onePage+1, "")}, 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Check(withData(test.body, test.segments...), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := m.Data(); ok == test.kept {
				t.Errorf("the segments may be left out: %t", ok)
			}
			again := &checker{Module: &Module{file: m.Meter()}}
			if err := again.split(); err != nil {
				t.Fatal(err)
			}
			count := 0
			for _, s := range again.sections {
				if s.id == sectionData {
					count = (&reader{file: again.file, pos: s.start, end: s.end}).count("segments", maxData)
				}
			}
			if count != test.count {
				t.Errorf("%d segments, want %d", count, test.count)
			}
			compareMemories(t, m)
		})
	}
}

// An imported memory may contain something: a gap must not become zeros.
func TestMeterKeepsSegmentsOfAnImportedMemory(t *testing.T) {
	m, err := check(assemble(t, `(module (memory (import "a" "b") 1) (data (i32.const 0) "a") (data (i32.const 9) "b"))`), Limits{}, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := m.Data(); ok {
		t.Error("they are not kept")
	}
}

func TestMergedSegmentsOfExamplesAreTheSame(t *testing.T) {
	files, err := filepath.Glob("../../../examples/*/*.wasm")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d examples: %v", len(files), err)
	}
	for _, name := range files {
		file, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Check(file, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		segments, ok := m.data.active, !m.data.kept
		if !ok {
			t.Errorf("%s: the segments cannot be left out", name)
		}
		section, ok := m.data.merged()
		if !ok {
			t.Fatalf("%s: the segments cannot be merged", name)
		}
		again := &checker{Module: &Module{file: section, Memory: m.Memory}}
		again.defined[KindMemory] = 1
		r := &reader{file: section, end: len(section)}
		again.segments(r)
		if r.err != nil || r.left() > 0 || len(again.data.active) > 200 {
			t.Errorf("%s: %d segments for %d, %d bytes left, %v", name, len(again.data.active), len(segments), r.left(), r.err)
		}
		want, got := make([]byte, int64(m.Memory.Min)<<16), make([]byte, int64(m.Memory.Min)<<16)
		for _, s := range segments {
			copy(want[s.Offset:], s.Bytes)
		}
		for _, s := range again.data.active {
			copy(got[s.Offset:], s.Bytes)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: another memory", name)
		}
		t.Logf("%s: %d segments for %d", filepath.Base(name), len(again.data.active), len(segments))
	}
}

// FuzzData searches for segments that make another memory after they are merged or left out. Each
// four bytes of the input are an offset and a length, in any order and place.
func FuzzData(f *testing.F) {
	f.Add([]byte{0, 0, 1, 0, 0, 9, 3, 0, 0, 5, 8, 1})
	f.Add([]byte{255, 255, 1, 0, 255, 255, 2, 0})
	f.Add([]byte{0, 200, 30, 0, 0, 100, 30, 0, 0, 110, 3, 2})
	f.Fuzz(func(t *testing.T, input []byte) {
		var segments [][]byte
		for i := 0; i+4 <= min(len(input), 400); i += 4 {
			contents := strings.Repeat(string(rune('a'+i/4%26)), int(input[i+2]))
			if input[i+3] == 1 {
				segments = append(segments, cat([]byte{1}, text(contents)))
				continue
			}
			segments = append(segments, active(int32(input[i])<<8|int32(input[i+1]), contents))
		}
		m, err := Check(withData(emptyCode, segments...), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		compareMemories(t, m)
	})
}
