package cluster

import (
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Local is what the cluster asks of its own pod. It is called from many goroutines.
type Local interface {
	// Serves reports whether the configuration in effect has a site for the host.
	Serves(host presence.HostName) bool
	// Connections returns how many are open.
	Connections() int
	// Explain returns the connections of a user.
	Explain(host presence.HostName, user string) []message.Connection
}
