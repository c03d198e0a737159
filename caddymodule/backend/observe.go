package backend

// Reason is why an attempt failed, or why a message was refused or discarded.
type Reason string

// Reasons for a failed attempt. All except ReasonDisk are about the backend.
const (
	ReasonNetwork  Reason = "network"      // no connection, or a broken one
	ReasonTimeout  Reason = "timeout"      // no answer in time
	ReasonBusy     Reason = "busy"         // 429
	ReasonServer   Reason = "server_error" // 5xx
	ReasonRefused  Reason = "refused"      // 4xx
	ReasonRedirect Reason = "redirect"     // 3xx, which is not followed
	ReasonDisk     Reason = "disk"         // the file could not be read
)

// Reasons for a refused message, in addition to ReasonDisk.
const (
	ReasonFull  Reason = "full"  // the queue of the host is full
	ReasonHosts Reason = "hosts" // too many hosts have a queue
)

// Reasons for discarding a queued message, in addition to ReasonRefused and, for events,
// ReasonFull.
const (
	ReasonDamaged Reason = "damaged" // the message cannot be read
	ReasonRemoved Reason = "removed" // the receiver of the events is no longer configured
	ReasonExpired Reason = "expired" // the message is older than what the endpoint keeps
)

// Observer counts events. It is called often and must not block.
type Observer interface {
	// Delivered counts the messages of a request that was accepted.
	Delivered(of Stream, messages int)
	// Failed counts an attempt.
	Failed(of Stream, why Reason)
	// NotTaken counts messages that were not queued.
	NotTaken(of Stream, why Reason, messages int)
	// Dropped counts messages that were queued and are not delivered.
	Dropped(of Stream, why Reason, messages int)
}
