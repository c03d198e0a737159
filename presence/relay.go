package presence

// Relay carries to other pods what this one has of a channel, and messages. Its methods are called with the lock of the host
// or the registry held: they take note and return, and never call back into this package.
type Relay interface {
	// Opened tells that the host has a connection on this pod. What is sent to it on other pods is wanted by
	// [Pods.Deliver] from now on.
	Opened(host HostName)
	// Closed tells that the last connection is gone.
	Closed(host HostName)
	// Send carries a message to the listeners of some channels on other pods, at most once. Nothing that it is given is kept.
	// It returns ErrBusy, and then the message goes nowhere.
	Send(host HostName, channels []string, from Source, message []byte) error
	// Changed tells that [Pods.Changes] has something for other pods. It is told again only after Changes was called.
	Changed(host HostName, channel string)
	// Watched tells that the channel has its first watcher on this pod, who waits for [Pods.Ready]. What other pods have of
	// the channel is wanted by [Pods.MergeDelta] from now on.
	Watched(host HostName, channel string)
	// Unwatched tells that the last watcher is gone. What other pods have of the channel is forgotten.
	Unwatched(host HostName, channel string)
}

// Member is a user with the time at which the e-mail address was learned. Of two addresses for one ID, the later holds.
type Member struct {
	User
	Seen int64 // Unix time in milliseconds; 0 with no address
}

// Departure is a user who went from a channel with the last connection of a pod.
type Departure struct {
	ID   string
	Lost bool // the connection was lost, and may be back soon; otherwise the user left or logged out
}

// Delta is what changed in one pod's part of a channel, or all of it. Applying one twice does no harm.
type Delta struct {
	Clock  uint64 // of the pod's registry, and higher in each later delta of the channel
	Base   uint64 // Clock of the channel's delta before; 0: this one holds everything, and replaces what was
	Joined []Member
	Left   []Departure
	Conns  int // connections that listen, with a user or without
	Lost   int // how many of those that went since Base were lost, see Departure
}

// MergeResult is what became of a [Delta].
type MergeResult uint8

// The four ends of a merge.
const (
	Merged   MergeResult = iota // taken over
	Stale                       // known already
	Gap                         // a delta before is missing: ask the pod for everything
	Unwanted                    // nobody watches the channel on this pod
)
