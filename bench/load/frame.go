package load

import (
	"encoding/binary"
	"errors"
)

// Opcodes of RFC 6455 section 5.2 that a server sends.
const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

// errFrame is returned for bytes that no server may send to a client.
var errFrame = errors.New("not a frame of a server")

// nextFrame returns the first frame of b and its length, 0 if it is incomplete. The servers here do
// not send messages in several frames.
func nextFrame(b []byte) (op byte, payload []byte, used int, err error) {
	if len(b) < 2 {
		return 0, nil, 0, nil
	}
	if b[0]&0xf0 != 0x80 || b[1]&0x80 != 0 {
		return 0, nil, 0, errFrame
	}
	head, size := 2, uint64(b[1])
	switch size {
	case 126:
		if len(b) < 4 {
			return 0, nil, 0, nil
		}
		head, size = 4, uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if len(b) < 10 {
			return 0, nil, 0, nil
		}
		head, size = 10, binary.BigEndian.Uint64(b[2:])
	}
	if size > maxFrame {
		return 0, nil, 0, errFrame
	}
	used = head + int(size)
	if len(b) < used {
		return 0, nil, 0, nil
	}
	return b[0] & 0x0f, b[head:used], used, nil
}

// maxFrame is the size of the largest frame that is read, in bytes.
const maxFrame = bufferSize / 2

// AppendText appends a text frame of a client. The mask is zero, which costs a server as much as
// any other.
func AppendText(b []byte, payload []byte) []byte { return appendFrame(b, opText, payload) }

func appendFrame(b []byte, op byte, payload []byte) []byte {
	b = append(b, 0x80|op)
	switch size := len(payload); {
	case size < 126:
		b = append(b, 0x80|byte(size))
	case size < 1<<16:
		b = append(b, 0x80|126)
		b = binary.BigEndian.AppendUint16(b, uint16(size))
	default:
		b = append(b, 0x80|127)
		b = binary.BigEndian.AppendUint64(b, uint64(size))
	}
	b = append(b, 0, 0, 0, 0)
	return append(b, payload...)
}

// Unmask returns the payloads of the text frames in b, which AppendText wrote, and the start of an
// incomplete frame.
func Unmask(b []byte) (payloads []string, rest []byte) {
	for {
		if len(b) < 2 {
			return payloads, b
		}
		head, size := 6, int(b[1]&0x7f)
		if size == 126 {
			if len(b) < 4 {
				return payloads, b
			}
			head, size = 8, int(binary.BigEndian.Uint16(b[2:]))
		}
		if len(b) < head+size {
			return payloads, b
		}
		if b[0]&0x0f == opText {
			payloads = append(payloads, string(b[head:head+size]))
		}
		b = b[head+size:]
	}
}
