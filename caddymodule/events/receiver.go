package events

import (
	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/events"
)

// Receiver is where a site sends events. It is immutable.
type Receiver struct {
	*backend.Endpoint
	ID       string   // backend.ReceiverOf of the URL
	Number   string   // "1" for the first of its site; for metrics
	Types    Types    // types that are sent
	Channels []string // patterns of the channels whose events are sent; nil for all
	Webhook  bool     // the Writer of the Endpoint is a hooks.Writer
}

// Types is a set of types of events.
type Types uint16

// TypesOf returns a set.
func TypesOf(types ...events.Type) (all Types) {
	for _, t := range types {
		all |= 1 << t
	}
	return all
}

// Sets of types.
var (
	memberTypes  = TypesOf(events.MemberJoined, events.MemberLeft)
	channelTypes = TypesOf(events.ChannelOccupied, events.ChannelVacated) | memberTypes
	userTypes    = TypesOf(events.UserOnline, events.UserOffline)

	// DefaultTypes are the types of a receiver that names none.
	DefaultTypes = channelTypes

	// AllTypes are the types that can be named.
	AllTypes = channelTypes | userTypes
)

// HasAny reports whether a type is in both sets.
func (t Types) HasAny(of Types) bool { return t&of != 0 }

// WantsShards reports whether the receiver gets events that the owner of a shard tells.
func (r *Receiver) WantsShards() bool {
	return !r.Webhook || r.Types.HasAny(^(clientEvent | cacheMiss))
}

// WantsCounts reports whether the receiver gets the numbers of subscribers.
func (r *Receiver) WantsCounts() bool { return r.Types.HasAny(TypesOf(events.SubscriptionCount)) }

// WantsUsers reports whether the receiver gets events about users of the host.
func (r *Receiver) WantsUsers() bool { return r.Types.HasAny(userTypes) }

// wants reports whether an event is sent to the receiver.
func (r *Receiver) wants(e *events.Event) bool {
	switch e.Type {
	case events.EpochComplete:
		return true
	case events.ChannelState:
		return r.Types.HasAny(channelTypes) && r.hasChannel(e.Channel)
	case events.UserOnline, events.UserOffline:
		return r.Types.HasAny(TypesOf(e.Type))
	case events.ChannelOccupied, events.ChannelVacated, events.MemberJoined, events.MemberLeft:
		return r.Types.HasAny(TypesOf(e.Type)) && r.hasChannel(e.Channel)
	case events.SubscriptionCount: // only webhooks have it
	}
	return false
}

func (r *Receiver) hasChannel(name string) bool {
	return r.Channels == nil || presence.MatchAny(r.Channels, name)
}
