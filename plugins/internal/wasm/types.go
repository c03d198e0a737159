package wasm

import "strings"

// ValueType is the type of a parameter, a result or a local.
type ValueType byte

// The value types of WebAssembly 2.0.
const (
	I32       ValueType = 0x7f
	I64       ValueType = 0x7e
	F32       ValueType = 0x7d
	F64       ValueType = 0x7c
	V128      ValueType = 0x7b
	FuncRef   ValueType = 0x70
	ExternRef ValueType = 0x6f
)

// String returns the name of the type in the text format.
func (t ValueType) String() string {
	switch t {
	case I32:
		return "i32"
	case I64:
		return "i64"
	case F32:
		return "f32"
	case F64:
		return "f64"
	case V128:
		return "v128"
	case FuncRef:
		return "funcref"
	case ExternRef:
		return "externref"
	}
	return "unknown"
}

func (t ValueType) valid() bool { return t >= V128 && t <= I32 || t.reference() }

func (t ValueType) reference() bool { return t == FuncRef || t == ExternRef }

// FuncType is the type of a function.
type FuncType struct {
	Params, Results []ValueType
}

// String returns the type as errors show it, such as "func (i32, i32) -> i64".
func (t *FuncType) String() string {
	var b strings.Builder
	b.WriteString("func ")
	list := func(types []ValueType) {
		b.WriteByte('(')
		for i, v := range types {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(v.String())
		}
		b.WriteByte(')')
	}
	list(t.Params)
	switch len(t.Results) {
	case 0:
	case 1:
		b.WriteString(" -> " + t.Results[0].String())
	default:
		b.WriteString(" -> ")
		list(t.Results)
	}
	return b.String()
}

// Kind is the kind of an import or export.
type Kind byte

// Kinds of imports and exports.
const (
	KindFunc   Kind = 0
	KindTable  Kind = 1
	KindMemory Kind = 2
	KindGlobal Kind = 3
)

// String returns the keyword of the text format.
func (k Kind) String() string {
	switch k {
	case KindFunc:
		return "func"
	case KindTable:
		return "table"
	case KindMemory:
		return "memory"
	case KindGlobal:
		return "global"
	}
	return "unknown"
}

// Import is an import of a module. Check accepts only functions.
type Import struct {
	Module, Name string
	Kind         Kind
	// Func is the type of a function; nil for other kinds.
	Func *FuncType
}

// Export is an export of a module.
type Export struct {
	Name string
	Kind Kind
	// Index is the index among all of the kind, imports first.
	Index uint32
	// Func is the type of a function; nil for other kinds.
	Func *FuncType
}

// Memory is the memory that a module declares, in pages of 64 KiB.
type Memory struct {
	Min uint32
	// Max is the declared maximum, if HasMax.
	Max    uint32
	HasMax bool
}

// Module is a binary that Check accepted. It refers to the file, which must not change.
type Module struct {
	Types   []FuncType
	Imports []Import
	Exports []Export
	// Functions is the number of functions that the module defines.
	Functions int
	// Memory is the module's only memory.
	Memory Memory
	// HasStart reports whether there is a start section, whose function runs before any other.
	HasStart bool

	start    uint32 // index of the start function, if HasStart
	file     []byte
	sections []section
	// functions holds the type index of each defined function.
	functions []uint32
	// imported and defined count functions, tables, memories and globals, by Kind.
	imported, defined [4]int
	bodies            []body
	// edits are in file order, entry points of functions included.
	edits []edit
	// resultTypes maps function types with several results to the appended types () -> results.
	// resultOf lists its keys in order.
	resultTypes map[uint32]uint32
	resultOf    []uint32
	names       nameSection
	data        data
}

// total returns the number of entries of a kind, imports included. Meter appends its own after
// these.
func (m *Module) total(k Kind) int { return m.imported[k] + m.defined[k] }

// funcType returns the type of a function by its index, imports first; nil if there is no such
// function.
func (m *Module) funcType(index uint32) *FuncType {
	i := int(index)
	if i < m.imported[KindFunc] {
		for _, im := range m.Imports {
			if im.Kind != KindFunc {
				continue
			}
			if i == 0 {
				return im.Func
			}
			i--
		}
		return nil
	}
	i -= m.imported[KindFunc]
	if i >= len(m.functions) {
		return nil
	}
	return &m.Types[m.functions[i]]
}
