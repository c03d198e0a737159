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
	"github.com/rollcall-gateway/rollcall/presence"
)

// sendMessage answers /message/sendmessage: it sends a message to channels of the host on all pods,
// and echoes the request. The channels need no listeners.
func (s *Server) sendMessage(_ context.Context, q request) (response, *problem.Problem) {
	channels, message, p := readMessage(q)
	if p != nil {
		return response{}, p
	}
	err := s.CheckSend(q.site)
	if err == nil {
		err = s.Registry.Send(q.host, channels, message)
	}
	s.Sent(q.host, err)
	if err != nil {
		return response{}, problemNotSent(err)
	}
	return response{body: withoutKey(q.raw), status: http.StatusCreated}, nil
}

// readMessage returns the channels, and the message as received, which is a JSON object.
func readMessage(q request) (channels []string, message []byte, p *problem.Problem) {
	want := fmt.Sprintf("an array of 1 to %d names", presence.MaxTargets)
	if p := q.body.decode("channels", &channels, want); p != nil {
		return nil, nil, p
	}
	if len(channels) == 0 || len(channels) > presence.MaxTargets {
		return nil, nil, problem.BadValue("channels must be %s", want)
	}
	for _, name := range channels {
		if err := q.site.Rules().CheckTarget(name); err != nil {
			p := problem.BadValue("channels has a name that no channel can have: %s", err)
			if isReplaced(name) {
				p.Code = "bad_channel"
			}
			return nil, nil, p
		}
	}
	message = q.body["message"]
	if len(message) == 0 || message[0] != '{' {
		return nil, nil, problem.BadValue("message must be an object")
	}
	return channels, message, nil
}

// isReplaced reports whether a name differs from the one that was sent: encoding/json replaces half
// a surrogate pair by U+FFFD. If U+FFFD itself was sent, another program has replaced it before.
func isReplaced(name string) bool { return strings.ContainsRune(name, utf8.RuneError) }

// busyRetry is when a backend should retry that sends too fast, or to a pod that has just started.
const busyRetry = time.Second

func problemNotSent(err error) *problem.Problem {
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
