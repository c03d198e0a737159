package pusher

import (
	"strconv"

	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
)

// Events of refusals.
const (
	eventError             = "pusher:error"
	eventSubscriptionError = "pusher:subscription_error"
	// eventSubscriptionErrorNet is the name that pusher-websocket-dotnet knows.
	eventSubscriptionErrorNet = "pusher_internal:subscription_error"
)

// Types of refused subscriptions.
const (
	typeAuth        = "AuthError"
	typeLimit       = "LimitReached"
	typeChannel     = "InvalidChannel"
	typeUnavailable = "Unavailable"
)

// Statuses of refusals that are codes of the protocol, and codes of pusher:error. noCode is null.
const (
	noCode        = 0
	codeRefused   = 4009
	codeLimit     = 4100
	codeTooFast   = 4301
	codeWatchlist = 4302
)

// refusal is why a subscription is refused.
type refusal struct {
	kind   string
	status int
	text   string
}

// refusalOf returns the refusal for an error of the gateway. It returns false if the client expects
// no answer.
func refusalOf(code wire.Code, text string) (refusal, bool) {
	switch code {
	case wire.CodeBadChannel, wire.CodeReservedChannel:
		return refusal{typeChannel, codeRefused, text}, true
	case wire.CodeLoginRequired:
		return refusal{typeAuth, 401, text}, true
	case wire.CodeDenied:
		return refusal{typeAuth, 403, text}, true
	case wire.CodeTooManyChannels:
		return refusal{typeLimit, codeLimit, text}, true
	case wire.CodeNotJoined: // it has unsubscribed meanwhile
		return refusal{}, false
	default:
		return refusal{typeUnavailable, 503, text}, true
	}
}

// subscriptionError builds the answer to a refused subscription.
func subscriptionError(event, channel string, r refusal) []byte {
	b := []byte(`{"type":`)
	b = wire.AppendString(b, r.kind)
	b = append(b, `,"error":`...)
	b = wire.AppendString(b, r.text)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(r.status), 10)
	return frame(event, channel, string(append(b, '}')))
}

// errorFrame builds a pusher:error. It is the only frame whose data is an object.
func errorFrame(code int, message string) []byte {
	return socket.Text(func(b []byte) []byte {
		b = append(b, `{"event":"`+eventError+`","data":{"code":`...)
		if code == noCode {
			b = append(b, "null"...)
		} else {
			b = strconv.AppendInt(b, int64(code), 10)
		}
		b = append(b, `,"message":`...)
		b = wire.AppendString(b, message)
		return append(b, "}}"...)
	})
}
