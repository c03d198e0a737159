package pusher

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/internal/rawjson"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Names of events for messages that are no events of the protocol.
const (
	clientPrefix        = "client-"
	reservedPrefix      = "pusher"
	eventMessage        = "message"          // of the backend
	eventClientMessage  = "client-message"   // of a native client
	eventPrivateMessage = "rollcall:message" // to the private channel of a connection
)

// Message implements [presence.FrameEncoder].
func (Encoder) Message(channel string, from presence.Source, message []byte) []byte {
	event, data := eventOf(from, message)
	user := ""
	switch {
	case from.To != "":
		channel = app.UserPrefix + from.To
	case strings.HasPrefix(channel, presence.PrivatePrefix):
		event, data, channel = eventPrivateMessage, string(message), ""
	case !from.Backend && isPresence(channel):
		user = senderID(from)
	}
	return socket.Text(func(b []byte) []byte {
		b = slices.Grow(b, 64+len(event)+len(channel)+len(data)+len(data)/8+len(user))
		b = appendEvent(b, event, channel, data)
		if user != "" {
			b = append(b, `,"user_id":`...)
			b = wire.AppendString(b, user)
		}
		return append(b, '}')
	})
}

// senderID returns the ID by which other connections know the sender; "" if they do not.
func senderID(from presence.Source) string {
	switch {
	case from.Shown != nil && from.Shown.Sender == "":
		return ""
	case from.Shown != nil:
		return from.Shown.ID
	case from.User != nil:
		return from.User.ID
	}
	return ""
}

// eventOf returns the event for a message: its name and its data. A message with the members event
// and data, and no others, is one if the sender may trigger it: a client only one that begins with
// client-.
func eventOf(from presence.Source, message []byte) (name, data string) {
	if from.Raw {
		if event, value, ok := rawEvent(message); ok {
			return event, string(value)
		}
	}
	event, value, ok := splitEvent(message)
	switch {
	case ok && from.Backend && !strings.HasPrefix(event, reservedPrefix), ok && strings.HasPrefix(event, clientPrefix):
		if text, isText := rawjson.Text(value); isText {
			return event, text
		}
		return event, string(value)
	case from.Backend:
		return eventMessage, string(message)
	}
	return eventClientMessage, string(message)
}

// splitEvent returns the members of {"event":E,"data":V}. It reports false for any other message.
func splitEvent(message []byte) (event string, value []byte, ok bool) {
	o, ok := rawjson.Open(message)
	if !ok {
		return "", nil, false
	}
	named := false
	for {
		key, member, more := o.Next()
		if !more {
			return event, value, named && value != nil
		}
		switch string(rawjson.Name(key)) {
		case "event":
			if event, named = rawjson.Text(member); !named {
				return "", nil, false
			}
		case "data":
			value = member
		default:
			return "", nil, false
		}
	}
}

// rawEvent returns the members of a message that [body] has made, with the bytes of data as they
// were published. It reports false for any other message, which another pod may send.
func rawEvent(message []byte) (event string, data []byte, ok bool) {
	const head, middle = `{"event":`, `,"data":`
	rest, ok := bytes.CutPrefix(message, []byte(head))
	if !ok {
		return "", nil, false
	}
	// The quotes of the middle cannot occur in the name, where they are escaped.
	name, data, ok := bytes.Cut(rest, []byte(middle))
	if !ok || len(name) < 2 || name[len(name)-1] != '"' || len(data) == 0 {
		return "", nil, false
	}
	data = data[:len(data)-1] // without the brace
	event, ok = rawjson.Text(name)
	return event, data, ok && json.Valid(data)
}

// body returns the native form of an event, and whether it is raw, see [presence.Source]: the value
// of data is the data itself if that is JSON, otherwise it as a string.
func body(event, data string) (message []byte, raw bool) {
	b := make([]byte, 0, 24+len(event)+len(data)+len(data)/8)
	b = append(b, `{"event":`...)
	b = wire.AppendString(b, event)
	b = append(b, `,"data":`...)
	head := len(b)
	if b = append(append(b, data...), '}'); json.Valid(b) && json.Valid([]byte(data)) {
		return b, true
	}
	b = wire.AppendString(b[:head], data)
	return append(b, '}'), false
}
