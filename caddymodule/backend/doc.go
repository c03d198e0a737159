// Package backend copies messages to the backend of a site: an HTTP request for each, signed as the specification
// Standard Webhooks says, in order for each channel, and as often as it takes.
//
// [Courier.Add] returns when a message is on disk; what was added is delivered even if the process is killed the
// moment after. The file is one bbolt database for all hosts, and one goroutine commits what many add at the same time.
// Its keys are a host, a hash of the channel and a rising number, so that the next message of a channel is found without
// reading others.
//
// A message goes Add -> commit -> queue of its host -> lane of its channel -> request. A queue has one goroutine while
// there is something to deliver, and one more for each request that is under way. Memory does not grow with what waits:
// a message is read from the disk for each attempt, and a queue knows a bounded number of channels at a time.
//
// The package knows HTTP and the disk. It knows neither Caddy nor who may send what; an [Endpoint] is asked for at each
// attempt, so a change of the configuration holds for what waits already.
package backend
