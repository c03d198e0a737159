// Package rawjson takes JSON apart without decoding it: it returns the members of an object as the
// bytes that were received.
package rawjson

import (
	"bytes"
	"encoding/json"
)

// Object is an iterator over the members of a JSON object.
type Object struct {
	rest []byte // at a key or at the closing brace
}

// Open returns the members of a JSON object. It reports false if p is anything else. encoding/json
// validates the syntax, so that the rest need not look for errors. It accepts bytes that are not
// UTF-8, and they are returned as received: check p first.
func Open(p []byte) (Object, bool) {
	p = skipSpace(p)
	if len(p) == 0 || p[0] != '{' || !json.Valid(p) {
		return Object{}, false
	}
	return Object{skipSpace(p[1:])}, true
}

// Next returns the next member, or false at the end. Both parts are JSON as received. If a key
// occurs several times, all of its members are returned; a decoder takes the last.
func (o *Object) Next() (key, value []byte, ok bool) {
	p := o.rest
	if len(p) == 0 || p[0] == '}' {
		return nil, nil, false
	}
	key = p[:stringEnd(p)]
	p = skipSpace(p[len(key):])
	p = skipSpace(p[1:]) // the colon
	value = p[:valueEnd(p)]
	p = skipSpace(p[len(value):])
	if p[0] == ',' {
		p = skipSpace(p[1:])
	}
	o.rest = p
	return key, value, true
}

// Array is an iterator over the elements of a JSON array.
type Array struct {
	rest []byte // at an element or at the closing bracket
}

// OpenArray returns the elements of an array, which must be valid JSON, as a value of [Object.Next]
// is. It reports false if p is anything else.
func OpenArray(p []byte) (Array, bool) {
	if len(p) == 0 || p[0] != '[' {
		return Array{}, false
	}
	return Array{skipSpace(p[1:])}, true
}

// Next returns the next element as received, or false at the end.
func (a *Array) Next() (value []byte, ok bool) {
	p := a.rest
	if len(p) == 0 || p[0] == ']' {
		return nil, false
	}
	value = p[:valueEnd(p)]
	p = skipSpace(p[len(value):])
	if p[0] == ',' {
		p = skipSpace(p[1:])
	}
	a.rest = p
	return value, true
}

// Text decodes a JSON string. It reports false for any other value, including null and none.
func Text(raw []byte) (string, bool) {
	switch {
	case len(raw) == 0 || raw[0] != '"':
		return "", false
	case bytes.IndexByte(raw, '\\') >= 0:
		return string(unescape(raw)), true
	}
	return string(raw[1 : len(raw)-1]), true
}

// Name returns the bytes of a key without quotes and escapes. They are valid as long as the key.
func Name(key []byte) []byte {
	if bytes.IndexByte(key, '\\') >= 0 {
		return unescape(key)
	}
	return key[1 : len(key)-1]
}

// Missing reports whether a value is absent or null.
func Missing(value []byte) bool { return len(value) == 0 || value[0] == 'n' }

// unescape decodes a string of valid JSON.
func unescape(p []byte) []byte {
	var s string
	_ = json.Unmarshal(p, &s)
	return []byte(s)
}

func skipSpace(p []byte) []byte { return bytes.TrimLeft(p, " \t\r\n") }

// stringEnd returns the length of the string at the start of valid JSON.
func stringEnd(p []byte) int {
	for i := 1; ; i++ {
		switch p[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}

// valueEnd returns the length of the value at the start of valid JSON, within an object or an
// array.
func valueEnd(p []byte) int {
	for i, depth := 0, 0; ; {
		switch p[i] {
		case '"':
			i += stringEnd(p[i:])
		case '{', '[':
			depth++
			i++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
			i++
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
			i++
		default:
			i++
		}
	}
}
