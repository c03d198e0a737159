package caddymodule

import (
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// send has a message delivered to the listeners of its channels. What the backend gets a copy of is on disk before anybody
// hears of it, see RATIONALE.md. So what would be refused then is refused before: the sender sends it again, and the backend
// would have both.
func (s *session) send(cmd wire.Command) error {
	channels, copies := s.route(cmd)
	if len(copies) > 0 {
		if err := presence.CheckSize(cmd.Channels, cmd.Message); err != nil {
			return err
		}
		if err := s.conn.Listens(cmd.Channels); err != nil {
			return err
		}
		if len(channels) > 0 {
			if err := s.conn.CanSend(channels, cmd.Message); err != nil {
				return err
			}
		}
		if err := s.tenant.site.Load().copyToBackend(s.tenant.name, copies...); err != nil {
			return err
		}
	}
	if len(channels) > 0 {
		if err := s.conn.Send(channels, cmd.Message); err != nil {
			return err
		}
	}
	s.answer(wire.Sent(cmd.Ref))
	return nil
}

// route returns those of the channels whose listeners get the message, and the copies for the backend, one for each channel
// to which the user is assigned in a mode that copies.
func (s *session) route(cmd wire.Command) (channels []string, copies []backend.Message) {
	user, ok := s.conn.User()
	if !ok {
		return cmd.Channels, nil
	}
	modeOf := func(channel string) assignment.Mode { return s.hub.mode(s.tenant.name, user.ID, channel) }
	copied := func(channel string) bool { return copying[modeOf(channel)] != "" }
	if !slices.ContainsFunc(cmd.Channels, copied) {
		return cmd.Channels, nil
	}
	for i, channel := range cmd.Channels {
		if slices.Contains(cmd.Channels[:i], channel) {
			continue
		}
		mode := modeOf(channel)
		if mode != assignment.Receive {
			channels = append(channels, channel)
		}
		if copying[mode] != "" {
			copies = append(copies, backend.Message{
				Channel: channel, Mode: copying[mode], Message: cmd.Message, Sent: time.Now(),
				From: &presence.User{ID: user.ID, Email: user.Email}, Connection: s.conn.ID(),
			})
		}
	}
	return channels, copies
}

// copying are the modes in which the backend gets a copy.
var copying = map[assignment.Mode]backend.Mode{assignment.Listen: backend.Listen, assignment.Receive: backend.Receive}
