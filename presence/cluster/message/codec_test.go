package message

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the payloads of the samples into the golden file")

// Pods of two builds talk to each other while one replaces the other, so payloads of one version
// never change.
func TestPayloadsStayAsTheyAre(t *testing.T) {
	const file = "testdata/payloads.txt"
	var got strings.Builder
	for _, secret := range []string{"", secret} {
		c := NewCodec(secret)
		fmt.Fprintf(&got, "secret %q\n", secret)
		for _, s := range samples() {
			fmt.Fprintf(&got, "%s: %s\n", s.name, hex.EncodeToString(mustAppend(t, c, s.m)))
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(string(golden), "\n")
	for i, line := range strings.Split(got.String(), "\n") {
		if i >= len(want) || line != want[i] {
			t.Fatalf("%s:%d: got\n%s\nA new layout needs a new Version.", file, i+1, line)
		}
	}
}

func TestDecodeGivesWhatWasAppended(t *testing.T) {
	for _, secret := range []string{"", secret} {
		c := NewCodec(secret)
		for _, s := range samples() {
			t.Run(fmt.Sprintf("%s, secret %q", s.name, secret), func(t *testing.T) {
				payload, err := c.Append([]byte("before"), subject, web1, s.m)
				if err != nil {
					t.Fatal(err)
				}
				after, ok := bytes.CutPrefix(payload, []byte("before"))
				if !ok {
					t.Fatalf("what was there before is gone: %q", payload)
				}
				copied := bytes.Clone(after)
				m := mustDecode(t, c, copied)
				clear(copied) // the message keeps nothing of the payload
				if !reflect.DeepEqual(m, s.m) {
					t.Errorf("got  %+v\nwant %+v", m, s.m)
				}
				if again := mustAppend(t, c, m); !bytes.Equal(again, after) {
					t.Errorf("got  %x\nwant %x", again, after)
				}
			})
		}
	}
}

func TestSamplesHaveEveryType(t *testing.T) {
	seen := map[byte]bool{}
	for _, s := range samples() {
		seen[s.m.kind()] = true
	}
	d := decoder{}
	for kind := range 256 {
		d = decoder{payload: []byte{byte(kind)}}
		m := d.message()
		if known := d.wrong != "an unknown type of message"; known != seen[byte(kind)] {
			t.Errorf("type %d: known %v, in the samples %v", kind, known, seen[byte(kind)])
		}
		if m != nil && m.kind() != byte(kind) {
			t.Errorf("type %d is decoded to %T", kind, m)
		}
	}
}

func TestTruncatedPayloadsAreMalformed(t *testing.T) {
	for _, s := range samples() {
		payload := mustAppend(t, NewCodec(""), s.m)
		for n := range payload {
			if _, m, err := NewCodec("").Decode(subject, payload[:n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: the first %d of %d bytes give %+v, %v", s.name, n, len(payload), m, err)
			}
		}
		if _, m, err := NewCodec("").Decode(subject, append(payload, 0)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: with a byte more: %+v, %v", s.name, m, err)
		}
	}
}

// A bit that changed on the way either shows, or the payload is that of another message.
func TestFlippedBitsShowOrMeanSomethingElse(t *testing.T) {
	c := NewCodec("")
	for _, s := range samples() {
		payload := mustAppend(t, c, s.m)
		for bit := range len(payload) * 8 {
			flipped := bytes.Clone(payload)
			flipped[bit/8] ^= 1 << (bit % 8)
			from, m, err := c.Decode(subject, flipped)
			switch {
			case bit < 8:
				if !errors.Is(err, ErrVersion) {
					t.Errorf("%s: another version: %v", s.name, err)
				}
			case err != nil:
				if !errors.Is(err, ErrMalformed) {
					t.Errorf("%s, bit %d: %v", s.name, bit, err)
				}
			default:
				if again, err := c.Append(nil, subject, from, m); err != nil || !bytes.Equal(again, flipped) {
					t.Errorf("%s, bit %d: %x, %v\nwant %x", s.name, bit, again, err, flipped)
				}
				if from == web1 && reflect.DeepEqual(m, s.m) {
					t.Errorf("%s, bit %d: the message is the same", s.name, bit)
				}
			}
		}
	}
}

func TestDecodeRefusesOtherVersionsFirst(t *testing.T) {
	for _, secret := range []string{"", secret} {
		for _, payload := range [][]byte{{0}, {Version + 1}, {255, 1, 2, 3}, append([]byte{Version + 1}, make([]byte, MaxPayload)...)} {
			if _, _, err := NewCodec(secret).Decode(subject, payload); !errors.Is(err, ErrVersion) {
				t.Errorf("secret %q, %d bytes of version %d: %v", secret, len(payload), payload[0], err)
			}
		}
	}
}

func TestDecodeRefusesOversized(t *testing.T) {
	payload := append([]byte{Version}, make([]byte, MaxPayload)...)
	for _, secret := range []string{"", secret} {
		if _, _, err := NewCodec(secret).Decode(subject, payload); !errors.Is(err, ErrOversized) {
			t.Errorf("secret %q: %v", secret, err)
		}
	}
}

// FuzzDecode checks that what is decoded has this one payload, authenticated or not.
func FuzzDecode(f *testing.F) {
	plain, signed := NewCodec(""), NewCodec(secret)
	for _, s := range samples() {
		f.Add(mustAppend(f, plain, s.m))
		f.Add(mustAppend(f, signed, s.m))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if _, m, err := signed.Decode("another", payload); err == nil || m != nil {
			t.Fatalf("without the secret: %+v, %v", m, err)
		}
		from, m, err := plain.Decode(subject, payload)
		if err != nil {
			for _, known := range []error{ErrMalformed, ErrOversized, ErrVersion} {
				if errors.Is(err, known) && m == nil && from == (Sender{}) {
					return
				}
			}
			t.Fatalf("%+v, %+v, %v", from, m, err)
		}
		again, err := plain.Append(nil, subject, from, m)
		if err != nil || !bytes.Equal(again, payload) {
			t.Fatalf("%+v is appended as %x, %v, not as %x", m, again, err, payload)
		}
		authentic, err := signed.Append(nil, subject, from, m)
		if err != nil {
			if errors.Is(err, ErrOversized) && len(payload) > MaxPayload-macSize {
				return
			}
			t.Fatal(err)
		}
		from2, m2, err := signed.Decode(subject, authentic)
		if err != nil || from2 != from || !reflect.DeepEqual(m2, m) {
			t.Fatalf("%+v with the secret: %+v, %+v, %v", m, from2, m2, err)
		}
	})
}
