package wire

import (
	"bytes"
	"encoding/json"
)

// fields are the values of a command's object as JSON, nil for those that are absent.
type fields struct {
	id, kind, channel, presence, token, channels, message []byte
}

// parseFields takes the object apart. It returns false for what is not one. encoding/json holds it to the grammar, so
// that the rest can go through it without looking for errors; decoding into a map takes ten times as long.
func parseFields(p []byte) (f fields, ok bool) {
	p = bytes.TrimLeft(p, jsonSpace)
	if len(p) == 0 || p[0] != '{' || !json.Valid(p) {
		return fields{}, false
	}
	for p = skipSpace(p[1:]); p[0] != '}'; {
		key := p[:stringEnd(p)]
		p = skipSpace(p[len(key):])
		p = skipSpace(p[1:]) // the colon
		value := p[:valueEnd(p)]
		p = skipSpace(p[len(value):])
		if p[0] == ',' {
			p = skipSpace(p[1:])
		}
		if to := f.named(key); to != nil {
			*to = value // the last one of a name counts
		}
	}
	return f, true
}

// named returns the place for the value of a key, nil when it has none.
func (f *fields) named(key []byte) *[]byte {
	name := key[1 : len(key)-1]
	if bytes.IndexByte(name, '\\') >= 0 {
		name = unescape(key)
	}
	switch string(name) {
	case "id":
		return &f.id
	case "type":
		return &f.kind
	case "channel":
		return &f.channel
	case "presence":
		return &f.presence
	case "token":
		return &f.token
	case "channels":
		return &f.channels
	case "message":
		return &f.message
	}
	return nil
}

// texts decodes an array of strings, of most at most. It returns false for anything else.
func texts(raw []byte, most int) ([]string, bool) {
	if len(raw) == 0 || raw[0] != '[' {
		return nil, false
	}
	var list []string
	for raw = skipSpace(raw[1:]); raw[0] != ']'; {
		s, ok := text(raw[:valueEnd(raw)])
		if !ok || len(list) == most {
			return nil, false
		}
		list = append(list, s)
		raw = skipSpace(raw[valueEnd(raw):])
		if raw[0] == ',' {
			raw = skipSpace(raw[1:])
		}
	}
	return list, true
}

// unescape decodes a string of valid JSON.
func unescape(p []byte) []byte {
	var s string
	_ = json.Unmarshal(p, &s)
	return []byte(s)
}

const jsonSpace = " \t\r\n"

func skipSpace(p []byte) []byte { return bytes.TrimLeft(p, jsonSpace) }

// stringEnd returns how long the string at the beginning of valid JSON is.
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

// valueEnd returns how long the value at the beginning of valid JSON is, inside of an object or an array.
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
