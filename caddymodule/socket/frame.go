package socket

import (
	"encoding/binary"
	"strconv"
	"unicode/utf8"
)

// Opcodes of RFC 6455 section 5.2, with FIN set.
const (
	finText  = 0x81
	finClose = 0x88
	finPing  = 0x89
	finPong  = 0x8a
)

// Close codes that the server sends (RFC 6455 section 7.4, and the private range by what the client should do).
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
	CloseOrigin       = 4003
	CloseLimit        = 4008
	CloseSlow         = 4100 // 4100-4199: back off first
	CloseRateLimited  = 4108
	CloseUnavailable  = 4110
)

// maxControl is the largest payload of a control frame in bytes (RFC 6455 section 5.5).
const maxControl = 125

// headerRoom is the longest header of a frame from a server, which does not mask: 2 bytes and a 64-bit length.
const headerRoom = 10

// Text builds a text frame whose payload is what appendTo appends to its argument.
func Text(appendTo func([]byte) []byte) []byte {
	b := appendTo(make([]byte, headerRoom, 256))
	return header(b, len(b)-headerRoom)
}

// header puts the header right in front of the payload, which begins at headerRoom, and cuts the unused room off.
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

// closeFrame builds a close frame. The reason is cut, at the end of a character, to what fits in a control frame.
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

// RestartReason is the reason that goes with CloseRestart: how long the client should wait, in milliseconds.
func RestartReason(afterMS int64) string {
	return `{"after_ms":` + strconv.FormatInt(afterMS, 10) + `}`
}
