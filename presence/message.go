package presence

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
)

// Message is a message on its way to connections of a host: from the backend, see [Registry.Send],
// or between pods, see [Relay].
type Message struct {
	Channels []string // at most MaxTargets; private ones too, if the backend is the sender
	// Users has the IDs of users, at most MaxUsers. Each of their connections receives the message
	// in its private channel. Only the backend sends to users.
	Users []string
	// Except is a connection that does not receive the message; the zero ID is none. Only the
	// backend excepts one here: the connection that does not receive what it sends is on its own
	// pod.
	Except ID
	Key    MessageKey // set by the backend alone
	From   Source
	Body   []byte // JSON object
	Bodies Bodies // if nil, every channel receives Body
}

// Bodies has the messages that some channels receive in place of the common one.
type Bodies map[string][]byte

// Of returns the message that a channel receives if the common one is body.
func (b Bodies) Of(channel string, body []byte) []byte {
	if other, ok := b[channel]; ok {
		return other
	}
	return body
}

// source returns the sender of what a channel receives: what replaces a message is not the bytes
// that were published.
func (b Bodies) source(channel string, from Source) Source {
	if _, replaced := b[channel]; replaced {
		from.Raw = false
	}
	return from
}

// check returns ErrTooLarge if the messages to distinct channels are too large together.
func (b Bodies) check(channels []string, body []byte) error {
	names, all, largest := 0, 0, 0
	for _, name := range channels {
		size := len(b.Of(name, body))
		names, all, largest = names+len(name), all+size, max(largest, size)
	}
	if names+largest > MaxMessage || all > MaxCopies {
		return errBodiesTooLarge
	}
	return nil
}

var errBodiesTooLarge = fmt.Errorf("%w: over %d bytes in all channels together", ErrTooLarge, MaxCopies)

// Parts returns messages without Bodies that are the same together. A key marks the parts by
// channel, because a repetition may come with other Bodies.
func (m Message) Parts() []Message {
	if m.Bodies == nil {
		return []Message{m}
	}
	bodies := m.Bodies
	m.Bodies = nil
	rest, parts := m, []Message(nil)
	rest.Channels = nil
	for _, name := range m.Channels {
		if isPrivate(name) {
			rest.Channels = append(rest.Channels, name)
			continue
		}
		body, from := bodies.Of(name, m.Body), bodies.source(name, m.From)
		same := func(p Message) bool { return p.From.Raw == from.Raw && bytes.Equal(p.Body, body) }
		if i := slices.IndexFunc(parts, same); i >= 0 && m.Key.IsZero() {
			parts[i].Channels = append(parts[i].Channels, name)
			continue
		}
		part := m
		part.From = from
		part.Channels, part.Users, part.Key, part.Body = []string{name}, nil, m.Key.ofChannel(name), body
		parts = append(parts, part)
	}
	if len(rest.Channels)+len(rest.Users) > 0 {
		parts = append(parts, rest)
	}
	return parts
}

// MessageKey is the hash of the text by which a backend marks repetitions of a message. The zero
// key marks nothing.
type MessageKey [16]byte

// NewMessageKey returns the key for a text.
func NewMessageKey(text string) MessageKey {
	sum := sha256.Sum256([]byte(text))
	return MessageKey(sum[:16])
}

// IsZero reports whether the key marks nothing.
func (k MessageKey) IsZero() bool { return k == MessageKey{} }

// ofChannel returns the key of the part of a message that is for one channel, see [Message.Parts].
func (k MessageKey) ofChannel(name string) MessageKey {
	if k.IsZero() {
		return k
	}
	sum := sha256.Sum256(append(k[:len(k):len(k)], name...))
	return MessageKey(sum[:16])
}

// private returns m for its private channels and its users alone.
func (m Message) private() Message {
	var names []string
	for _, name := range m.Channels {
		if isPrivate(name) {
			names = append(names, name)
		}
	}
	m.Channels, m.Bodies = names, nil
	return m
}
