package gateway

import (
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/caddymodule/copies"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// send delivers a message to the listeners of its channels. The copy for the backend is on disk
// before the message is delivered, see RATIONALE.md. Every reason to refuse the message is
// therefore checked before it is copied: the client would send it again, and the backend would get
// it twice.
func (s *session) send(cmd wire.Command) error {
	of := s.tenant.site()
	if err := s.hub.CheckSend(of); err != nil {
		return err
	}
	channels, copied := s.route(cmd)
	var err error
	switch {
	case len(copied) > 0 || of.FiltersMessages():
		err = s.prepareAndSend(of, cmd, channels, copied)
	case cmd.NoEcho:
		err = s.conn.SendToOthers(channels, cmd.Message)
	default:
		err = s.conn.Send(channels, cmd.Message)
	}
	if err == nil {
		s.answer(wire.Sent(cmd.Ref))
	}
	return err
}

// prepareAndSend sends a message that plugins decide about or that is copied to the backend.
func (s *session) prepareAndSend(of *site.Site, cmd wire.Command, channels []string, copied []backend.Message) error {
	sending, err := s.conn.Prepare(cmd.Channels, channels, cmd.Message)
	if err != nil {
		return err
	}
	if of.FiltersMessages() {
		bodies, err := s.filter(of, cmd)
		if err != nil {
			return err
		}
		if sending = sending.WithBodies(bodies); len(copied) > 0 {
			if err := sending.Check(); err != nil {
				return err
			}
		}
		for i := range copied {
			copied[i].Message = bodies.Of(copied[i].Channel, copied[i].Message)
		}
	}
	if len(copied) > 0 {
		if err := s.hub.CopyToBackend(of, s.tenant.name, copied...); err != nil {
			return err
		}
	}
	if cmd.NoEcho {
		sending = sending.ToOthers()
	}
	return sending.Commit()
}

// filter asks the plugins about a message. Each channel is a call, so it counts as a frame.
func (s *session) filter(of *site.Site, cmd wire.Command) (presence.Bodies, error) {
	channels := presence.Distinct(cmd.Channels)
	if !s.countFrames(len(channels) - 1) {
		return nil, errTooFast
	}
	from := plugins.Sender{Connection: s.conn.ID().String()}
	if user, ok := s.conn.User(); ok {
		from.User = &plugins.User{ID: user.ID, Email: user.Email}
	}
	return of.FilterMessage(s.tenant.name, channels, from, cmd.Message)
}

// route returns the channels whose listeners get the message, and the copies for the backend.
func (s *session) route(cmd wire.Command) (channels []string, copied []backend.Message) {
	user, ok := s.conn.User()
	if !ok {
		return cmd.Channels, nil
	}
	modeOf := func(channel string) assignment.Mode { return s.hub.Assignments.Mode(s.tenant.name, user.ID, channel) }
	return copies.Split(cmd.Channels, modeOf, cmd.Message, user, s.conn.ID())
}

// CopyToBackend copies messages, at least one, to the backend of a host of the site. If it returns
// nil, the copies are on disk. It also returns nil if all are in the mode listen and the site has
// no backend, which is logged once.
//
// Otherwise none is copied, and the error is [copies.ErrNotCopied].
func (h *Hub) CopyToBackend(of *site.Site, host presence.HostName, messages ...backend.Message) error {
	if of.Backend != nil {
		return h.copies.Add(host, messages...)
	}
	of.WithoutBackend.Do(func() {
		of.Logger.Warn("users are assigned with a mode that copies, but the site has no backend: write one",
			zap.Stringer("host", host), zap.String("mode", string(messages[0].Mode)))
	})
	if slices.ContainsFunc(messages, func(m backend.Message) bool { return m.Mode != backend.Listen }) {
		return fmt.Errorf("%w: %w", copies.ErrNotCopied, errNoBackend)
	}
	return nil
}

// errNoBackend is the reason that a message in the mode receive is refused.
var errNoBackend = errors.New("the site has no backend")
