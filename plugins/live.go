package plugins

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/rollcall-gateway/rollcall/plugins/internal/codec"
)

// Shown is what is shown of a user.
type Shown struct {
	// ID is the key id of Record.
	ID string
	// Record is a JSON object with the key id and the shown keys. If it is empty, nobody sees the
	// user.
	Record string
	// Sender is Record without keys other than id and email.
	Sender string
	// Failed is set if a plugin failed, with either policy. Another call may have another result.
	Failed bool
}

// Show passes users through the plugins with [HookMembersLive], in batches, and returns what is
// shown of each: of the result, the key id and the keys in show, for [EndpointEvents] all keys.
// Without such a plugin, the result is the users. A failure concerns all users of its batch: with
// [Deny], nobody sees them; with [Pass], they are as without the plugin.
//
// # Errors
//
// The error is the last failure, which is already logged. The result is complete nevertheless.
func (c *Chain) Show(e Endpoint, host string, show []string, users []User) (shown []Shown, err error) {
	left := users
	m := &Members{
		ctx: context.Background(), plugins: c.with(HookMembersLive), hook: HookMembersLive, show: show,
		endpoint: e, host: host,
		next: func() (u User, ok bool) {
			if ok = len(left) > 0; ok {
				u, left = left[0], left[1:]
			}
			return u, ok
		},
	}
	shown = make([]Shown, len(users))
	for rest := shown; ; {
		failure := m.fill()
		if errors.Is(failure, io.EOF) {
			return shown, err
		}
		batch := rest[:m.count]
		rest = rest[m.count:]
		switch {
		case failure != nil:
			err = failure
		case m.passed != nil:
			err = m.passed
		}
		for i := range batch {
			batch[i].Failed = failure != nil || m.passed != nil
		}
		if failure == nil {
			for i, place := range m.places {
				failed := batch[place].Failed
				batch[place] = m.results[i]
				batch[place].Failed = failed
			}
		}
	}
}

func newShown(record []byte, e Endpoint, show []string) (s Shown, err error) {
	if e == EndpointEvents {
		object, id, err := codec.AppendNamed(nil, record)
		return Shown{ID: string(id), Record: string(object)}, err
	}
	object, id, err := codec.AppendShown(nil, record, show)
	if err != nil {
		return s, err
	}
	s.ID, s.Record = strings.ToValidUTF8(string(id), "\ufffd"), string(object)
	sender := show[:0:0]
	if slices.Contains(show, "email") {
		sender = []string{"email"}
	}
	object, _, err = codec.AppendShown(object[:0], record, sender)
	if s.Sender = s.Record; len(object) < len(s.Record) {
		s.Sender = string(object)
	}
	return s, err
}
