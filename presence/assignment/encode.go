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
//
// An entry of another kind has the version 3. Its key has the kind in the place of the channel, a
// byte that no channel has, and its value has the kind in the place of the mode. Value, until and
// local (8 bytes each) precede the checksum.
const (
	entryVersion = 2
	kindVersion  = 3
	valueSize    = 1 + 1 + 8 + 8
	kindSize     = valueSize + 8 + 8 + 8
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
	if r.Kind != KindAssignment {
		return append(b, byte(r.Kind))
	}
	return append(b, r.Channel...)
}

// appendValue appends what pods must agree on.
func appendValue(b []byte, r *Record) []byte {
	if r.Kind != KindAssignment {
		b = append(b, kindVersion, byte(r.Kind))
		b = binary.BigEndian.AppendUint64(b, r.Version.Clock)
		b = binary.BigEndian.AppendUint64(b, r.Version.Node)
		b = binary.BigEndian.AppendUint64(b, r.Value)
		return binary.BigEndian.AppendUint64(b, r.Until)
	}
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
	b := appendValue(make([]byte, 0, kindSize+crc32.Size), r)
	if r.Kind != KindAssignment {
		b = binary.BigEndian.AppendUint64(b, r.Local)
	}
	return binary.BigEndian.AppendUint32(b, checksum(key, b))
}

func checksum(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
}

// decode decodes an entry. The file can be damaged, so key and value may be anything; they are not
// retained. Entries of version 1 have no checksum.
func decode(key, value []byte, version byte) (Record, error) {
	size := valueSize
	if len(value) > 0 && value[0] == kindVersion && version == entryVersion {
		version, size = kindVersion, kindSize
	}
	if len(value) < size || value[0] != version {
		return Record{}, errEntry
	}
	sum := value[size:]
	value = value[:size]
	switch {
	case version == 1 && len(sum) == 0:
	case version != 1 && len(sum) == crc32.Size && binary.BigEndian.Uint32(sum) == checksum(key, value):
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
	var host presence.HostName
	if name := string(parts[0]); name != "" { // only a record of kindLeft can be without
		var err error
		if host, err = presence.ParseHostName(name); err != nil || host.String() != name {
			return Record{}, errEntry
		}
	}
	r := Record{
		Host: host, User: string(parts[1]),
		Version: Version{Clock: binary.BigEndian.Uint64(value[2:]), Node: binary.BigEndian.Uint64(value[10:])},
	}
	if value[0] == kindVersion {
		r.Kind = Kind(value[1])
		r.Value, r.Until = binary.BigEndian.Uint64(value[18:]), binary.BigEndian.Uint64(value[26:])
		r.Local = binary.BigEndian.Uint64(value[34:])
		if len(parts[2]) != 1 || parts[2][0] != value[1] {
			return Record{}, errEntry
		}
	} else {
		r.Channel, r.Mode, r.Blind = string(parts[2]), Mode(value[1]&^blindMode), value[1]&blindMode != 0
	}
	if !r.Valid() && !r.validLeft() {
		return Record{}, errEntry
	}
	return r, nil
}

// Valid reports whether the fields of the record are valid.
func (r *Record) Valid() bool {
	if r.Kind != KindAssignment {
		return r.validValue()
	}
	if r.Value != 0 || r.Until != 0 || r.Local != 0 || (r.Mode != None && (r.Blind || r.wipe())) {
		return false
	}
	return !r.Host.IsZero() && r.Mode <= Receive && r.Version.Clock <= MaxClock &&
		presence.CheckUserID(r.User) == nil && (r.wipe() || presence.CheckChannel(r.Channel) == nil)
}
