package presence

import "crypto/sha256"

// Message is a message on its way to connections of a host: from the backend, see [Registry.Send],
// or between pods, see [Relay].
type Message struct {
	Channels []string // at most MaxTargets; private ones too, if the backend is the sender
	// Users has the IDs of users, at most MaxUsers. Each of their connections receives the message in
	// its private channel. Only the backend sends to users.
	Users []string
	// Except is a connection that does not receive the message; the zero ID is none. Only the backend
	// excepts one here: the connection that does not receive what it sends is on its own pod.
	Except ID
	Key    MessageKey // set by the backend alone
	From   Source
	Body   []byte // JSON object
}

// MessageKey is the hash of the text by which a backend marks repetitions of a message. The zero key
// marks nothing.
type MessageKey [16]byte

// NewMessageKey returns the key for a text.
func NewMessageKey(text string) MessageKey {
	sum := sha256.Sum256([]byte(text))
	return MessageKey(sum[:16])
}

// IsZero reports whether the key marks nothing.
func (k MessageKey) IsZero() bool { return k == MessageKey{} }

// private returns m for its private channels and its users alone.
func (m Message) private() Message {
	var names []string
	for _, name := range m.Channels {
		if isPrivate(name) {
			names = append(names, name)
		}
	}
	m.Channels = names
	return m
}
