package pusher

import (
	"slices"

	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
)

// appendQuoted appends JSON as a JSON string. Little of it needs escaping besides its quotes, so
// the bytes between are copied together.
func appendQuoted(b []byte, json string) []byte {
	return append(appendEscaped(append(b, '"'), json), '"')
}

// appendEscaped is appendQuoted without the quotes around it.
func appendEscaped(b []byte, json string) []byte {
	const hex = "0123456789abcdef"
	start := 0
	for i := range len(json) {
		c := json[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		b = append(b, json[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
	}
	return append(b, json[start:]...)
}

// noData is the data of an event that says nothing more. Some clients fail on an event without
// data.
const noData = "{}"

// appendEvent appends a frame without its last brace. channel is "" for an event of no channel;
// data is the text of the event's data.
func appendEvent(b []byte, event, channel, data string) []byte {
	b = append(b, `{"event":`...)
	b = wire.AppendString(b, event)
	if channel != "" {
		b = append(b, `,"channel":`...)
		b = wire.AppendString(b, channel)
	}
	b = append(b, `,"data":`...)
	return appendQuoted(b, data)
}

// frame builds a websocket frame with an event.
func frame(event, channel, data string) []byte {
	return socket.Text(func(b []byte) []byte {
		b = slices.Grow(b, 48+len(event)+len(channel)+len(data)+len(data)/8)
		return append(appendEvent(b, event, channel, data), '}')
	})
}
