package socket

import (
	"encoding/binary"
	"strconv"
	"unicode/utf8"
)

// First bytes of frames from the server: opcodes of RFC 6455 section 5.2, with FIN set.
const (
	finText  = 0x81
	finClose = 0x88
	finPing  = 0x89
	finPong  = 0x8a
)

// Close codes of the server (RFC 6455 section 7.4). In the private range, the hundreds tell the
// client what to do.
const (
	CloseGoingAway    = 1001
	CloseProtocol     = 1002
	CloseNoStatus     = 1005 // never sent: the peer gave no code
	CloseNotUTF8      = 1007
	ClosePolicy       = 1008
	CloseTooLarge     = 1009
	CloseInternal     = 1011
	CloseRestart      = 1012
	CloseTokenExpired = 4001 // 4000-4099: do not reconnect
	CloseDisconnected = 4002
	CloseOrigin       = 4003
	CloseRefused      = 4005 // by a plugin
	CloseLimit        = 4008
	CloseSlow         = 4100 // 4100-4199: back off first
	CloseRateLimited  = 4108
	CloseUnavailable  = 4110
	CloseReconnect    = 4200 // 4200-4299: reconnect now
	CloseSilent       = 4201 // only with Limits.TellSilent
)

// maxControl is the largest payload of a control frame in bytes (RFC 6455 section 5.5).
const maxControl = 125

// headerRoom is the size of the longest header of a frame from a server in bytes: 2 and a 64-bit
// length. Servers do not mask.
const headerRoom = 10

// Text builds a text frame. appendTo appends the payload to its argument.
func Text(appendTo func([]byte) []byte) []byte {
	b := appendTo(make([]byte, headerRoom, 256))
	return header(b, len(b)-headerRoom)
}

// header writes the header directly in front of the payload, which starts at headerRoom, and cuts
// off the unused room.
func header(b []byte, size int) []byte {
	switch {
	case size <= maxControl:
		b = b[headerRoom-2:]
		b[1] = byte(size)
	case size <= 0xffff:
		b = b[headerRoom-4:]
		b[1] = 126
		binary.BigEndian.PutUint16(b[2:], uint16(size))
	default:
		b = b[headerRoom-10:]
		b[1] = 127
		binary.BigEndian.PutUint64(b[2:], uint64(size))
	}
	b[0] = finText
	return b
}

// closeFrame builds a close frame. It cuts the reason, at the end of a character, to fit a control
// frame.
func closeFrame(code int, reason string) []byte {
	if code == CloseNoStatus {
		return []byte{finClose, 0}
	}
	for len(reason) > maxControl-2 || !utf8.ValidString(reason) {
		reason = reason[:len(reason)-1]
	}
	b := make([]byte, 0, 4+len(reason))
	b = append(b, finClose, byte(2+len(reason)), byte(code>>8), byte(code))
	return append(b, reason...)
}

func pongFrame(data []byte) []byte {
	return append([]byte{finPong, byte(len(data))}, data...)
}

var pingFrame = []byte{finPing, 0}

// RestartReason returns the reason to send with CloseRestart: how long the client should wait, in
// milliseconds.
func RestartReason(afterMS int64) string {
	return `{"after_ms":` + strconv.FormatInt(afterMS, 10) + `}`
}

// Opcodes of frames from clients (RFC 6455 section 5.2).
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
)

// frameHeader is the header of a frame (RFC 6455 section 5.2).
type frameHeader struct {
	final  bool
	opcode byte
	mask   [4]byte
	length uint64 // length of the header in bytes
	size   uint64 // size of the payload in bytes
}

// maxHeader is the size of the longest header of a frame from a client in bytes: 2, a 64-bit
// length, and the mask.
const maxHeader = 14

// parseHeader decodes a header. If more bytes are needed, ok is false and wrong is empty.
func parseHeader(p []byte) (h frameHeader, wrong string, ok bool) {
	if len(p) < 2 {
		return h, "", false
	}
	h.final, h.opcode, h.size = p[0]&0x80 != 0, p[0]&0xf, uint64(p[1]&0x7f)
	control := h.opcode >= opClose
	switch {
	case p[0]&0x70 != 0:
		return h, "reserved bits are set", false // no extension was negotiated
	case h.opcode > opBinary && !control || h.opcode > opPong:
		return h, "unknown opcode", false
	case p[1]&0x80 == 0:
		return h, "the frame is not masked", false
	case control && !h.final:
		return h, "a control frame is fragmented", false
	case control && h.size > maxControl:
		return h, "a control frame is longer than 125 bytes", false
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

// parseClose decodes the payload of a close frame (RFC 6455 sections 5.5.1, 7.4 and 8.1). If wrong
// is not empty, code is the code to close with.
func parseClose(p []byte) (code int, wrong string) {
	switch len(p) {
	case 0:
		return CloseNoStatus, ""
	case 1:
		return CloseProtocol, "the close frame has half a code"
	}
	code = int(binary.BigEndian.Uint16(p))
	switch {
	case code >= 3000 && code <= 4999, code >= 1000 && code <= 1003, code >= 1007 && code <= 1014:
	default:
		return CloseProtocol, "the close frame has an invalid code"
	}
	if !utf8.Valid(p[2:]) {
		return CloseNotUTF8, "the reason of the close frame is not UTF-8"
	}
	return code, ""
}
