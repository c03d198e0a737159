package socket

import (
	"encoding/binary"
	"unicode/utf8"
)

// Opcodes of RFC 6455 section 5.2, as clients send them.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
)

// frameHeader is what stands before a payload (RFC 6455 section 5.2).
type frameHeader struct {
	final  bool
	opcode byte
	mask   [4]byte
	length uint64 // of the header in bytes
	size   uint64 // of the payload in bytes
}

// maxHeader is the longest header of a frame from a client in bytes: 2, a 64-bit length, and the mask.
const maxHeader = 14

// parseHeader decodes a header. It returns ok false, with no wrong, when more bytes are needed.
func parseHeader(p []byte) (h frameHeader, wrong string, ok bool) {
	if len(p) < 2 {
		return h, "", false
	}
	h.final, h.opcode, h.size = p[0]&0x80 != 0, p[0]&0xf, uint64(p[1]&0x7f)
	control := h.opcode >= opClose
	switch {
	case p[0]&0x70 != 0:
		return h, "reserved bits are set", false // no extension was agreed on
	case h.opcode > opBinary && !control || h.opcode > opPong:
		return h, "unknown opcode", false
	case p[1]&0x80 == 0:
		return h, "a frame is not masked", false
	case control && !h.final:
		return h, "a control frame in fragments", false
	case control && h.size > maxControl:
		return h, "a control frame is too long", false
	}
	h.length = 6
	switch h.size {
	case 126:
		h.length = 8
	case 127:
		h.length = maxHeader
	}
	if uint64(len(p)) < h.length {
		return h, "", false
	}
	switch h.size {
	case 126:
		h.size = uint64(binary.BigEndian.Uint16(p[2:]))
	case 127:
		h.size = binary.BigEndian.Uint64(p[2:])
	}
	copy(h.mask[:], p[h.length-4:])
	return h, "", true
}

// unmask applies the mask to a payload in place (RFC 6455 section 5.3), eight bytes at a time.
func unmask(p []byte, mask [4]byte) {
	m := uint64(binary.LittleEndian.Uint32(mask[:]))
	m |= m << 32
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^m)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= mask[i&3]
	}
}

// parseClose decodes the payload of a close frame (RFC 6455 sections 5.5.1, 7.4 and 8.1). If wrong is not empty, code is the
// one to close with.
func parseClose(p []byte) (code int, wrong string) {
	switch len(p) {
	case 0:
		return CloseNoStatus, ""
	case 1:
		return CloseProtocol, "a close frame with half a code"
	}
	code = int(binary.BigEndian.Uint16(p))
	switch {
	case code >= 3000 && code <= 4999, code >= 1000 && code <= 1003, code >= 1007 && code <= 1014:
	default:
		return CloseProtocol, "a close frame with a bad code"
	}
	if !utf8.Valid(p[2:]) {
		return CloseNotUTF8, "the reason of a close frame is not UTF-8"
	}
	return code, ""
}
