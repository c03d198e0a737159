package site

import (
	"github.com/rollcall-gateway/rollcall/caddymodule/events"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Webhooks are the receivers of the events of hosts that have an app, Events included, by host. The
// zero host has those of hosts without an app of their own; without it, such hosts have Events
// alone.
type Webhooks map[presence.HostName][]*events.Receiver

// Receivers returns the receivers of events of a host.
func (s *Site) Receivers(host presence.HostName) []*events.Receiver {
	if s.Webhooks != nil {
		if list, ok := s.Webhooks[host]; ok {
			return list
		}
		if list, ok := s.Webhooks[presence.HostName{}]; ok {
			return list
		}
	}
	return s.Events
}

// HasEvents reports whether any host of the site can have receivers of events.
func (s *Site) HasEvents() bool { return len(s.Events) > 0 || len(s.Webhooks) > 0 }
