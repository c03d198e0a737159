package wire

import "github.com/rollcall-gateway/rollcall/internal/rawjson"

// fields are the values of a command's object as JSON; nil if absent.
type fields struct {
	id, kind, channel, presence, token, channels, message, status, echo []byte
}

// parseFields splits a JSON object into its fields. It reports false if p is not one. Decoding into
// a map takes ten times as long.
func parseFields(p []byte) (f fields, ok bool) {
	o, ok := rawjson.Open(p)
	if !ok {
		return fields{}, false
	}
	for {
		key, value, more := o.Next()
		if !more {
			return f, true
		}
		if field := f.named(key); field != nil {
			*field = value // the last one of a name wins
		}
	}
}

// named returns the field for a key; nil if there is none.
func (f *fields) named(key []byte) *[]byte {
	switch string(rawjson.Name(key)) {
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
	a, ok := rawjson.OpenArray(raw)
	if !ok {
		return nil, false
	}
	var list []string
	for {
		value, more := a.Next()
		if !more {
			return list, true
		}
		s, ok := rawjson.Text(value)
		if !ok || len(list) == limit {
			return nil, false
		}
		list = append(list, s)
	}
}
