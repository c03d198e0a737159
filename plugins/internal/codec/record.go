package codec

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// Types of a value in a record.
const (
	typeText = 1
	typeJSON = 2
)

// MaxKeys is the maximum number of keys in a record. It bounds the search for duplicate keys.
const MaxKeys = 64

// MaxShown is the maximum size of the object of AppendShown, in bytes.
const MaxShown = 4 << 10

const recordLength = 4

// ErrCut is returned for a batch or a record that ends too early.
var ErrCut = errors.New("it ends too early")

// User is what the host knows of a user. Info and Status are JSON values; a record of a user
// without one does not have its key.
type User struct{ ID, Email, Info, Status string }

// Size returns the number of bytes that AppendUser adds.
func (u *User) Size() int {
	size := recordLength + fieldSize("id", u.ID) + fieldSize("email", u.Email)
	if u.Info != "" {
		size += fieldSize("info", u.Info)
	}
	if u.Status != "" {
		size += fieldSize("status", u.Status)
	}
	return size
}

// AppendUser adds the record of a user to a batch.
func AppendUser(batch []byte, u *User) []byte {
	batch = binary.LittleEndian.AppendUint32(batch, uint32(u.Size()-recordLength))
	batch = appendField(batch, "id", typeText, u.ID)
	batch = appendField(batch, "email", typeText, u.Email)
	if u.Info != "" {
		batch = appendField(batch, "info", typeJSON, u.Info)
	}
	if u.Status != "" {
		batch = appendField(batch, "status", typeJSON, u.Status)
	}
	return batch
}

func fieldSize(key, value string) int { return 1 + len(key) + 1 + 4 + len(value) }

func appendField(b []byte, key string, kind byte, value string) []byte {
	b = append(b, byte(len(key)))
	b = append(b, key...)
	b = append(b, kind)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(value)))
	return append(b, value...)
}

// AppendRecord adds a record to a batch, unchanged.
func AppendRecord(batch, record []byte) []byte {
	batch = binary.LittleEndian.AppendUint32(batch, uint32(len(record)))
	return append(batch, record...)
}

// Cut splits the first record off a batch.
func Cut(batch []byte) (record, rest []byte, err error) {
	if len(batch) < recordLength {
		return nil, nil, fmt.Errorf("length of a record: %w", ErrCut)
	}
	n := binary.LittleEndian.Uint32(batch)
	batch = batch[recordLength:]
	if uint64(n) > uint64(len(batch)) {
		return nil, nil, fmt.Errorf("record of %d bytes, but only %d left: %w", n, len(batch), ErrCut)
	}
	return batch[:n], batch[n:], nil
}

// AppendObject adds a record to dst as a JSON object. Like encoding/json, it replaces invalid UTF-8
// in texts with U+FFFD.
//
// # Errors
//
// It refuses a broken structure, a key that is not UTF-8, a duplicate key, more than MaxKeys keys,
// a value of an unknown type, and an invalid JSON value.
func AppendObject(dst, record []byte) ([]byte, error) {
	dst, _, err := appendObject(dst, record, nil)
	return dst, err
}

// AppendShown is AppendObject with the key id and those in show alone. It returns the id too.
//
// # Errors
//
// It refuses what AppendObject refuses, also in keys that are not shown. It refuses a record
// without an id that is a text, and an object of more than MaxShown bytes.
func AppendShown(dst, record []byte, show []string) (_, id []byte, err error) {
	return appendNamed(dst, record, func(key []byte) bool {
		return string(key) == "id" || slices.Contains(show, string(key))
	})
}

// AppendNamed is AppendShown with all keys.
func AppendNamed(dst, record []byte) (_, id []byte, err error) { return appendNamed(dst, record, nil) }

func appendNamed(dst, record []byte, shown func(key []byte) bool) (_, id []byte, err error) {
	start := len(dst)
	dst, id, err = appendObject(dst, record, shown)
	switch {
	case err != nil:
		return dst, nil, err
	case id == nil:
		return dst, nil, errors.New("there is no id that is a text")
	case len(dst)-start > MaxShown:
		return dst, nil, fmt.Errorf("%d bytes are shown, at most %d are allowed", len(dst)-start, MaxShown)
	}
	return dst, id, nil
}

// appendObject appends the keys for which shown returns true; if it is nil, all keys. id is the
// text of the key id, which is not checked for UTF-8; nil if there is none.
func appendObject(dst, record []byte, shown func(key []byte) bool) (_, id []byte, err error) {
	var keys [MaxKeys][]byte
	n := 0
	dst = append(dst, '{')
	first := len(dst)
	for len(record) > 0 {
		f, rest, err := cutField(record)
		if err != nil {
			return dst, nil, err
		}
		record = rest
		if n == MaxKeys {
			return dst, nil, fmt.Errorf("more than %d keys", MaxKeys)
		}
		for _, k := range keys[:n] {
			if string(k) == string(f.key) {
				return dst, nil, fmt.Errorf("key %q occurs twice", f.key)
			}
		}
		keys[n] = f.key
		n++
		before := len(dst)
		if before > first {
			dst = append(dst, ',')
		}
		if dst, err = f.append(dst); err != nil {
			return dst, nil, err
		}
		if f.kind == typeText && string(f.key) == "id" {
			id = f.value
		}
		if shown != nil && !shown(f.key) {
			dst = dst[:before]
		}
	}
	return append(dst, '}'), id, nil
}

type field struct {
	key, value []byte
	kind       byte
}

func cutField(b []byte) (f field, rest []byte, err error) {
	n := int(b[0])
	b = b[1:]
	if len(b) < n+5 {
		return f, nil, fmt.Errorf("key of %d bytes: %w", n, ErrCut)
	}
	f.key, f.kind = b[:n], b[n]
	size := binary.LittleEndian.Uint32(b[n+1:])
	b = b[n+5:]
	if uint64(size) > uint64(len(b)) {
		return f, nil, fmt.Errorf("value of %q of %d bytes: %w", f.key, size, ErrCut)
	}
	f.value = b[:size]
	return f, b[size:], nil
}

func (f *field) append(dst []byte) ([]byte, error) {
	if !utf8.Valid(f.key) {
		return dst, fmt.Errorf("key %q is not UTF-8", f.key)
	}
	dst = AppendString(dst, f.key)
	dst = append(dst, ':')
	switch f.kind {
	case typeText:
		return AppendString(dst, f.value), nil
	case typeJSON:
		if !ValidJSON(f.value) {
			return dst, fmt.Errorf("value of %q is not a JSON value", f.key)
		}
		return append(dst, f.value...), nil
	default:
		return dst, fmt.Errorf("value of %q has type %d, want %d (text) or %d (JSON)",
			f.key, f.kind, typeText, typeJSON)
	}
}

// ValidJSON reports whether b is one JSON value in UTF-8.
func ValidJSON(b []byte) bool { return utf8.Valid(b) && json.Valid(b) }
