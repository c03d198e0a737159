package gateway

import (
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/rollcall-gateway/rollcall/caddymodule/assign"
	"github.com/rollcall-gateway/rollcall/caddymodule/events"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	source "github.com/rollcall-gateway/rollcall/presence/events"
)

// receivers returns the receivers of events of a host, by the latest configuration.
func (h *Hub) receivers(host presence.HostName) []*events.Receiver {
	if now := h.configs.Load().latest(); now != nil {
		if s := now.Find(host); s != nil {
			return s.Receivers(host)
		}
	}
	return nil
}

// hasEvents reports whether the latest configuration has a receiver of events for any host.
func (h *Hub) hasEvents() bool {
	now := h.configs.Load().latest()
	return now != nil && slices.ContainsFunc(now.Sites, func(s Served) bool { return s.HasEvents() })
}

// wantedEvents returns what the configuration in effect says about the events of a host.
func (h *Hub) wantedEvents(host presence.HostName) source.Wanted {
	now := h.InEffect()
	if now == nil {
		return source.Wanted{}
	}
	s := now.Find(host)
	if s == nil {
		return source.Wanted{}
	}
	list := s.Receivers(host)
	if !slices.ContainsFunc(list, (*events.Receiver).WantsShards) {
		return source.Wanted{}
	}
	return source.Wanted{
		On:     true,
		Users:  slices.ContainsFunc(list, (*events.Receiver).WantsUsers),
		Counts: slices.ContainsFunc(list, (*events.Receiver).WantsCounts),
		Sum:    s.EventsSum ^ xxhash.Sum64String(s.Chain.Version(plugins.HookMembersLive)), // plugins name users
		Grace:  s.Rules().Grace,
	}
}

// nameUsers returns what events have of users: as the plugins of the site name them, or everything
// that is known of them.
func (h *Hub) nameUsers(host presence.HostName, users []presence.User) []string {
	if now := h.configs.Load().latest(); now != nil {
		if s := now.Find(host); s != nil {
			names, failed := s.NameUsers(host, users)
			if failed {
				h.events.RestartLater(host, namingPause)
			}
			if names != nil {
				return names
			}
		}
	}
	names := make([]string, len(users))
	for i := range users {
		u := users[i]
		u.Status = ""
		names[i] = string(wire.AppendKnown(nil, &u))
	}
	return names
}

// namingPause is the time from a failed call of a plugin to the next epochs of its host. A failed
// call is not kept.
const namingPause = 10 * time.Second

// knownReceivers returns the labels of the receivers of hosts that the configuration in effect
// names.
func (h *Hub) knownReceivers() (labels [][]string) {
	if now := h.InEffect(); now != nil {
		for name, of := range now.Names() {
			host, _ := presence.ParseHostName(name) // a name with a wildcard has no app of its own
			for _, r := range of.Receivers(host) {
				labels = append(labels, []string{name, r.Number})
			}
		}
	}
	return labels
}

// namedHosts calls visit for each host with events that the configuration in effect names in full.
func (h *Hub) namedHosts(visit func(host presence.HostName)) {
	now := h.InEffect()
	if now == nil {
		return
	}
	for name, of := range now.Names() {
		if host, err := presence.ParseHostName(name); err == nil && len(of.Receivers(host)) > 0 {
			visit(host)
		}
	}
}

// isShown reports whether a channel is active on this pod and not hidden.
func (h *Hub) isShown(host presence.HostName, channel string) bool {
	known := h.Registry.Host(host)
	return known != nil && known.IsShown(channel)
}

// ToldClientEvent tells webhooks of an event that the connection has published. It does not wait.
func (s *Session) ToldClientEvent(e events.ClientEvent) { s.hub.events.ClientEvent(s.Host(), e) }

// restartShard begins a new epoch of a shard, if this pod owns it.
func (h *Hub) restartShard(host presence.HostName, shard uint8) { h.speaker.Restart(host, shard) }

// epochBook keeps epochs in the book of assignments, whose file it opens.
type epochBook struct{ *assign.Keeper }

var _ source.Epochs = epochBook{}

// SetEpoch implements source.Epochs.
func (b epochBook) SetEpoch(host presence.HostName, shard uint8, epoch uint64) ([]assignment.Record, error) {
	return b.Change(func(book *assignment.Book) ([]assignment.Record, error) { return book.SetEpoch(host, shard, epoch) })
}

// Epochs implements source.Epochs.
func (b epochBook) Epochs(host presence.HostName) [source.Shards]uint64 { return b.Book.Epochs(host) }

// EpochHosts implements source.Epochs.
func (b epochBook) EpochHosts(visit func(host presence.HostName)) { b.Book.EpochHosts(visit) }
