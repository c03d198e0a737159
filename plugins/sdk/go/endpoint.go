package rollcall

// Endpoint is the kind of answer that the members and shape hooks change.
type Endpoint int32

// Endpoints, under the prefix of the site.
const (
	Users    Endpoint = 1 // /message/users
	AllUsers Endpoint = 2 // /message/allusers
	Channels Endpoint = 3 // /message/channels
)
