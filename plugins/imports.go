package plugins

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"go.uber.org/zap/zapcore"

	"github.com/rollcall-gateway/rollcall/internal/plural"
	"github.com/rollcall-gateway/rollcall/plugins/internal/wasm"
)

// hostFunction is a function that guests may import. Its types are given as letters, see signature.
type hostFunction struct {
	params, results string
	// call gets the parameters in stack and leaves the result in stack[0]. It must return within
	// some tens of microseconds, because nothing ends a call while it is in the host.
	call func(in *instance, stack []uint64)
}

func (f hostFunction) signature() wasm.FuncType { return signature(f.params, f.results) }

// hostFunctions maps "module.name" to each function that guests may import.
var hostFunctions = func() map[string]hostFunction {
	all := map[string]hostFunction{
		"rollcall.log":     {"iii", "", hostLog},
		"rollcall.request": {"ii", "i", hostRequest},
		"rollcall.kv_get":  {"iiii", "I", hostGet},
		"rollcall.kv_set":  {"iiiiI", "i", hostSet},
		"rollcall.kv_add":  {"iiII", "I", hostAdd},
		"rollcall.count":   {"iiI", "", hostCount},
		"env.abort":        {"iiii", "", hostAbort},
	}
	for name, f := range wasiFunctions {
		all[wasiModule+"."+name] = f
	}
	return all
}()

// instantiateImports instantiates the host modules that m imports from.
func instantiateImports(ctx context.Context, r wazero.Runtime, m *wasm.Module) error {
	wanted := make(map[string]bool)
	for _, im := range m.Imports {
		wanted[im.Module] = true
	}
	for module := range wanted {
		b := r.NewHostModuleBuilder(module)
		for name, f := range hostFunctions {
			if name, ok := strings.CutPrefix(name, module+"."); ok {
				t := f.signature()
				b.NewFunctionBuilder().WithGoModuleFunction(entry(f.call), valueTypes(t.Params), valueTypes(t.Results)).
					Export(name)
			}
		}
		if _, err := b.Instantiate(ctx); err != nil {
			return fmt.Errorf("host module %s: %w", module, err)
		}
	}
	return nil
}

func valueTypes(list []wasm.ValueType) []api.ValueType {
	types := make([]api.ValueType, len(list))
	for i, t := range list {
		types[i] = api.ValueType(t)
	}
	return types
}

func entry(call func(in *instance, stack []uint64)) api.GoModuleFunc {
	return func(ctx context.Context, _ api.Module, stack []uint64) {
		call(ctx.(*callContext).instance, stack)
	}
}

// callContext carries the instance into host functions. It never ends: the watchdog ends calls.
type callContext struct {
	context.Context
	instance *instance
}

func hostLog(in *instance, stack []uint64) {
	level := logLevels[min(uint32(stack[0]), uint32(len(logLevels)-1))]
	ptr, size := uint32(stack[1]), uint32(stack[2])
	text, ok := in.view(ptr, size)
	if !ok {
		panic(fmt.Errorf("rollcall.log: %s at %d outside the memory of %d bytes",
			plural.Of(size, "byte"), ptr, in.linear.Size()))
	}
	in.log.addLine(in, level, text)
}

// hostRequest copies the body of the request. Its length is 0 except during members and shape.
func hostRequest(in *instance, stack []uint64) {
	ptr, size := uint32(stack[0]), uint32(stack[1])
	if len(in.request) > 0 && uint64(len(in.request)) <= uint64(size) {
		b, ok := in.view(ptr, uint32(len(in.request)))
		if !ok {
			panic(fmt.Errorf("rollcall.request: %s at %d outside the memory of %d bytes",
				plural.Of(len(in.request), "byte"), ptr, in.linear.Size()))
		}
		copy(b, in.request)
	}
	stack[0] = uint64(len(in.request))
}

// hostAbort is called by AssemblyScript when it cannot continue.
func hostAbort(in *instance, stack []uint64) {
	text := fmt.Sprintf("abort: %s in %s:%d:%d", in.utf16(uint32(stack[0])), in.utf16(uint32(stack[1])),
		uint32(stack[2]), uint32(stack[3]))
	in.log.addLine(in, zapcore.ErrorLevel, []byte(text))
	panic(fmt.Errorf("%s", text))
}

// utf16 reads an AssemblyScript string: UTF-16, preceded by its length in bytes.
func (in *instance) utf16(ptr uint32) string {
	if ptr < 4 {
		return "(nothing)"
	}
	head, ok := in.view(ptr-4, 4)
	if !ok {
		return "(outside the memory)"
	}
	size := binary.LittleEndian.Uint32(head) / 2
	b, ok := in.view(ptr, 2*min(size, abortMax))
	if !ok {
		return "(outside the memory)"
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}
