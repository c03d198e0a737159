// Package classify is the hook that decides the kind of a channel. Importing it adds the hook to a
// plugin.
package classify

import (
	"errors"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
)

// Handle sets the function that is called when a channel becomes active, and again after a change
// of the configuration or of plugins. The answer may depend only on the request and on the options,
// because Rollcall keeps it while the channel is active.
//
// r is valid during the call, its texts forever. A text that is kept also keeps up to 16 KiB of
// other texts in memory. If the plugin keeps few of many texts, clone them, see [strings.Clone].
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
