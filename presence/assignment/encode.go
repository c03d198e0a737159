package assignment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/rollcall-gateway/rollcall/presence"
)

// Format of an entry in the file. The key is host, user and channel, separated by zero bytes, which
// none of them contains. The value is version (1 byte), mode (1 byte, with blindMode in a blind
// removal), clock and node (8 bytes each, big-endian), and the CRC-32C of the key and these fields
// (4 bytes). Entries of version 1 have no checksum.
const (
	entryVersion = 2
	valueSize    = 1 + 1 + 8 + 8
	separator    = "\x00"
	blindMode    = 0x80 // added to the mode of a blind removal
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errEntry = errors.New("not an assignment")

func appendKey(b []byte, r *Record) []byte {
	b = append(b, r.Host.String()...)
	b = append(b, separator...)
	b = append(b, r.User...)
	b = append(b, separator...)
	return append(b, r.Channel...)
}

func appendValue(b []byte, r *Record) []byte {
	mode := byte(r.Mode)
	if r.Blind {
		mode |= blindMode
	}
	b = append(b, entryVersion, mode)
	b = binary.BigEndian.AppendUint64(b, r.Version.Clock)
	return binary.BigEndian.AppendUint64(b, r.Version.Node)
}

// encodeValue returns the value of the entry with that key.
func encodeValue(key []byte, r *Record) []byte {
	b := appendValue(make([]byte, 0, valueSize+crc32.Size), r)
	return binary.BigEndian.AppendUint32(b, checksum(key, b))
}

func checksum(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
}

// decode decodes an entry. The file can be damaged, so key and value may be anything; they are not
// retained. Entries of version 1 have no checksum.
func decode(key, value []byte, version byte) (Record, error) {
	if len(value) < valueSize || value[0] != version {
		return Record{}, errEntry
	}
	sum := value[valueSize:]
	value = value[:valueSize]
	switch {
	case version == 1 && len(sum) == 0:
	case version == entryVersion && len(sum) == crc32.Size && binary.BigEndian.Uint32(sum) == checksum(key, value):
	default:
		return Record{}, errEntry
	}
	return decodeFields(key, value)
}

func decodeFields(key, value []byte) (Record, error) {
	parts := bytes.SplitN(key, []byte(separator), 3)
	if len(parts) != 3 {
		return Record{}, errEntry
	}
	host, err := presence.ParseHostName(string(parts[0]))
	if err != nil || host.String() != string(parts[0]) {
		return Record{}, errEntry
	}
	r := Record{
		Host: host, User: string(parts[1]), Channel: string(parts[2]),
		Mode: Mode(value[1] &^ blindMode), Blind: value[1]&blindMode != 0,
		Version: Version{Clock: binary.BigEndian.Uint64(value[2:]), Node: binary.BigEndian.Uint64(value[10:])},
	}
	if !r.valid() {
		return Record{}, errEntry
	}
	return r, nil
}

// valid reports whether the fields of the record are valid.
func (r *Record) valid() bool {
	if r.Mode != None && (r.Blind || r.wipe()) {
		return false
	}
	return !r.Host.IsZero() && r.Mode <= Receive && r.Version.Clock <= MaxClock &&
		presence.CheckUserID(r.User) == nil && (r.wipe() || presence.CheckChannel(r.Channel) == nil)
}
