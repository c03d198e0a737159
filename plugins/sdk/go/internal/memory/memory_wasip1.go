package memory

import "unsafe"

const (
	minBuffer = 4 << 10   // bytes
	maxBuffer = 256 << 20 // bytes; more must be a mistake, and would end the instance
)

// input is what Rollcall writes into, output what it reads from. They are variables because the
// collector does not see the pointers that Rollcall has.
var input, output []byte

// Buffer returns a buffer of at least size bytes, or nil if that is too much. It doubles, so it seldom grows.
func Buffer(size uint32) unsafe.Pointer {
	if size > maxBuffer {
		return nil
	}
	if n := int(size); n > len(input) || input == nil {
		input = make([]byte, max(n, 2*len(input), minBuffer))
	}
	return unsafe.Pointer(unsafe.SliceData(input))
}

// Input returns the bytes that Rollcall has written.
func Input(p unsafe.Pointer, n uint32) []byte {
	return (*[maxBuffer]byte)(p)[:n:n] // unsafe.Slice would multiply the length by 1, in a call
}

// Output returns b as the result of a hook. b must not change until the next call.
func Output(b []byte) int64 {
	output = b
	return int64(uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b))))<<32 | uint64(uint32(len(b))))
}
