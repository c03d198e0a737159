// Package presence records which connections a host has, which users they are logged in as and
// which channels they listen to, and shows connections who is in the channels that they watch.
//
// # Usage
//
// A server has one [Registry]. It connects each websocket with an [Outbox], which queues frames,
// and calls the methods of the [Conn] as the client requests:
//
//	registry := presence.NewRegistry(encoder)
//	conn, err := registry.Connect(host, rules, user, outbox)
//	err = conn.Join("salesRoom", presence.WatchList, "1")
//	conn.Close()
//
// A [Host] is one tenant. It exists while it has connections. [Host.Channels], [Host.Users] and
// [Host.Stats] list what it has, for a backend; [Host.Encoded] does so in bytes that it reuses.
//
// # Channels
//
// A channel is active while at least one connection listens to it. The [Classifier] of the host's
// [Rules] decides its [Class] when it becomes active; the [Authorizer] decides about each join.
// Each connection also listens to a private channel of its own, see [ID.PrivateChannel].
//
// # Frames
//
// The [Encoder] builds each frame once for all connections that receive it. A connection that
// watches a channel receives a snapshot and then diffs. Both come out of one step under the host's
// lock, so each change is in exactly one of them.
//
// A user whose last connection was lost stays visible to watchers for a grace period, see [Rules].
// A user who leaves or logs out disappears at once. Listings have no grace period.
//
// # Pods
//
// [Registry.Pods] has the methods that unite the registries of several pods. Package cluster calls
// them; a program that runs as one pod does not need them.
//
// # Concurrency
//
// A host has one lock. The methods of Encoder and Relay, and Push and Queue of Outbox, are called
// with it held and must not call this package; a Classifier and an Authorizer may. The package does
// no I/O. Its goroutines are timers and one for each channel that has messages to deliver.
package presence
