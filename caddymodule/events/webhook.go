package events

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/hooks"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/events"
)

// Types of events that only webhooks have, and that no shard tells.
const (
	clientEvent Types = 1 << (15 - iota)
	cacheMiss
)

// webhookTypes are the types of webhooks by name.
var webhookTypes = map[string]Types{
	hooks.ChannelOccupied:   TypesOf(events.ChannelOccupied),
	hooks.ChannelVacated:    TypesOf(events.ChannelVacated),
	hooks.MemberAdded:       TypesOf(events.MemberJoined),
	hooks.MemberRemoved:     TypesOf(events.MemberLeft),
	hooks.SubscriptionCount: TypesOf(events.SubscriptionCount),
	hooks.ClientEvent:       clientEvent,
	hooks.CacheMiss:         cacheMiss,
}

// ParseWebhookType returns the type of a webhook with that name.
func ParseWebhookType(name string) (Types, bool) {
	t, ok := webhookTypes[name]
	return t, ok
}

// WebhookTypeNames returns the names of the types of webhooks, in order.
func WebhookTypeNames() []string {
	return slices.Sorted(maps.Keys(webhookTypes))
}

// isPresence reports whether webhooks name the members of a channel.
func isPresence(channel string) bool { return strings.HasPrefix(channel, presence.SignedMembersPrefix) }

// appendWebhook appends the items of an event for a receiver of webhooks.
func appendWebhook(items []backend.Item, n *numbers, r *Receiver, e *events.Event) []backend.Item {
	if e.Channel == "" {
		return items
	}
	number := n.of(e)
	first := !number.occupied
	number.occupied = e.Type != events.ChannelVacated
	if !number.occupied {
		defer n.vacate(e.Channel, number)
	}
	add := func(t events.Type, name, user string) {
		if !r.Types.HasAny(TypesOf(t)) || !r.hasChannel(e.Channel) {
			return
		}
		number.seq++
		id := backend.NewEventID()
		hook := hooks.Event{
			Name: name, Channel: e.Channel, UserID: user,
			Number: &hooks.Number{Epoch: number.epoch, Seq: number.seq, Count: e.Count},
		}
		items = append(items, backend.Item{Lane: uint64(e.Shard), ID: id, Body: hook.Encode(id, e.Host)})
	}
	switch e.Type {
	case events.ChannelOccupied:
		add(e.Type, hooks.ChannelOccupied, "")
	case events.ChannelVacated:
		add(e.Type, hooks.ChannelVacated, "")
	case events.SubscriptionCount:
		if !isPresence(e.Channel) {
			add(e.Type, hooks.SubscriptionCount, "")
		}
	case events.ChannelState:
		if first {
			add(events.ChannelOccupied, hooks.ChannelOccupied, "")
		}
		eachMember(e, func(id string) { add(events.MemberJoined, hooks.MemberAdded, id) })
	case events.MemberJoined:
		eachMember(e, func(id string) { add(e.Type, hooks.MemberAdded, id) })
	case events.MemberLeft:
		eachMember(e, func(id string) { add(e.Type, hooks.MemberRemoved, id) })
	case events.UserOnline, events.UserOffline, events.EpochComplete: // they have no channel
	}
	return items
}

// eachMember calls visit for the ID of each user whom an event names as a member. Plugins may leave
// IDs out: then no webhook is about the user.
func eachMember(e *events.Event, visit func(id string)) {
	if !isPresence(e.Channel) {
		return
	}
	for _, record := range e.Records {
		var user struct{ ID string }
		if json.Unmarshal([]byte(record), &user) == nil && user.ID != "" {
			visit(user.ID)
		}
	}
}
