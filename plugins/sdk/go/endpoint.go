package rollcall

// Endpoint is what the members and shape hooks change.
type Endpoint int32

// Endpoints; the first three are under the prefix of the site. Only members knows Live and Events.
const (
	Users    Endpoint = 1 // /message/users
	AllUsers Endpoint = 2 // /message/allusers
	Channels Endpoint = 3 // /message/channels
	Live     Endpoint = 4 // what browsers see of each other
	Events   Endpoint = 5 // what events show of a user
)
