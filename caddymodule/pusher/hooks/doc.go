// Package hooks writes the webhooks of the Pusher protocol: the body of a request, its signature,
// and the events in it.
//
// It is a second form of the events that package caddymodule/events queues. An event is queued as
// [Event.Encode] returns it. [Writer] makes requests of queued events.
package hooks
