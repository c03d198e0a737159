// Package console serves the operator's page: who is connected, and what the pod does.
//
// A [Server] outlives a configuration. For each request, the handler says in a [Visit] who asks and
// which hosts they see; the handler has checked that they may. The page has one event stream, whose
// address says which view is open. Each event is a whole snapshot of that view, so the page never
// has to catch up. Data about hosts comes from package operator, about this pod from package
// gateway.
//
// Everything is bounded: the number of streams, their lifetime, the rows of a view, and the time
// spent on snapshots. Nothing here holds a lock of a host while it writes to a client.
package console
