package plugins

import (
	"context"
	"fmt"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/rollcall-gateway/rollcall/plugins/internal/wasm"
)

// hostFunction is something that guests may import. Types are given by letters, as signature takes them.
type hostFunction struct {
	params, results string
	// call gets the parameters in stack and leaves the result in stack[0]. It must take a bounded time, some tens of
	// microseconds at most: nothing ends a call while it is in the host.
	call func(in *instance, stack []uint64)
}

func (f hostFunction) signature() wasm.FuncType { return signature(f.params, f.results) }

// hostFunctions has what guests may import, by module and name with a dot between them.
var hostFunctions = func() map[string]hostFunction {
	all := map[string]hostFunction{
		"rollcall.log":     {"iii", "", hostLog},
		"rollcall.request": {"ii", "i", hostRequest},
		"env.abort":        {"iiii", "", hostAbort},
	}
	for name, f := range wasiFunctions {
		all[wasiModule+"."+name] = f
	}
	return all
}()

// instantiateImports makes the host modules that m imports from.
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
