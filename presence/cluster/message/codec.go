package message

import (
	"errors"
	"fmt"
)

// Why a payload is not used. Errors of [Codec] wrap one of them and say what is wrong.
var (
	// ErrMalformed is returned for what is no payload of this version, and for a message that
	// cannot be one.
	ErrMalformed = errors.New("malformed payload")
	// ErrOversized is returned for more than MaxPayload bytes or MaxParts parts.
	ErrOversized = errors.New("oversized payload")
	// ErrForged is returned for a payload that was not made with the secret, or for another
	// subject.
	ErrForged = errors.New("forged payload")
	// ErrVersion is returned for a payload of another version, of which nothing else was looked at.
	ErrVersion = errors.New("payload of another version")
)

// Codec turns messages into payloads and back. It is safe for concurrent use.
//
// A message has one payload only: what Decode takes, Append makes again byte for byte, and with it
// the same message, in which lists without entries are nil.
type Codec struct {
	mac *authenticator // nil: payloads are not authenticated
}

// NewCodec returns the codec of a deployment. With the secret "" it trusts whoever can publish.
func NewCodec(secret string) *Codec {
	if secret == "" {
		return &Codec{}
	}
	return &Codec{mac: newAuthenticator(secret)}
}

// Append adds the payload to b, for the subject and no other.
//
// It returns b as it was and ErrOversized for a message that has to be split, or ErrMalformed for
// one that no pod would take: a name that is too long or not UTF-8, a number below 0, no host.
func (c *Codec) Append(b []byte, subject string, from Sender, m Message) ([]byte, error) {
	return c.append(b, subject, from, func(e *encoder) bool { return e.message(m) })
}

// append is Append of a message whose type and body write encodes. write returns false for a
// message that is not of this package.
func (c *Codec) append(b []byte, subject string, from Sender, write func(*encoder) bool) ([]byte, error) {
	e := encoder{b: b}
	e.byte(Version)
	e.sender(from)
	if !write(&e) {
		return b, fmt.Errorf("%w: no message of this package", ErrMalformed)
	}
	if e.wrong != "" {
		return b, fmt.Errorf("%w: %s", ErrMalformed, e.wrong)
	}
	size := len(e.b) - len(b)
	if c.mac != nil {
		size += macSize
	}
	if size > MaxPayload {
		return b, fmt.Errorf("%w: %d bytes", ErrOversized, size)
	}
	if c.mac != nil {
		e.b = c.mac.append(e.b, subject, e.b[len(b):])
	}
	return e.b, nil
}

// Decode returns what a payload of the subject says, and who says so. Nothing of the payload is
// kept.
//
// It returns ErrVersion, ErrOversized, ErrForged or ErrMalformed, in this order.
func (c *Codec) Decode(subject string, payload []byte) (Sender, Message, error) {
	if len(payload) == 0 {
		return Sender{}, nil, fmt.Errorf("%w: it is empty", ErrMalformed)
	}
	if payload[0] != Version {
		return Sender{}, nil, fmt.Errorf("%w: %d", ErrVersion, payload[0])
	}
	if len(payload) > MaxPayload {
		return Sender{}, nil, fmt.Errorf("%w: %d bytes", ErrOversized, len(payload))
	}
	if c.mac != nil {
		var ok bool
		if payload, ok = c.mac.check(subject, payload); !ok {
			return Sender{}, nil, fmt.Errorf("%w of %d bytes", ErrForged, len(payload))
		}
	}
	d := decoder{payload: payload, pos: 1}
	from := d.sender()
	m := d.message()
	if d.wrong == "" && d.pos < len(payload) {
		d.fail("bytes behind the message")
	}
	if hb, ok := m.(*Heartbeat); ok {
		hb.Seq = from.Seq
	}
	if d.wrong != "" {
		return Sender{}, nil, fmt.Errorf("%w: %s at byte %d", ErrMalformed, d.wrong, d.at)
	}
	return from, m, nil
}
