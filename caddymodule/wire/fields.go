package wire

import (
	"bytes"
	"encoding/json"
)

// fields are the values of a command's object as JSON; nil if absent.
type fields struct {
	id, kind, channel, presence, token, channels, message, status, echo []byte
}

// parseFields splits a JSON object into its fields. It reports false if p is not one. encoding/json
// validates the syntax, so that the rest need not look for errors. Decoding into a map takes ten
// times as long.
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
		if field := f.named(key); field != nil {
			*field = value // the last one of a name wins
		}
	}
	return f, true
}

// named returns the field for a key; nil if there is none.
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
	case "echo":
		return &f.echo
	case "status":
		return &f.status
	}
	return nil
}

// texts decodes an array of at most limit strings. It reports false for anything else.
func texts(raw []byte, limit int) ([]string, bool) {
	if len(raw) == 0 || raw[0] != '[' {
		return nil, false
	}
	var list []string
	for raw = skipSpace(raw[1:]); raw[0] != ']'; {
		s, ok := text(raw[:valueEnd(raw)])
		if !ok || len(list) == limit {
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
