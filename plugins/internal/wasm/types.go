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

// String returns the name in the text format.
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

// FuncType is what a function takes and returns.
type FuncType struct {
	Params, Results []ValueType
}

// String returns the type as errors show it: "func (i32, i32) -> i64".
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

// Kind says what is imported or exported.
type Kind byte

// What a module can import and export.
const (
	KindFunc   Kind = 0
	KindTable  Kind = 1
	KindMemory Kind = 2
	KindGlobal Kind = 3
)

// String returns the word of the text format.
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

// Import is something that a module wants from its host. Check accepts functions alone.
type Import struct {
	Module, Name string
	Kind         Kind
	// Func is the type of a function, otherwise nil.
	Func *FuncType
}

// Export is something that a module offers.
type Export struct {
	Name string
	Kind Kind
	// Index counts the imports of the kind first.
	Index uint32
	// Func is the type of a function, otherwise nil.
	Func *FuncType
}

// Memory is the memory that a module declares, in pages of 64 KiB.
type Memory struct {
	Min uint32
	// Max is meaningful if HasMax.
	Max    uint32
	HasMax bool
}

// Module is a binary that Check accepted. It refers to the file, which must not be changed.
type Module struct {
	Types   []FuncType
	Imports []Import
	Exports []Export
	// Functions is the number of functions that the module defines.
	Functions int
	// Memory is the one memory.
	Memory Memory
	// HasStart says that there is a start section: a function that runs before any other.
	HasStart bool

	start    uint32 // index of the start function, if HasStart
	file     []byte
	sections []section
	// functions holds the type of each function that the module defines.
	functions []uint32
	// imported and defined count functions, tables, memories and globals.
	imported, defined [4]int
	bodies            []body
	// edits are in the order of their places, entry points of functions included.
	edits []edit
	// resultTypes has the types () -> results that are appended for functions with several results, by the type of
	// the function; resultOf lists these in order.
	resultTypes map[uint32]uint32
	resultOf    []uint32
	names       nameSection
}

// total returns how many of the kind there are, imports included. What the rewriter appends comes after these.
func (m *Module) total(k Kind) int { return m.imported[k] + m.defined[k] }

// funcType returns the type of a function by its index, imports first, or nil.
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
