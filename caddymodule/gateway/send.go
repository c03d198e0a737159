package gateway

import (
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/caddymodule/copies"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// Publishing is a message of a client.
type Publishing struct {
	Channels []string
	Message  []byte // JSON object
	ToOthers bool   // the connection itself does not receive it
	Raw      bool   // see [presence.Source]
}

// Publish delivers a message to the listeners of its channels, unless a plugin refuses it. The copy
// for the backend is on disk before the message is delivered, see RATIONALE.md. Every reason to
// refuse the message is therefore checked before it is copied: the client would send it again, and
// the backend would get it twice.
func (s *Session) Publish(p Publishing) error {
	err := s.publish(p)
	s.counters.sent(fromClient, codeOf(err))
	return err
}

func (s *Session) publish(p Publishing) error {
	of := s.tenant.site()
	if err := s.hub.CheckSend(of); err != nil {
		return err
	}
	channels, copied := s.route(p)
	switch {
	case len(copied) > 0 || of.FiltersMessages() || p.Raw:
		return s.prepareAndSend(of, p, channels, copied)
	case p.ToOthers:
		return s.conn.SendToOthers(channels, p.Message)
	}
	return s.conn.Send(channels, p.Message)
}

// prepareAndSend sends a message that plugins decide about or that is copied to the backend.
func (s *Session) prepareAndSend(of *site.Site, p Publishing, channels []string, copied []backend.Message) error {
	sending, err := s.conn.Prepare(p.Channels, channels, p.Message)
	if err != nil {
		return err
	}
	if p.Raw {
		sending = sending.AsRaw()
	}
	if of.FiltersMessages() {
		bodies, err := s.filter(of, p)
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
	if p.ToOthers {
		sending = sending.ToOthers()
	}
	return sending.Commit()
}

// filter asks the plugins about a message. Each channel is a call, so it counts as a frame.
func (s *Session) filter(of *site.Site, p Publishing) (presence.Bodies, error) {
	channels := presence.Distinct(p.Channels)
	if !s.countFrames(len(channels) - 1) {
		return nil, errTooFast
	}
	from := plugins.Sender{Connection: s.conn.ID().String()}
	if user, ok := s.conn.User(); ok {
		from.User = &plugins.User{ID: user.ID, Email: user.Email}
	}
	return of.FilterMessage(s.tenant.name, channels, from, p.Message)
}

// route returns the channels whose listeners get the message, and the copies for the backend.
func (s *Session) route(p Publishing) (channels []string, copied []backend.Message) {
	user, ok := s.conn.User()
	if !ok {
		return p.Channels, nil
	}
	modeOf := func(channel string) assignment.Mode { return s.hub.Assignments.Mode(s.tenant.name, user.ID, channel) }
	return copies.Split(p.Channels, modeOf, p.Message, user, s.conn.ID())
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
