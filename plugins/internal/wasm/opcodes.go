package wasm

// operand is the kind of operands that follow an opcode.
type operand byte

const (
	refused operand = iota // unknown, or not allowed in plugins
	none
	blockType
	loopHeader
	ifBlock
	elseMark
	endMark
	label
	labelTable
	function
	indirect
	local
	global
	table
	memoryArgument
	memorySize
	memoryGrow
	number32
	number64
	bytes4
	bytes8
	referenceType
	functionRef
	typedSelect
	miscPrefix
	vectorPrefix
)

// opcodes maps the instructions of WebAssembly 2.0 without a prefix to their operands.
var opcodes = func() (t [256]operand) {
	fill := func(from, to int, o operand) {
		for i := from; i <= to; i++ {
			t[i] = o
		}
	}
	fill(0x00, 0x01, none) // unreachable, nop
	t[0x02] = blockType
	t[0x03] = loopHeader
	t[0x04] = ifBlock
	t[0x05] = elseMark
	t[0x0b] = endMark
	fill(0x0c, 0x0d, label) // br, br_if
	t[0x0e] = labelTable
	t[0x0f] = none // return
	t[0x10] = function
	t[0x11] = indirect
	fill(0x1a, 0x1b, none) // drop, select
	t[0x1c] = typedSelect
	fill(0x20, 0x22, local)
	fill(0x23, 0x24, global)
	fill(0x25, 0x26, table) // table.get, table.set
	fill(0x28, 0x3e, memoryArgument)
	t[0x3f] = memorySize
	t[0x40] = memoryGrow
	t[0x41] = number32
	t[0x42] = number64
	t[0x43] = bytes4
	t[0x44] = bytes8
	fill(0x45, 0xc4, none) // numeric
	t[0xd0] = referenceType
	t[0xd1] = none // ref.is_null
	t[0xd2] = functionRef
	t[0xfc] = miscPrefix
	t[0xfd] = vectorPrefix
	return t
}()

// weights is the cost of each instruction. A simple one costs 1 and takes about a nanosecond at
// most.
var weights = func() (t [256]uint8) {
	for i := range t {
		t[i] = 1
	}
	for _, op := range []int{0x6d, 0x6e, 0x6f, 0x70, 0x7f, 0x80, 0x81, 0x82} { // integer division
		t[op] = 12
	}
	for _, op := range []int{0x91, 0x95, 0x9f, 0xa3} { // sqrt, div
		t[op] = 8
	}
	t[0x11] = 4
	t[0x25], t[0x26] = 4, 4
	t[0xd2] = 64 // ref.func leaves native code
	t[0xfc], t[0xfd] = 4, 4
	return t
}()

// Instructions with the prefix 0xfc.
const (
	truncLast  = 0x07
	memoryInit = 0x08
	dataDrop   = 0x09
	memoryCopy = 0x0a
	memoryFill = 0x0b
	tableInit  = 0x0c
	elemDrop   = 0x0d
	tableCopy  = 0x0e
	tableGrow  = 0x0f
	tableSize  = 0x10
	tableFill  = 0x11
)

// vector is the kind of operands that follow an instruction with the prefix 0xfd.
type vector byte

const (
	vectorRefused vector = iota
	vectorNone
	vectorMemory
	vectorMemoryLane
	vectorLane
	vectorBytes16
)

// vectors maps the fixed-width SIMD instructions to their operands. Relaxed ones are above 0xff and
// refused.
var vectors = func() (t [256]vector) {
	fill := func(from, to int, v vector) {
		for i := from; i <= to; i++ {
			t[i] = v
		}
	}
	fill(0x0e, 0xff, vectorNone)
	fill(0x00, 0x0b, vectorMemory)
	fill(0x0c, 0x0d, vectorBytes16) // v128.const, i8x16.shuffle
	fill(0x15, 0x22, vectorLane)
	fill(0x54, 0x5b, vectorMemoryLane)
	fill(0x5c, 0x5d, vectorMemory)
	for _, op := range []int{
		0x9a, 0xa2, 0xa5, 0xa6, 0xaf, 0xb0, 0xb2, 0xb3, 0xb4, 0xbb, 0xc2, 0xc5, 0xc6, 0xcf, 0xd0, 0xd2, 0xd3, 0xd4, 0xe2, 0xee,
	} {
		t[op] = vectorRefused // not assigned
	}
	return t
}()

// refusal explains why plugins cannot use an opcode.
func refusal(op byte) string {
	switch {
	case op == 0x12 || op == 0x13 || op == 0x15:
		return "tail calls are not supported; build without the feature tail-call"
	case op >= 0x06 && op <= 0x0a || op == 0x18 || op == 0x19 || op == 0x1f:
		return "exceptions are not supported; build without the feature exception-handling"
	case op == 0x14 || op >= 0xd3 && op <= 0xd6:
		return "typed function references are not supported"
	case op == 0xfb:
		return "garbage-collected types (the GC proposal) are not supported"
	case op == 0xfe:
		return "threads and atomic instructions are not supported; build without the feature atomics"
	}
	return "unknown instruction"
}
