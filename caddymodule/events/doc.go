// Package events sends the events of package presence/events to the receivers of sites: requests
// with 1 to 100 events, signed according to Standard Webhooks.
//
// [Events] is the Sink. An event goes Put -> filter of each [Receiver] -> queue on disk, which is
// that of package backend with a lane for each shard. Put waits for the disk, never for a receiver.
// If a queue has no room, the events of its fullest shard are thrown away, and that shard begins a
// new epoch.
package events
