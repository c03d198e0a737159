package message

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"
)

const (
	// macSize is how much of an HMAC-SHA256 ends a payload, in bytes. Half of it is what RFC 2104
	// section 5 asks for, and a forger has one try for each payload sent.
	macSize = 16
	// macPurpose keeps the key apart from other keys that may be derived from the same secret, and
	// from later versions.
	macPurpose = "rollcall cluster payload 3"
)

// authenticator makes and checks the end of a payload: an HMAC over the length of the subject in 4
// bytes, the subject, and all of the payload before.
type authenticator struct {
	// states holds *macState. Beginning anew with a key that was used before takes a third of the
	// time.
	states sync.Pool
}

type macState struct {
	hash hash.Hash
	head [4]byte
	text []byte // the subject
	sum  [sha256.Size]byte
}

func newAuthenticator(secret string) *authenticator {
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, macPurpose, sha256.Size)
	if err != nil {
		panic(err) // only GODEBUG=fips140=only is against a secret, one below 14 bytes
	}
	a := &authenticator{}
	a.states.New = func() any { return &macState{hash: hmac.New(sha256.New, key)} }
	return a
}

func (a *authenticator) append(b []byte, subject string, payload []byte) []byte {
	s := a.states.Get().(*macState)
	defer a.states.Put(s)
	return append(b, s.over(subject, payload)...)
}

// check returns the payload without its end, and whether that is right.
func (a *authenticator) check(subject string, payload []byte) ([]byte, bool) {
	n := len(payload) - macSize
	if n < 0 {
		return payload, false
	}
	s := a.states.Get().(*macState)
	defer a.states.Put(s)
	if !hmac.Equal(s.over(subject, payload[:n]), payload[n:]) {
		return payload, false
	}
	return payload[:n], true
}

// over returns the HMAC, which is valid until the state is used again.
func (s *macState) over(subject string, payload []byte) []byte {
	binary.BigEndian.PutUint32(s.head[:], uint32(len(subject)))
	s.text = append(s.text[:0], subject...)
	s.hash.Reset()
	s.hash.Write(s.head[:])
	s.hash.Write(s.text)
	s.hash.Write(payload)
	return s.hash.Sum(s.sum[:0])[:macSize]
}
