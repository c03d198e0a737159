package events

import (
	"fmt"
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// Shards is the number of shards of a host.
const Shards = presence.Shards

// ShardOf returns the shard of a channel or a user.
func ShardOf(name string) uint8 { return presence.ShardOf(name) }

// Type is what an [Event] is about.
type Type uint8

// Types of events.
const (
	ChannelOccupied   Type = iota + 1 // a channel has its first connection
	ChannelVacated                    // a channel has lost its last connection
	MemberJoined                      // a user has come to a channel
	MemberLeft                        // a user has gone from a channel
	UserOnline                        // a user has its first connection on the host
	UserOffline                       // a user has lost its last connection on the host
	ChannelState                      // users of a channel at the start of an epoch, or a part of them
	EpochComplete                     // the epoch has named everything that was there at its start
	SubscriptionCount                 // a channel has another number of connections; see [Wanted].Counts
)

var typeNames = []string{
	ChannelOccupied: "channel.occupied", ChannelVacated: "channel.vacated",
	MemberJoined: "member.joined", MemberLeft: "member.left",
	UserOnline: "user.online", UserOffline: "user.offline",
	ChannelState: "channel.state", EpochComplete: "epoch.complete",
	SubscriptionCount: "subscription.count",
}

// String returns the type as requests and configurations spell it.
func (t Type) String() string {
	if t == 0 || int(t) >= len(typeNames) {
		return fmt.Sprintf("Type(%d)", uint8(t))
	}
	return typeNames[t]
}

// ParseType returns the type with that text.
func ParseType(s string) (Type, bool) {
	i := slices.Index(typeNames, s)
	return Type(max(i, 0)), i > 0
}

// Event is one event of a shard.
type Event struct {
	Type    Type
	Host    presence.HostName
	Shard   uint8
	Epoch   uint64   // about Unix time in milliseconds; grows with each epoch of the shard
	Channel string   // "" in UserOnline, UserOffline and EpochComplete
	Records []string // users as [Sink].Name has returned them: one, or up to MaxState in ChannelState
	Count   int      // what watchers of the channel see as its count after the event; 0 without a channel
	Time    int64    // reading of the cluster's clock, in milliseconds
}

// MaxState is the maximum number of users in one ChannelState.
const MaxState = 500

// Sink receives the events of the shards that this pod owns.
type Sink interface {
	// Put queues events of one shard, in order. For one shard, it is called by one goroutine at a
	// time. It must not wait for the network, but may wait for the disk. full reports that events
	// of the shard were thrown away: it has no further events until [Speaker.Restart] is called for
	// it.
	Put(events []Event) (full bool)
	// Name returns the JSON object that names each user, or "" for one that no event names. It may
	// take as long as a plugin takes.
	Name(host presence.HostName, users []presence.User) []string
}

// Wanted is what the configuration in effect says about the events of a host.
type Wanted struct {
	On    bool // the host has events
	Users bool // UserOnline and UserOffline are wanted
	// Counts is set if SubscriptionCount is wanted.
	Counts bool
	Sum    uint64        // changes with everything that is configured about the events; a new one begins new epochs
	Grace  time.Duration // see [presence.Rules].Grace
}

// Epochs keeps the greatest epoch of each shard, on disk and the same on all pods: an
// [assignment.Book].
type Epochs interface {
	// SetEpoch records an epoch, which is on disk when it returns, and returns what other pods must
	// learn of it. A lower epoch than the recorded one changes nothing.
	SetEpoch(host presence.HostName, shard uint8, epoch uint64) ([]assignment.Record, error)
	// Epochs returns the recorded epoch of each shard; 0 without one.
	Epochs(host presence.HostName) [Shards]uint64
	// EpochHosts calls visit for each host that has epochs.
	EpochHosts(visit func(host presence.HostName))
}
