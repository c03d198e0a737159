package wasm

import (
	"context"
	"os"
	"path/filepath"
	"runtime/metrics"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// seeds adds small modules. words.wasm is compiled from words.c, complete.wasm from the constant
// complete with wat2wasm.
func seeds(f *testing.F) {
	f.Helper()
	files, err := filepath.Glob("testdata/*.wasm")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds in testdata: %v", err)
	}
	for _, name := range files {
		file, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
	}
	f.Add(wasmFile(oneMemory))
	f.Add(code(2, emptyCode))
	for _, body := range [][]byte{emptyCode, cat(noLocals, []byte{0x03, noValue, 0x0c, 0, 0x0b}, endOfCode)} { // a loop
		f.Add(wasmFile(voidType, sec(sectionFunction, vec([]byte{0})), oneMemory, sec(sectionStart, []byte{0}),
			sec(sectionCode, vec(sized(body)))))
	}
	f.Add(cat(code(1, emptyCode), sec(0, text("name"), []byte{1, 4, 1, 0, 1, 'a'})))
}

// allocated returns the number of bytes that the process has allocated so far. Unlike
// runtime.ReadMemStats, it does not stop the world.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// FuzzCheck searches for files that make Check panic or use much memory.
func FuzzCheck(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, file []byte) {
		before := allocated()
		m, err := Check(file, Limits{})
		used := allocated() - before
		if (m == nil) == (err == nil) {
			t.Fatalf("module %v, error %v", m, err)
		}
		// The constant is for the fuzzer, which allocates in the same process.
		if used > uint64(4<<20+64*len(file)) {
			t.Errorf("%d bytes allocated for a file of %d", used, len(file))
		}
	})
}

// FuzzMeter searches for files that wazero compiles unmetered but not metered, or the reverse. The
// reverse is possible for a malformed name section, which Meter drops, and for other custom
// sections.
func FuzzMeter(f *testing.F) {
	seeds(f)
	ctx := context.Background()
	config := wazero.NewRuntimeConfigInterpreter().WithMemoryLimitPages(defaultMemoryPages).WithCoreFeatures(api.CoreFeaturesV2)
	f.Fuzz(func(t *testing.T, file []byte) {
		m, err := Check(file, Limits{})
		if err != nil {
			return
		}
		rewritten := m.Meter()
		if again, err := Check(rewritten, Limits{File: 2 * defaultFile}); err == nil {
			t.Fatalf("metered twice: %d functions", again.Functions)
		} else if !strings.Contains(err.Error(), "the host uses this name") && !strings.Contains(err.Error(), "the limit is") {
			t.Fatalf("the metered module is malformed: %v", err)
		}
		r := wazero.NewRuntimeWithConfig(ctx, config)
		defer r.Close(ctx)
		_, original := r.CompileModule(ctx, file)
		_, metered := r.CompileModule(ctx, rewritten)
		switch {
		case original == nil && metered != nil:
			t.Errorf("metered: %v", metered)
		case original != nil && metered == nil && !malformedNames(original):
			t.Errorf("compiles metered, but not as it is: %v", original)
		}
	})
}
