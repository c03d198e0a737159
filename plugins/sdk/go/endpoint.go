package rollcall

// Endpoint says which answer the members and shape hooks are about to change.
type Endpoint int32

// The endpoints, under the prefix of the site.
const (
	Users    Endpoint = 1 // /message/users
	AllUsers Endpoint = 2 // /message/allusers
	Channels Endpoint = 3 // /message/channels
)
