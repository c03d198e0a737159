package query

import (
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Local is what the cluster needs of its own pod. Its methods are called from many goroutines.
type Local interface {
	// Serves reports whether the configuration in effect has a site for the host.
	Serves(host presence.HostName) bool
	// Connections returns the number of open connections.
	Connections() int
	// Explain returns the connections of a user.
	Explain(host presence.HostName, user string) []message.Connection
}
