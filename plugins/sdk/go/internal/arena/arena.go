// Package arena makes strings of short-lived bytes, at a small part of the price of an allocation each.
package arena

import "unsafe"

const (
	blockSize = 4 << 10 // bytes
	largest   = 256     // bytes of a string that goes into a block
)

// Arena cuts strings off blocks. A string is never overwritten, so it is as good as any other; it
// keeps its block from the collector. The zero value is ready.
type Arena struct {
	block []byte
}

// String returns a string with the bytes of b.
func (a *Arena) String(b []byte) string {
	// This is the common case; code after an if costs more than code in it, see Request.UnmarshalBinary.
	if n := len(b); n > 0 && n <= len(a.block) && n <= largest {
		block := a.block
		copy(block, b)
		a.block = block[n:]
		return unsafe.String(unsafe.SliceData(block), n)
	}
	return a.newBlock(b)
}

func (a *Arena) newBlock(b []byte) string {
	if len(b) == 0 || len(b) > largest {
		return string(b)
	}
	a.block = make([]byte, blockSize)
	return a.String(b)
}
