package plugins

import (
	"bytes"
	"errors"
	"runtime"

	"github.com/rollcall-gateway/rollcall/plugins/internal/codec"
)

// messageSteps is the number of steps for each byte of a message, in addition to the budget.
const messageSteps = 100

// Sender is who sends a message.
type Sender struct {
	User       *User // nil if anonymous, and for the backend
	Backend    bool
	Connection string // ID of the sending connection; "" for the backend
}

var errNotObject = errors.New("the message is not one JSON object")

// Message asks the plugins about a message to a channel, and returns what is to be sent there: message
// itself if no plugin changes it. site is as for Authorize. A replacement has at most room bytes.
//
// # Errors
//
// It returns an ErrRefused, or an [*Error] if a plugin fails whose policy is [Deny].
func (c *Chain) Message(host, channel string, site Kind, from Sender, message []byte, room int) ([]byte, error) {
	for _, p := range c.load() {
		core := p.anchor.core
		if !core.hooks.Has(HookMessage) {
			continue
		}
		pool := core.pool(host)
		r := newRequest(site, host, channel)
		r.Connection = from.Connection
		switch {
		case from.Backend:
			r.Flags |= codec.FlagBackend
		case from.User == nil:
			r.Flags |= codec.FlagAnonymous
		default:
			r.User, r.Email = from.User.ID, from.User.Email
		}
		result, refused, f := pool.consult(&consultation{
			hook: HookMessage, request: &r, text: message, room: room, check: checkMessage,
			budget: core.limits.MessageBudget + messageSteps*int64(len(message)),
		})
		runtime.KeepAlive(p)
		switch {
		case f != nil && core.policy == Pass:
		case f != nil:
			return nil, pool.error(HookMessage, f)
		case refused:
			return nil, &RefusedError{core.name}
		case result != nil:
			message = trimJSON(result)
		}
	}
	return message, nil
}

// checkMessage accepts one JSON object, with any white space around it.
func checkMessage(result []byte) error {
	if !bytes.HasPrefix(trimJSON(result), []byte("{")) || !codec.ValidJSON(result) {
		return errNotObject
	}
	return nil
}

// trimJSON removes white space around a JSON value (RFC 8259 section 2).
func trimJSON(text []byte) []byte { return bytes.Trim(text, " \t\r\n") }
