// Package classify is the hook that decides the kind of a channel. Importing it adds the hook to a plugin.
package classify

import (
	"errors"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
)

// Handle sets the function that is called when a channel becomes active, and again after a change of configuration or
// plugin. The answer may depend on the request and on the options alone: Rollcall keeps it for as long as the channel
// is active. r is valid during the call, its texts for ever. A text that is kept holds up to 16 KiB of others in memory:
// of few among many keep a copy, see [strings.Clone].
func Handle(f func(r *rollcall.Request) rollcall.Decision) {
	handler = f
}

var (
	handler func(r *rollcall.Request) rollcall.Decision
	request rollcall.Request
)

func call(input []byte) (rollcall.Decision, error) {
	if handler == nil {
		return 0, errors.New("classify is imported, but classify.Handle was not called")
	}
	if err := request.UnmarshalBinary(input); err != nil {
		return 0, err
	}
	return handler(&request), nil
}
