// Package backend copies messages to the backend of a site: one HTTP request for each, signed
// according to Standard Webhooks, in order within each channel, and retried until it succeeds.
//
// [Courier.Add] returns when a message is on disk. From then on it is delivered, even if the
// process is killed the moment after. The file is one bbolt database for all hosts, and one
// goroutine commits what many callers add at the same time. Its keys are a host, a hash of the
// channel and a rising number, so that the next message of a channel is found without reading
// others.
//
// A message goes Add -> commit -> queue of its host -> lane of its channel -> request. A queue has
// one goroutine while there is something to deliver, and one more for each pending request. Memory
// does not grow with the number of queued messages: a message is read from disk for each attempt,
// and a queue has a bounded number of lanes.
//
// The package knows HTTP and the disk. It knows neither Caddy nor who may send what. It looks up
// the [Endpoint] at each attempt, so a change of the configuration applies to queued messages, too.
package backend
