// Package presence knows who is connected: which connections a domain host has, who their users are, and
// which channels they listen to.
//
// A [Registry] holds one [Host] per tenant, created with its first connection and dropped with its last. A
// [Conn] joins and leaves channels of its host; a channel is active while at least one connection listens to
// it. What a channel is ([Class]) is asked of the host's [Classifier] when it becomes active, and kept; who may join
// beyond that, of its [Authorizer] at each join.
//
// Data flows one way. A call on a Conn changes the state under the lock of its Host, and what others must
// hear of it is encoded once by the registry's [Encoder] and handed to the [Outbox] of each connection.
// A connection that asked for presence gets a snapshot and then diffs; both come out of the same step
// under the same lock, so a member is in exactly one of them.
//
// A message is encoded once too, and joined with others of its channel while those before it are written ([Conn.Send]).
//
// Several pods make one deployment through a [Relay]. Each tells the others what changes in its part of a channel
// ([Pods.Changes]), and takes over what they have of those that are watched here ([Pods.MergeDelta]): what watchers
// see is the union. What a backend is told by [Host.Channels] and its like is this pod's part alone, made for being
// merged with that of others by [Pods.Listings] and [Pods.Members]. [Host.Encoded] and its like have the same as bytes, of
// which a host keeps what did not change while it is asked.
//
// A connection that was lost is taken for one that will be back: watchers go on seeing its user for the grace of the
// [Rules], over all pods. Whoever leaves goes at once.
//
// The package does no I/O, starts no goroutine but short timers and one for each channel that has messages to deliver, calls a Classifier or an Authorizer only without
// holding a lock, and knows neither HTTP nor websockets nor Caddy.
package presence
