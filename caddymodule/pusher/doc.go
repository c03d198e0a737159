// Package pusher serves clients of the Pusher Channels protocol, version 7: pusher-js, Laravel Echo
// and others connect to the channels and users of a Rollcall host.
//
// [Clients] makes the [gateway.Protocol] of one connection, which turns its frames into calls of
// the gateway's session. [Encoder] builds the frames about channels from what package presence
// reports. The package has no presence and no fan-out of its own.
package pusher
