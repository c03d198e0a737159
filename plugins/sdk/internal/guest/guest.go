// Package guest calls the exports of a plugin one by one, for the tests of the SDKs. It has none of
// the host's limits, and shows what the host does not: raw results, every log line, and the size of
// the memory. [Load] and [InHost] run the same plugins in the host.
package guest

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"unicode/utf16"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// Guest is an instance of a plugin.
type Guest struct {
	// Logs are the lines that the plugin logged, preceded by their level, such as "3 text".
	Logs []string
	// Request is the body that rollcall.request returns; nil if there is no request.
	Request []byte
	// Store is what the plugin stored, and Counts are the sums of its counters. If Full is set,
	// nothing new can be stored.
	Store  map[string]Entry
	Counts map[string]int64
	Full   bool

	t         testing.TB
	module    api.Module
	functions map[string]api.Function // functions called so far: a look-up costs more than most calls
	ptr       uint32                  // address of the buffer
	cap       uint32
}

// cache opens the folder for compiled code, because compiling a Go plugin takes half a second.
// Runtimes share the folder but not the cache object, with which wazero 1.12 mixes up the host
// modules of the runtimes.
func cache(t testing.TB) wazero.CompilationCache {
	t.Helper()
	base, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(base, "rollcall", "guests")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c, err := wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// New creates an instance of a plugin, which lives until the test ends.
func New(t testing.TB, file []byte) *Guest {
	t.Helper()
	ctx := t.Context()
	runtime := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithMemoryLimitPages(256).WithCompilationCache(cache(t)))
	t.Cleanup(func() { runtime.Close(context.Background()) })
	g := &Guest{
		Store: make(map[string]Entry), Counts: make(map[string]int64),
		t: t, functions: make(map[string]api.Function),
	}
	rollcall := runtime.NewHostModuleBuilder("rollcall")
	rollcall.NewFunctionBuilder().WithFunc(g.log).Export("log")
	rollcall.NewFunctionBuilder().WithFunc(g.request).Export("request")
	rollcall.NewFunctionBuilder().WithFunc(g.get).Export("kv_get")
	rollcall.NewFunctionBuilder().WithFunc(g.set).Export("kv_set")
	rollcall.NewFunctionBuilder().WithFunc(g.add).Export("kv_add")
	rollcall.NewFunctionBuilder().WithFunc(g.count).Export("count")
	env := runtime.NewHostModuleBuilder("env")
	env.NewFunctionBuilder().WithFunc(g.abort).Export("abort")
	for _, host := range []wazero.HostModuleBuilder{rollcall, env} {
		if _, err := host.Instantiate(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, runtime); err != nil { // for Go
		t.Fatal(err)
	}
	var err error
	g.module, err = runtime.InstantiateWithConfig(ctx, file, wazero.NewModuleConfig().WithStderr(t.Output()).WithStartFunctions("_initialize"))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *Guest) log(_ context.Context, m api.Module, level, ptr, length uint32) {
	text, ok := m.Memory().Read(ptr, length)
	if !ok {
		panic("log: out of bounds")
	}
	g.Logs = append(g.Logs, fmt.Sprintf("%d %s", level, text))
}

func (g *Guest) request(_ context.Context, m api.Module, ptr, capacity uint32) int32 {
	if g.Request == nil {
		return -1
	}
	if len(g.Request) <= int(capacity) && !m.Memory().Write(ptr, g.Request) {
		panic("request: out of bounds")
	}
	return int32(len(g.Request))
}

// abort is called by AssemblyScript with a message, a file, and the line and column in it.
func (g *Guest) abort(_ context.Context, m api.Module, message, file, line, column uint32) {
	g.Logs = append(g.Logs, fmt.Sprintf("abort %s (%s:%d:%d)", utf16Text(m, message), utf16Text(m, file), line, column))
	panic("abort")
}

// utf16Text reads an AssemblyScript string, preceded by its size in bytes.
func utf16Text(m api.Module, ptr uint32) string {
	if ptr == 0 {
		return ""
	}
	size, _ := m.Memory().ReadUint32Le(ptr - 4)
	text, _ := m.Memory().Read(ptr, size)
	units := make([]uint16, len(text)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(text[2*i:])
	}
	return string(utf16.Decode(units))
}

// Call writes the input to the plugin's buffer, and calls an export with the arguments and the
// address and length of the input.
func (g *Guest) Call(export string, input []byte, arguments ...uint64) (uint64, error) {
	g.t.Helper()
	if g.ptr == 0 || len(input) > int(g.cap) {
		result, err := g.module.ExportedFunction("rollcall_buffer").Call(g.t.Context(), uint64(len(input)))
		if err != nil {
			return 0, err
		}
		g.ptr, g.cap = uint32(result[0]), uint32(len(input))
		if g.ptr == 0 || g.ptr%8 != 0 {
			g.t.Fatalf("rollcall_buffer(%d) returned %d", len(input), g.ptr)
		}
	}
	if !g.module.Memory().Write(g.ptr, input) {
		g.t.Fatalf("the buffer at %d has no room for %d bytes", g.ptr, len(input))
	}
	function := g.functions[export]
	if function == nil {
		if function = g.module.ExportedFunction(export); function == nil {
			g.t.Fatalf("the plugin does not export %s", export)
		}
		g.functions[export] = function
	}
	result, err := function.Call(g.t.Context(), append(arguments, uint64(g.ptr), uint64(len(input)))...)
	if err != nil {
		return 0, err
	}
	return result[0], nil
}

// Slice is Call for an export that returns a slice; it returns nil for the result 0, unchanged.
func (g *Guest) Slice(export string, input []byte, arguments ...uint64) ([]byte, error) {
	g.t.Helper()
	result, err := g.Call(export, input, arguments...)
	if err != nil || result == 0 {
		return nil, err
	}
	slice, ok := g.module.Memory().Read(uint32(result>>32), uint32(result))
	if !ok {
		g.t.Fatalf("%s returned %d bytes at %d, out of bounds", export, uint32(result), result>>32)
	}
	return append([]byte{}, slice...), nil
}

// Memory returns the size of the plugin's memory in bytes.
func (g *Guest) Memory() uint32 {
	return g.module.Memory().Size()
}

// Request is the input of the hooks classify and authorize.
type Request struct {
	Version, Kind              byte
	Flags                      uint16
	Host, Channel, User, Email string
	Extension                  []byte
}

// Encode returns the bytes of a request.
func (r Request) Encode() []byte {
	b := []byte{r.Version, r.Kind}
	b = binary.LittleEndian.AppendUint16(b, r.Flags)
	texts := []string{r.Host, r.Channel, r.User, r.Email}
	for _, text := range texts {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(text)))
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.Extension)))
	for _, text := range texts {
		b = append(b, text...)
	}
	return append(b, r.Extension...)
}

