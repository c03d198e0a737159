package pusher

import "github.com/rollcall-gateway/rollcall/presence"

// BackendMessage returns the message for an event of a backend, and whether it is raw, see
// [presence.Source].
func BackendMessage(event, data string) (message []byte, raw bool) { return body(event, data) }

// BackendEvent returns the event that clients of the protocol receive for a message of a backend.
func BackendEvent(message []byte, raw bool) (event, data string) {
	return eventOf(presence.Source{Backend: true, Raw: raw}, message)
}
