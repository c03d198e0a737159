package backend

import "github.com/rollcall-gateway/rollcall/presence"

// Reason says why an attempt failed, or a message was not taken or given up.
type Reason string

// Why an attempt failed. All but the last are of the backend.
const (
	ReasonNetwork  Reason = "network"      // no connection, or it broke
	ReasonTimeout  Reason = "timeout"      // no answer in time
	ReasonBusy     Reason = "busy"         // 429
	ReasonServer   Reason = "server_error" // 5xx
	ReasonRefused  Reason = "refused"      // 4xx
	ReasonRedirect Reason = "redirect"     // 3xx, which is not followed
	ReasonDisk     Reason = "disk"         // the file could not be read
)

// Why a message was not taken: one of these, or ReasonDisk.
const (
	ReasonFull  Reason = "full"  // the queue of the host has no room
	ReasonHosts Reason = "hosts" // too many hosts have a queue
)

// ReasonDamaged is why a message was given up that could not be read. The other reason is ReasonRefused.
const ReasonDamaged Reason = "damaged"

// Observer is told what happens, to count it. It is called often and must not block.
type Observer interface {
	Delivered(host presence.HostName)
	Failed(host presence.HostName, why Reason)
	NotTaken(host presence.HostName, why Reason)
	Dropped(host presence.HostName, why Reason)
}
