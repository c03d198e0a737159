package plugins

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rollcall-gateway/rollcall/plugins/internal/wasm"
)

// Names of the contract's exports.
const (
	exportMemory     = "memory"
	exportMarker     = "rollcall_abi_v1"
	exportBuffer     = "rollcall_buffer"
	exportInitialize = "_initialize"
	exportConfigure  = "rollcall_configure"
	exportStart      = "_start"
	exportLive       = "rollcall_members_live"
	// exportPrefix starts all names that are meant for Rollcall.
	exportPrefix = "rollcall_"
)

// hookExports lists the export of each hook. The last hook is an export of another hook, with the
// marker exportLive.
var hookExports = [hookCount]string{
	"rollcall_classify", "rollcall_authorize", "rollcall_members", "rollcall_shape", "rollcall_connect", "rollcall_message",
	"rollcall_members",
}

// contractTypes maps each function that a guest may export for the host to its type.
var contractTypes = map[string]wasm.FuncType{
	exportMarker:               {},
	exportInitialize:           {},
	exportLive:                 {},
	exportBuffer:               signature("i", "i"),
	exportConfigure:            signature("ii", "i"),
	hookExports[HookClassify]:  signature("ii", "I"),
	hookExports[HookAuthorize]: signature("ii", "I"),
	hookExports[HookMembers]:   signature("iii", "I"),
	hookExports[HookShape]:     signature("iii", "I"),
	hookExports[HookConnect]:   signature("ii", "I"),
	hookExports[HookMessage]:   signature("ii", "I"),
}

// signature builds a type from letters: i is i32, I is i64.
func signature(params, results string) wasm.FuncType {
	list := func(letters string) (types []wasm.ValueType) {
		for _, c := range letters {
			if c == 'I' {
				types = append(types, wasm.I64)
			} else {
				types = append(types, wasm.I32)
			}
		}
		return types
	}
	return wasm.FuncType{Params: list(params), Results: list(results)}
}

// verify compares the imports and exports of a module with the contract, and returns its hooks.
func verify(m *wasm.Module) (Hooks, error) {
	for _, im := range m.Imports {
		if err := verifyImport(im); err != nil {
			return 0, err
		}
	}
	return verifyExports(m.Exports)
}

func verifyImport(im wasm.Import) error {
	f, ok := hostFunctions[im.Module+"."+im.Name]
	switch {
	case im.Kind != wasm.KindFunc:
		return fmt.Errorf("import %s.%s is a %s, plugins may import functions only", im.Module, im.Name, im.Kind)
	case !ok:
		return fmt.Errorf("import %s.%s (%s) is not provided; plugins may import wasi_snapshot_preview1, rollcall.log, "+
			"rollcall.request, rollcall.kv_get, rollcall.kv_set, rollcall.kv_add, rollcall.count and env.abort", im.Module, im.Name, im.Func)
	}
	if want := f.signature(); want.String() != im.Func.String() {
		return fmt.Errorf("import %s.%s has the type %s, the contract says %s", im.Module, im.Name, im.Func, &want)
	}
	return nil
}

func verifyExports(exports []wasm.Export) (hooks Hooks, err error) {
	found := make(map[string]bool, len(exports))
	for _, e := range exports {
		found[e.Name] = true
		if e.Name == exportMemory && e.Kind != wasm.KindMemory {
			return 0, fmt.Errorf("export %s is a %s, the contract says memory", e.Name, e.Kind)
		}
		want, ok := contractTypes[e.Name]
		if !ok {
			continue
		}
		if e.Kind != wasm.KindFunc {
			return 0, fmt.Errorf("export %s is a %s, the contract says %s", e.Name, e.Kind, &want)
		}
		if e.Func.String() != want.String() {
			return 0, fmt.Errorf("export %s has the type %s, the contract says %s", e.Name, e.Func, &want)
		}
		for h, name := range hookExports[:HookMembersLive] {
			if name == e.Name {
				hooks |= 1 << h
			}
		}
	}
	if found[exportLive] && hooks.Has(HookMembers) {
		hooks |= 1 << HookMembersLive
	}
	if found[exportStart] && !found[exportMarker] {
		return 0, errors.New("this is a command (it exports _start), not a plugin: build a reactor, " +
			"with Go -buildmode=c-shared, with clang -mexec-model=reactor")
	}
	for _, name := range [...]string{exportMemory, exportMarker, exportBuffer} {
		if !found[name] {
			return 0, fmt.Errorf("export %s is missing; every plugin needs it, the SDKs provide it", name)
		}
	}
	if hooks == 0 {
		err := fmt.Errorf("there is no hook: export at least one of %s", strings.Join(hookExports[:HookMembersLive], ", "))
		if unknown := unknownExports(exports); len(unknown) > 0 {
			err = fmt.Errorf("%w; is %s misspelt?", err, strings.Join(unknown, ", "))
		}
		return 0, err
	}
	return hooks, nil
}

// unknownExports returns names that have the contract's prefix but are not in the contract.
func unknownExports(exports []wasm.Export) (names []string) {
	for _, e := range exports {
		if _, known := contractTypes[e.Name]; !known && strings.HasPrefix(e.Name, exportPrefix) {
			names = append(names, e.Name)
		}
	}
	return names
}
