package wasm

import (
	"bytes"
	"encoding/binary"
)

// Builders for files that the text format cannot express: bytes, numbers, and parts of parts.

func u(n uint64) []byte { return binary.AppendUvarint(nil, n) }

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func sized(parts ...[]byte) []byte {
	contents := cat(parts...)
	return append(u(uint64(len(contents))), contents...)
}

func vec(elements ...[]byte) []byte { return append(u(uint64(len(elements))), cat(elements...)...) }

func times(n int, part []byte) []byte { return bytes.Repeat(part, n) }

func text(s string) []byte { return sized([]byte(s)) }

func sec(id byte, parts ...[]byte) []byte { return append([]byte{id}, sized(parts...)...) }

func wasmFile(sections ...[]byte) []byte {
	return append([]byte("\x00asm\x01\x00\x00\x00"), cat(sections...)...)
}

var (
	voidType   = sec(sectionType, vec([]byte{0x60, 0, 0}))
	oneMemory  = sec(sectionMemory, vec([]byte{0, 1}))
	noLocals   = []byte{0}
	endOfCode  = []byte{opEnd}
	emptyCode  = cat(noLocals, endOfCode)
	oneFuncref = sec(sectionTable, vec([]byte{byte(FuncRef), 0, 1}))
)

// code returns a module of n functions of type () -> () with the same body.
func code(n int, body ...[]byte) []byte {
	return wasmFile(voidType,
		sec(sectionFunction, u(uint64(n)), make([]byte, n)),
		oneMemory,
		sec(sectionCode, u(uint64(n)), times(n, sized(body...))))
}
