// Package shape is the hook that may change a whole answer. Importing it adds the hook to a plugin.
//
// For long lists, use the hook members instead. An answer larger than the plugin's document limit
// (default 256 KiB) is not passed to shape, and counts as a failure of the plugin.
package shape

import (
	"errors"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
)

// Handle sets the function that gets each answer as JSON. It returns the JSON value to send
// instead, or nil to send the answer unchanged. If it returns an error, nothing of the answer is
// sent, unless on_failure says otherwise. body is valid during the call.
func Handle(f func(e rollcall.Endpoint, body []byte) ([]byte, error)) {
	handler = f
}

var handler func(e rollcall.Endpoint, body []byte) ([]byte, error)

// call returns nil for an unchanged answer.
func call(e rollcall.Endpoint, body []byte) ([]byte, error) {
	if handler == nil {
		return nil, errors.New("shape is imported, but shape.Handle was not called")
	}
	answer, err := handler(e, body)
	if err == nil && answer != nil && len(answer) == 0 {
		return nil, errors.New("shape: the answer is empty, which is not JSON; return nil to leave it unchanged")
	}
	return answer, err
}
