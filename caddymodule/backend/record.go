package backend

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// A record is a message on disk: the version in 1 byte, the CRC-32C of the rest in 4 bytes, the
// length of the ID in 1 byte, the ID, and the body of the request.
const (
	recordVersion = 1
	recordHeader  = 1 + 4 + 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errDamaged is returned for a record that differs from what was written.
var errDamaged = errors.New("the record is damaged")

// errForeign is returned for a record that is stored under another host than its own.
var errForeign = errors.New("the record belongs to another host: its position in the file is damaged")

// encodeRecord returns a record. The ID has at most 255 bytes.
func encodeRecord(id string, body []byte) []byte {
	b := make([]byte, recordHeader, recordHeader+len(id)+len(body))
	b[0], b[5] = recordVersion, byte(len(id))
	b = append(b, id...)
	b = append(b, body...)
	binary.BigEndian.PutUint32(b[1:], crc32.Checksum(b[5:], castagnoli))
	return b
}

// decodeRecord parses a record. The body is a part of b.
func decodeRecord(b []byte) (id string, body []byte, err error) {
	if len(b) < recordHeader || b[0] != recordVersion {
		return "", nil, errDamaged
	}
	n := recordHeader + int(b[5])
	if len(b) < n || n == recordHeader || binary.BigEndian.Uint32(b[1:]) != crc32.Checksum(b[5:], castagnoli) {
		return "", nil, errDamaged
	}
	return string(b[recordHeader:n]), b[n:], nil
}

// keySize is the size of a key in bytes: the hash of the channel and the number of the message.
const keySize = 8 + 8

func encodeKey(channel, number uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(make([]byte, 0, keySize), channel), number)
}

// decodeKey parses a key. It returns false if k is not a key.
func decodeKey(k []byte) (channel, number uint64, ok bool) {
	if len(k) != keySize {
		return 0, 0, false
	}
	return binary.BigEndian.Uint64(k), binary.BigEndian.Uint64(k[8:]), true
}
