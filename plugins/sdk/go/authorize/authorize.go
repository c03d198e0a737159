// Package authorize is the hook that may refuse a connection that wants to join a channel.
// Importing it adds the hook to a plugin.
package authorize

import (
	"errors"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
)

// Verdict is the answer of the hook. None of the verdicts lets in a connection that the site's
// rules refuse.
type Verdict uint8

// The verdicts.
const (
	NoObjection Verdict = 0
	Denied      Verdict = 1
)

// Handle sets the function that is called for each connection that wants to join a channel and that
// the site's own rules allow. r is valid during the call, its texts forever.
func Handle(f func(r *rollcall.Request) Verdict) {
	handler = f
}

var (
	handler func(r *rollcall.Request) Verdict
	request rollcall.Request
)

func call(input []byte) (Verdict, error) {
	if handler == nil {
		return 0, errors.New("authorize is imported, but authorize.Handle was not called")
	}
	if err := request.UnmarshalBinary(input); err != nil {
		return 0, err
	}
	return handler(&request), nil
}