// Field is a key of a record with its value.
type Field struct {
	Key   string
	Type  byte // 1: text, 2: JSON
	Value string
}

// Batch encodes records.
func Batch(records ...[]Field) []byte {
	batch := []byte{}
	for _, fields := range records {
		var record []byte
		for _, f := range fields {
			record = append(record, byte(len(f.Key)))
			record = append(record, f.Key...)
			record = append(record, f.Type)
			record = binary.LittleEndian.AppendUint32(record, uint32(len(f.Value)))
			record = append(record, f.Value...)
		}
		batch = binary.LittleEndian.AppendUint32(batch, uint32(len(record)))
		batch = append(batch, record...)
	}
	return batch
}

// User returns the record of a user as the host sends it.
func User(id, email string) []Field {
	return []Field{{"id", 1, id}, {"email", 1, email}}
}

// Exports returns the names of the functions that a plugin exports, in order.
func Exports(t testing.TB, file []byte) []string {
	t.Helper()
	return slices.Sorted(maps.Keys(compile(t, file).ExportedFunctions()))
}

// Imports returns the functions that a plugin imports, such as "rollcall.log", in order.
func Imports(t testing.TB, file []byte) []string {
	t.Helper()
	functions := compile(t, file).ImportedFunctions()
	names := make([]string, 0, len(functions))
	for _, function := range functions {
		module, name, _ := function.Import()
		names = append(names, module+"."+name)
	}
	slices.Sort(names)
	return names
}

func compile(t testing.TB, file []byte) wazero.CompiledModule {
	t.Helper()
	runtime := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
	t.Cleanup(func() { runtime.Close(context.Background()) })
	module, err := runtime.CompileModule(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	return module
}
