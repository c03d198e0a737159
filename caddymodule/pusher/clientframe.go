package pusher

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/rollcall-gateway/rollcall/internal/rawjson"
)

// Events of frames from clients.
const (
	eventPing        = "pusher:ping"
	eventPong        = "pusher:pong"
	eventSubscribe   = "pusher:subscribe"
	eventUnsubscribe = "pusher:unsubscribe"
	eventSignIn      = "pusher:signin"
)

// command is one frame from a client. Members that are missing or null are "".
type command struct {
	event string

	channel     string // of subscribe, unsubscribe and a client event
	auth        string // of subscribe and signin
	channelData string // of subscribe
	userData    string // of signin
	data        string // of a client event: the text of a string, any other value as JSON; noData without one
}

// Reasons of refused frames.
var (
	errNoObject = errors.New("the frame is not a JSON object")
	errNoEvent  = errors.New("event must be a string")
	errNoData   = errors.New("data must be an object, or a string that has one")
)

// parse decodes a text frame from a client. Unknown members and events are ignored. With an error,
// the command has the event, if there is one.
func parse(p []byte) (command, error) {
	o, ok := rawjson.Open(p)
	if !ok || !utf8.Valid(p) {
		return command{}, errNoObject
	}
	var event, channel, data []byte
	for {
		key, value, more := o.Next()
		if !more {
			break
		}
		switch string(rawjson.Name(key)) { // the last one of a name wins
		case "event":
			event = value
		case "channel":
			channel = value
		case "data":
			data = value
		}
	}
	var c command
	if c.event, ok = rawjson.Text(event); !ok {
		return command{}, errNoEvent
	}
	switch {
	case strings.HasPrefix(c.event, clientPrefix):
		c.channel, _ = rawjson.Text(channel)
		text, isText := rawjson.Text(data)
		switch {
		case isText:
			c.data = text
		case rawjson.Missing(data):
			c.data = noData
		default:
			c.data = string(data)
		}
		return c, nil
	case c.event == eventSubscribe, c.event == eventUnsubscribe, c.event == eventSignIn:
		err := c.parseData(data)
		return c, err
	}
	return c, nil
}

// parseData decodes the data of a frame of the protocol: an object, or a string that has one.
func (c *command) parseData(data []byte) error {
	if text, isText := rawjson.Text(data); isText {
		data = []byte(text)
	}
	o, ok := rawjson.Open(data)
	if !ok {
		return errNoData
	}
	for {
		key, value, more := o.Next()
		if !more {
			return nil
		}
		var field *string
		switch string(rawjson.Name(key)) {
		case "channel":
			field = &c.channel
		case "auth":
			field = &c.auth
		case "channel_data":
			field = &c.channelData
		case "user_data":
			field = &c.userData
		default:
			continue
		}
		*field, ok = rawjson.Text(value)
		if !ok && !rawjson.Missing(value) {
			return errors.New(string(rawjson.Name(key)) + " must be a string")
		}
	}
}
