package site

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// RefusedError is returned when a plugin refuses a message. It is a presence.ErrDenied.
type RefusedError struct{ Channel string }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("a plugin of this site refuses the message in channel %q", e.Channel)
}

// Is reports whether target is presence.ErrDenied.
func (e *RefusedError) Is(target error) bool { return target == presence.ErrDenied }

// FiltersMessages reports whether a plugin decides about messages.
func (s *Site) FiltersMessages() bool { return s.Chain.Has(plugins.HookMessage) }

// FilterMessage asks the plugins about a message in each of its channels, which are distinct, in
// their order. Private channels are left out. It returns the messages that replace it in some of
// them, never nil, and within the bounds of a message.
//
// It returns a *RefusedError, or a *plugins.Error if a plugin has failed, which is already logged.
func (s *Site) FilterMessage(host presence.HostName, channels []string, from plugins.Sender, message []byte) (presence.Bodies, error) {
	bodies := presence.Bodies{}
	names := 0
	for _, channel := range channels {
		names += len(channel)
	}
	all := len(message) * len(channels)
	for _, channel := range channels {
		if strings.HasPrefix(channel, presence.PrivatePrefix) {
			continue
		}
		class, err := s.Patterns.Classify(host, channel)
		if err != nil {
			return nil, err
		}
		others := all - len(message)
		room := min(presence.MaxMessage-names, presence.MaxCopies-others)
		body, err := s.Chain.Message(host.String(), channel, siteKind(class), from, message, room)
		switch {
		case errors.Is(err, plugins.ErrRefused):
			return nil, &RefusedError{channel}
		case err != nil:
			return nil, err
		}
		if !bytes.Equal(body, message) {
			bodies[channel] = body
			all = others + len(body)
		}
	}
	return bodies, nil
}
