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
	// Hosts returns the numbers of the host, or of all hosts with connections if it is the zero
	// HostName.
	Hosts(host presence.HostName) []message.HostCount
	// Listeners returns what [presence.Host.Listeners] does.
	Listeners(host presence.HostName, l presence.Listeners) (of presence.Listing, list []message.Listener, ok bool)
	// Disconnect closes the connections of the call, and the listeners of the channel, and returns
	// their number. channel is "" for none.
	Disconnect(host presence.HostName, channel string, call *message.Call) int
	// Leave ends memberships of the users and connections of the call, and returns their number.
	Leave(host presence.HostName, call *message.Call) int
}
