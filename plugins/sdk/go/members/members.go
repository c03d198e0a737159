// Package members is the hook that changes what is shown of each user, or leaves users out.
// Importing it adds the hook to a plugin. It is made for long lists: Rollcall sends users in
// batches of binary records, at less than a microsecond per user.
package members

import (
	"errors"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
)

// Handle sets the function that is called for each user in a listing, and for each user that
// browsers see. For browsers, the result is kept until the user or the configuration changes: it
// may depend on these alone. Of its fields, the site shows id and those in its option members.
func Handle(f func(e rollcall.Endpoint, m *Member)) {
	handler = f
}

var (
	handler func(e rollcall.Endpoint, m *Member)
	current batch
)

// call returns nil if nothing changed.
func call(e rollcall.Endpoint, input []byte) ([]byte, error) {
	if handler == nil {
		return nil, errors.New("members is imported, but members.Handle was not called")
	}
	return current.each(input, e, handler)
}
