// Package presence tracks who is online: the connections of each host, the users that they are
// logged in as, and the channels that they listen to.
//
// # Usage
//
// A server has one [Registry]. [Registry.Connect] adds a connection to a [Host] and returns a
// [Conn], whose methods do what the client requests. The frames for the client go to the
// [Outbox]:
//
//	registry := presence.NewRegistry(encoder)
//	conn, err := registry.Connect(host, rules, user, outbox)
//	err = conn.Join("salesRoom", presence.WatchList, "1")
//	conn.Close()
//
// # Hosts and channels
//
// A Host is one tenant. It exists while it has connections. [Host.Channels], [Host.Users] and
// [Host.Stats] list it for a backend; [Host.Encoded] returns bytes and reuses unchanged ones.
//
// A channel is active while at least one connection listens to it. When it becomes active, the
// [Classifier] of the [Rules] decides its [Class]. The [Authorizer] decides about each join. Each
// connection also listens to a private channel of its own, see [ID.PrivateChannel].
//
// # Data flow
//
// Data flows one way. A call on a Conn changes state under the lock of its Host. The [Encoder]
// builds each resulting frame once, for all connections that receive it.
//
// A connection that watches a channel receives a snapshot and then diffs. Both come from one step
// under one lock, so a change is in the snapshot or in a diff, never in both.
//
// A lost connection is expected back: its user stays visible to watchers until the grace period of
// the Rules ends. A user who leaves or logs out is removed at once.
//
// # Several pods
//
// [Registry.Pods] has the methods that unite the registries of several pods. Package cluster calls
// them; a program that runs as one pod does not need them.
//
// # Concurrency
//
// A host has one lock. The methods of Encoder, Relay and RulesSource, and Push and Queue of Outbox,
// are called with it held: they must not block or call this package. A Classifier and an Authorizer
// are called without it. The package does no I/O. Its goroutines are timers, and one for each
// channel that has messages to deliver.
package presence
