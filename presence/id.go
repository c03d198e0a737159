package presence

import (
	"crypto/rand"
	"encoding/base64"
)

// ID identifies a connection: 128 random bits, written as 22 characters of base64url.
type ID [16]byte

// NewID returns a new random ID.
func NewID() ID {
	var id ID
	_, _ = rand.Read(id[:]) // never fails: crypto/rand ends the process instead (Go 1.24)
	return id
}

// String returns the 22 characters of the ID.
func (id ID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// Append appends the 22 characters of the ID to b.
func (id ID) Append(b []byte) []byte { return base64.RawURLEncoding.AppendEncode(b, id[:]) }

// PrivateChannel returns the name of the connection's private channel.
func (id ID) PrivateChannel() string { return PrivatePrefix + id.String() }

// parsePrivate returns the ID in the name of a private channel. A text that decodes to the same
// bytes but is not what String returns names nothing.
func parsePrivate(channel string) (ID, bool) {
	var id ID
	text := channel[len(PrivatePrefix):]
	if len(text) != 22 {
		return id, false
	}
	if n, err := base64.RawURLEncoding.Strict().Decode(id[:], []byte(text)); err != nil || n != len(id) {
		return ID{}, false
	}
	return id, true
}
