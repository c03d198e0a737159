// Package shape is the hook that may change a whole answer. Importing it adds the hook to a plugin.
//
// For long lists use the hook members instead: an answer larger than the plugin's document limit (default 256 KiB) is
// not offered to this one, and counts as its failure.
package shape

import (
	"errors"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
)

// Handle sets the function that gets each answer as JSON, and returns what is sent instead, one JSON value, or nil to
// send it unchanged. With an error nothing of the answer leaves, unless on_failure says otherwise. body is valid during
// the call.
func Handle(f func(e rollcall.Endpoint, body []byte) ([]byte, error)) {
	handler = f
}

var handler func(e rollcall.Endpoint, body []byte) ([]byte, error)

// call returns nil for an answer that stays as it is.
func call(e rollcall.Endpoint, body []byte) ([]byte, error) {
	if handler == nil {
		return nil, errors.New("shape is imported, but shape.Handle was not called")
	}
	answer, err := handler(e, body)
	if err == nil && answer != nil && len(answer) == 0 {
		return nil, errors.New("shape: the answer is empty, which is no JSON; return nil to leave it unchanged")
	}
	return answer, err
}
