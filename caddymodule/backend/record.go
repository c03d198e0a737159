package backend

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// A record is a message on disk: a byte for the version, the CRC-32C of all that follows it in 4 bytes, a byte for the
// length of the id, the id, and the body of the request.
const (
	recordVersion = 1
	recordHeader  = 1 + 4 + 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errDamaged is returned for a record that is not what was written.
var errDamaged = errors.New("the record is damaged")

// errForeign is returned for a record that is filed under another host than its own.
var errForeign = errors.New("the record is of another host: its place in the file is damaged")

// encodeRecord makes a record. The id has up to 255 bytes.
func encodeRecord(id string, body []byte) []byte {
	b := make([]byte, recordHeader, recordHeader+len(id)+len(body))
	b[0], b[5] = recordVersion, byte(len(id))
	b = append(b, id...)
	b = append(b, body...)
	binary.BigEndian.PutUint32(b[1:], crc32.Checksum(b[5:], castagnoli))
	return b
}

// decodeRecord takes a record apart. The body is part of b.
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

// keySize is the length of a key: the hash of the channel and the number of the message.
const keySize = 8 + 8

func encodeKey(channel, number uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(make([]byte, 0, keySize), channel), number)
}

// decodeKey takes a key apart. It returns false for what is none.
func decodeKey(k []byte) (channel, number uint64, ok bool) {
	if len(k) != keySize {
		return 0, 0, false
	}
	return binary.BigEndian.Uint64(k), binary.BigEndian.Uint64(k[8:]), true
}
