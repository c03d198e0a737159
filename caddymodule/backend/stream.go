package backend

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/rollcall-gateway/rollcall/presence"
)

// Stream identifies a queue: the copies of a host, or its events for one receiver.
type Stream struct {
	Host presence.HostName
	// Receiver identifies the URL that events are sent to, see [ReceiverOf]. It is "" for copies.
	Receiver string
}

// receiverBytes is the length of the hash in Stream.Receiver.
const receiverBytes = 8

// ReceiverOf returns the Receiver of a URL, which may have a secret: a hash in hexadecimal.
func ReceiverOf(url string) string {
	sum := sha256.Sum256([]byte(url))
	return hex.EncodeToString(sum[:receiverBytes])
}

// bucket returns the name of the bucket of a stream.
func (s Stream) bucket() []byte {
	if s.Receiver == "" {
		return []byte(s.Host.String())
	}
	return []byte(s.Host.String() + " " + s.Receiver)
}

// parseStream parses the name of a bucket.
func parseStream(bucket []byte) (s Stream, ok bool) {
	name, receiver, events := strings.Cut(string(bucket), " ")
	host, err := presence.ParseHostName(name)
	if err != nil || host.String() != name {
		return Stream{}, false
	}
	if raw, err := hex.DecodeString(receiver); events && (err != nil || len(raw) != receiverBytes || hex.EncodeToString(raw) != receiver) {
		return Stream{}, false
	}
	return Stream{Host: host, Receiver: receiver}, true
}
