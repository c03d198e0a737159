package message

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
	"testing"
)

func TestForgedPayloadsAreRefused(t *testing.T) {
	c := NewCodec(secret)
	payload := mustAppend(t, c, &Heartbeat{})
	tests := []struct {
		name, subject string
		payload       []byte
	}{
		{"without the end", subject, payload[:len(payload)-macSize]},
		{"of a pod without the secret", subject, mustAppend(t, NewCodec(""), &Heartbeat{})},
		{"of a pod with another secret", subject, mustAppend(t, NewCodec("another"), &Heartbeat{})},
		{"replayed on another subject", "rollcall.query", payload},
		{"replayed on the subject's beginning", subject[:len(subject)-1], payload},
		{"replayed on no subject", "", payload},
		{"with a byte more", subject, append(bytes.Clone(payload), 0)},
		{"the version alone", subject, payload[:1]},
		{"the end alone", subject, append([]byte{Version}, payload[len(payload)-macSize+1:]...)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if from, m, err := c.Decode(tt.subject, tt.payload); !errors.Is(err, ErrForged) || m != nil || from != (Sender{}) {
				t.Errorf("got %+v, %+v, %v", from, m, err)
			}
		})
	}
	if _, _, err := NewCodec("").Decode(subject, payload); !errors.Is(err, ErrMalformed) {
		t.Errorf("a pod without a secret takes an authenticated payload: %v", err)
	}
}

func TestEveryFlippedBitIsForged(t *testing.T) {
	c := NewCodec(secret)
	for _, s := range samples() {
		payload := mustAppend(t, c, s.m)
		for bit := range len(payload) * 8 {
			flipped := bytes.Clone(payload)
			flipped[bit/8] ^= 1 << (bit % 8)
			want := ErrForged
			if bit < 8 {
				want = ErrVersion
			}
			if _, _, err := c.Decode(subject, flipped); !errors.Is(err, want) {
				t.Errorf("%s, bit %d: %v", s.name, bit, err)
			}
		}
		for n := 1; n < len(payload); n++ {
			if _, _, err := c.Decode(subject, payload[:n]); !errors.Is(err, ErrForged) {
				t.Errorf("%s, the first %d bytes: %v", s.name, n, err)
			}
		}
	}
}

// The key is what RFC 5869 says, written out here without crypto/hkdf.
func TestTheEndIsAnHMACOverSubjectAndPayload(t *testing.T) {
	sum := func(key []byte, texts ...[]byte) []byte {
		h := hmac.New(sha256.New, key)
		for _, text := range texts {
			h.Write(text)
		}
		return h.Sum(nil)
	}
	extracted := sum(make([]byte, sha256.Size), []byte(secret))
	key := sum(extracted, []byte("rollcall cluster payload 3\x01"))

	payload := mustAppend(t, NewCodec(secret), &Goodbye{})
	plain := mustAppend(t, NewCodec(""), &Goodbye{})
	length := binary.BigEndian.AppendUint32(nil, uint32(len(subject)))
	if want := append(plain, sum(key, length, []byte(subject), plain)[:16]...); !bytes.Equal(payload, want) {
		t.Errorf("got  %x\nwant %x", payload, want)
	}
}

// What moves from the subject to the payload changes the length of the subject.
func TestSubjectAndPayloadDoNotRunTogether(t *testing.T) {
	a := newAuthenticator(secret)
	one, two := a.append(nil, "ab", []byte("c")), a.append(nil, "a", []byte("bc"))
	if bytes.Equal(one, two) {
		t.Errorf("both have %x", one)
	}
}

func TestCodecIsSafeForConcurrentUse(t *testing.T) {
	c := NewCodec(secret)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, s := range samples() {
				payload, err := c.Append(nil, subject, web1, s.m)
				if err != nil {
					t.Error(err)
					return
				}
				if _, _, err := c.Decode(subject, payload); err != nil {
					t.Errorf("%s: %v", s.name, err)
				}
			}
		})
	}
	wg.Wait()
}
