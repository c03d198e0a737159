package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// sendMessage answers /message/sendmessage: it sends a message to channels and users of the host on
// all pods, and echoes the request. Neither needs a connection.
func (s *Server) sendMessage(_ context.Context, q request) (response, *problem.Problem) {
	m, p := readMessage(q)
	if p != nil {
		return response{}, p
	}
	err := s.CheckSend(q.site)
	if err == nil {
		err = s.filterAndSend(q, m)
	}
	s.Sent(q.host, err)
	if err != nil {
		return response{}, problemNotSent(err)
	}
	return response{body: withoutKey(q.raw), status: http.StatusCreated}, nil
}

// filterAndSend sends a message, unless a plugin refuses it. Plugins are not asked about a
// repetition.
func (s *Server) filterAndSend(q request, m presence.Message) error {
	if len(m.Channels) > 0 && q.site.FiltersMessages() {
		repeated, err := s.Registry.Check(q.host, &m)
		if err != nil || repeated {
			return err
		}
		if m.Bodies, err = q.site.FilterMessage(q.host, m.Channels, plugins.Sender{Backend: true}, m.Body); err != nil {
			return err
		}
	}
	return s.Registry.Send(q.host, m)
}

// readMessage reads what to send. The message is as received, a JSON object.
func readMessage(q request) (m presence.Message, p *problem.Problem) {
	if m.Users, p = q.body.users(); p != nil {
		return m, p
	}
	if _, present := q.body["channels"]; present || m.Users == nil {
		if m.Channels, p = q.readTargets(); p != nil {
			return m, p
		}
	}
	if m.Except, p = q.body.except(); p != nil {
		return m, p
	}
	if m.Key, p = q.body.messageKey(); p != nil {
		return m, p
	}
	m.Body = q.body["message"]
	if len(m.Body) == 0 || m.Body[0] != '{' {
		return m, problem.BadValue("message must be an object")
	}
	return m, nil
}

// readTargets reads the channels that a message is for.
func (q request) readTargets() (channels []string, p *problem.Problem) {
	want := fmt.Sprintf("an array of 1 to %d names; send users, too, or instead of channels", presence.MaxTargets)
	if channels, p = q.body.list("channels", presence.MaxTargets, want); p != nil {
		return nil, p
	}
	for _, name := range channels {
		if p := q.checkTarget("channels", name); p != nil {
			return nil, p
		}
	}
	return channels, nil
}

// except returns the connection that does not receive a message, or the zero ID.
func (b values) except() (id presence.ID, p *problem.Problem) {
	text, p := b.text("except")
	if _, present := b["except"]; !present || p != nil {
		return id, p
	}
	id, ok := presence.ParseID(text)
	if !ok || id == (presence.ID{}) {
		return id, problem.BadValue("except must be the ID of a connection, which its welcome has: 22 characters")
	}
	return id, nil
}

// maxKeyText is the longest idempotencyKey, in bytes.
const maxKeyText = 128

// messageKey returns the hash of the idempotencyKey, or the zero key.
func (b values) messageKey() (presence.MessageKey, *problem.Problem) {
	text, p := b.text("idempotencyKey")
	if _, present := b["idempotencyKey"]; !present || p != nil {
		return presence.MessageKey{}, p
	}
	switch {
	case text == "" || len(text) > maxKeyText:
		return presence.MessageKey{}, problem.BadValue("idempotencyKey must have 1 to %d bytes", maxKeyText)
	case isReplaced(text):
		return presence.MessageKey{}, problem.BadValue("idempotencyKey has U+FFFD or half a surrogate pair: choose another one")
	}
	return presence.NewMessageKey(text), nil
}

// isReplaced reports whether a name differs from the one that was sent: encoding/json replaces half
// a surrogate pair by U+FFFD. If U+FFFD itself was sent, another program has replaced it before.
func isReplaced(name string) bool { return strings.ContainsRune(name, utf8.RuneError) }

// busyRetry is when a backend should retry that sends too fast, or to a pod that has just started.
const busyRetry = time.Second

func problemNotSent(err error) *problem.Problem {
	if refused, ok := errors.AsType[*site.RefusedError](err); ok {
		return &problem.Problem{
			Status: http.StatusForbidden, Code: "denied", Channel: refused.Channel,
			Detail: "a plugin of this site refuses the message in this channel: nobody receives it",
		}
	}
	if _, ok := errors.AsType[*plugins.Error](err); ok {
		return &problem.Problem{
			Status: http.StatusServiceUnavailable, Code: "unavailable", Retry: busyRetry,
			Detail: "a plugin of this site failed, so the message was not sent: see the server's log",
		}
	}
	switch {
	case errors.Is(err, presence.ErrTooLarge):
		return &problem.Problem{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Detail: err.Error()}
	case errors.Is(err, presence.ErrBusy):
		return &problem.Problem{Status: http.StatusServiceUnavailable, Code: "busy", Detail: err.Error(), Retry: busyRetry}
	}
	return &problem.Problem{Status: http.StatusServiceUnavailable, Code: "unavailable", Detail: "the message was not sent: " + err.Error(), Retry: busyRetry}
}

// withoutKey returns a body, an object, without every member whose name is apiKey in any case. The
// rest is unchanged, except for white space around members.
func withoutKey(raw []byte) []byte {
	dec := json.NewDecoder(bytes.NewReader(raw))
	_, _ = dec.Token() // the brace; never fails, because the body is a valid object
	b := []byte{'{'}
	for dec.More() {
		before := dec.InputOffset()
		key, _ := dec.Token()
		member := raw[before:dec.InputOffset()]
		member = member[bytes.IndexByte(member, '"'):] // after a comma and white space
		start := int(dec.InputOffset()) - len(member)
		var value json.RawMessage
		if dec.Decode(&value) != nil {
			break
		}
		if name, _ := key.(string); strings.EqualFold(name, "apiKey") {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(b, raw[start:dec.InputOffset()]...)
	}
	return append(b, '}')
}
